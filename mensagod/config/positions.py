"""The line of each key in a TOML document, which :mod:`tomllib` does not tell."""

import tomllib
from collections.abc import Iterator

#: The most characters to parse in all, to bound the time; keys after that have no line.
_BUDGET = 4_000_000
_DEPTH = 4
#: A statement of several lines ends in a line with one of these.
_ENDS = ("]", "}", '"""', "'''")

Path = tuple[str, ...]


class Positions:
    """The line, counted from 1, of the first statement that names each key or table.

    A TOML document is a sequence of statements, each of one or more whole lines. So the fewest lines that are
    a document by themselves are exactly the next statement, and :mod:`tomllib` itself says what it names,
    however the key is quoted or dotted.

    :param text: a document that :mod:`tomllib` accepts.
    """

    def __init__(self, text: str):
        self._lines: dict[Path, int] = {}
        header: Path = ()
        for line, statement in _statements(text):
            is_header = statement[0].lstrip(" \t").startswith("[")
            paths = list(_paths(statement[1], is_header))
            if is_header:
                header = paths[-1]
                paths = [header[: size + 1] for size in range(len(header))]
            else:
                paths = [header + path for path in paths]
            for path in paths:
                self._lines.setdefault(path[:_DEPTH], line)

    def line_of(self, *path: str) -> int | None:
        """Give the line of a key, or of the statement that it is part of."""
        while path:
            if path in self._lines:
                return self._lines[path]
            path = path[:-1]
        return None


def _statements(text: str) -> Iterator[tuple[int, tuple[str, dict[str, object]]]]:
    """Give each statement with its first line's number: its text and what it says by itself."""
    lines = text.split("\n")
    budget = _BUDGET
    first = 0
    while first < len(lines):
        for last in range(first, len(lines)):
            if last > first and not any(end in lines[last] for end in _ENDS):
                continue
            statement = "\n".join(lines[first : last + 1])
            budget -= len(statement) + 1
            if budget < 0:
                return
            says = _parse(statement)
            if says is not None:
                break
        else:
            return
        if says:
            yield first + 1, (statement, says)
        first = last + 1


def _parse(statement: str) -> dict[str, object] | None:
    try:
        return tomllib.loads(statement)
    except (ValueError, RecursionError):
        return None


def _paths(says: object, is_header: bool, depth: int = _DEPTH) -> Iterator[Path]:
    """List the keys that a statement names, outer ones first; for a header, the last one is its table."""
    if isinstance(says, list) and is_header:
        says = says[0]
    if depth and isinstance(says, dict):
        for name, value in says.items():
            yield (name,)
            yield from ((name, *path) for path in _paths(value, is_header, depth - 1))
