"""The faults of a configuration, all reported at once, one per line (spec 06, *Configuration*)."""

from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path

from attrs import Factory, define, frozen

_LONGEST = 60


class FaultCode(StrEnum):
    """The stable code of each kind of fault, for programs."""

    UNREADABLE = "MGD-C101"
    SYNTAX = "MGD-C102"
    UNKNOWN = "MGD-C103"
    BAD_VALUE = "MGD-C104"
    MISSING = "MGD-C105"
    CONTRADICTION = "MGD-C106"
    SECRET_FILE = "MGD-C107"  # noqa: S105 - a code, not a secret


@frozen
class Place:
    """The source of a setting: a line of a file, a file, or an environment variable.

    :ivar line: counted from 1; ``None`` if it is not known or not in a file.
    """

    file: Path | None = None
    line: int | None = None
    variable: str | None = None

    def __str__(self) -> str:
        if self.variable is not None:
            return f"environment variable {self.variable}"
        return f"{self.file}" if self.line is None else f"{self.file}, line {self.line}"


@frozen
class Fault:
    """A fault that stops the start. Its ``str`` is one line for the operator.

    :ivar key: ``table.key``, a table, or ``""`` if the fault is about a whole file.
    :ivar value: the value found, shortened, never a secret; ``""`` if it does not help.
    :ivar allowed: what is wrong, or which values are allowed.
    :ivar hint: what to do about it; ``""`` if ``allowed`` says that already.
    """

    code: FaultCode
    place: Place
    key: str
    value: str
    allowed: str
    hint: str = ""

    @property
    def file(self) -> Path | None:
        """The file, if the setting is in one."""
        return self.place.file

    @property
    def line(self) -> int | None:
        """The line, counted from 1, if it is known."""
        return self.place.line

    def __str__(self) -> str:
        subject = f"{self.key} = {self.value}" if self.value else self.key
        sentence = f"{subject} {self.allowed}".strip()
        return f"{self.place}: {sentence}{f'; {self.hint}' if self.hint else ''}"


class ConfigFaults(Exception):
    """The configuration has faults, and the server does not start.

    :ivar faults: all faults, by file and line.
    """

    def __init__(self, faults: Iterable[Fault]):
        self.faults = tuple(sorted(faults, key=_order))
        super().__init__("\n".join(map(str, self.faults)))


def _order(fault: Fault) -> tuple[bool, int]:
    return fault.file is None, fault.line or 0


@define
class Findings:
    """The faults and warnings found so far while loading a configuration."""

    faults: list[Fault] = Factory(list)
    warnings: list[str] = Factory(list)

    def add(
        self, code: FaultCode, place: Place, *, key: str = "", value: str = "", allowed: str, hint: str = ""
    ) -> None:
        """Add a fault."""
        self.faults.append(Fault(code, place, key, value, allowed, hint))

    def warn(self, place: Place, sentence: str) -> None:
        """Add a warning, which does not stop the start."""
        self.warnings.append(f"{place}: {sentence}")

    def has_fault(self, key: str) -> bool:
        """Tell whether a key has a fault already."""
        return any(fault.key == key for fault in self.faults)


def show(value: object) -> str:
    """Write a value of a TOML document on one line, shortened, for a message to the operator."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return str(value) if value.bit_length() < 128 else "a very large number"
    if isinstance(value, str):
        return f'"{show_text(value)}"'
    if isinstance(value, list):
        items = ", ".join("[...]" if isinstance(item, list) else show(item) for item in value[:8])
        return f"[{_shorten(items)}{', ...' if len(value) > 8 else ''}]"
    if isinstance(value, dict):
        return "a table"
    return show_text(str(value))


def show_text(text: str) -> str:
    """Write a text on one line, shortened, with what is not printable escaped."""
    start = text[: _LONGEST + 1]
    return _shorten("".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in start))


def _shorten(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
