"""The sources of settings: file, environment, files of secrets, systemd's credentials (spec 06)."""

import re
import stat
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path

from attrs import frozen

from mensagod.config.faults import FaultCode, Findings, Place, show, show_text
from mensagod.config.names import KNOWN, nearest_key, nearest_table, nearest_variable
from mensagod.config.positions import Positions
from mensagod.config.tree import TABLES

_LARGEST_FILE = 256 * 1024
_LARGEST_SECRET = 64 * 1024
_DEEPEST = 32
_BARE = re.compile(r"[A-Za-z0-9_-]{1,60}\Z")
_AT_LINE = re.compile(r" \(at line ([0-9]+), column [0-9]+\)\Z")
#: Hints for the most frequent messages of tomllib.
_SYNTAX_HINTS = {
    "Invalid value": "put texts in quotation marks",
    "Cannot overwrite a value": "remove the second definition of the key",
}
_PREFIX = "MENSAGOD_"
#: Variables with that prefix that are not keys.
_NOT_KEYS = frozenset({"MENSAGOD_CONFIG"})


@frozen
class Setting:
    """The raw value of one key, from a file or the environment.

    :ivar raw: a TOML value; from the environment, the text.
    """

    place: Place
    raw: object

    @property
    def from_environment(self) -> bool:
        """Whether it comes from an environment variable."""
        return self.place.variable is not None


@frozen
class Document:
    """The content of a configuration file.

    :ivar settings: the settings of known keys by ``table.key``.
    :ivar plugins: the sub-tables of ``plugins``.
    """

    settings: Mapping[str, Setting]
    plugins: Mapping[str, dict[str, object]]


def read_text(file: Path, largest: int) -> str:
    """Read a small UTF-8 file; raises :class:`OSError` or :class:`ValueError`."""
    with file.open("rb") as stream:
        content = stream.read(largest + 1)
    if len(content) > largest:
        raise ValueError(f"is larger than {largest // 1024} KiB")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ValueError(f"is not UTF-8 on line {line}") from None


def read_document(file: Path, findings: Findings, text: str | None = None) -> Document | None:
    """Read a configuration file; ``None`` if it cannot be read at all, which is a fault.

    :param text: what is in it, where that is known; the file is not read then.
    """
    try:
        text = read_text(file, _LARGEST_FILE) if text is None else text
    except (OSError, ValueError) as error:
        _unreadable(file, error, findings)
        return None
    # TOML takes both ends of line; so does every editor that counts lines.
    text = text.replace("\r\n", "\n")
    try:
        _check_dots(text)
        tables = tomllib.loads(text)
        _check_nesting(tables)
    except RecursionError:
        findings.add(FaultCode.SYNTAX, Place(file), allowed="is nested too deeply")
        return None
    except ValueError as error:
        _bad_syntax(file, text, error, findings)
        return None
    return _settings(file, tables, Positions(text), findings)


def _check_dots(text: str) -> None:
    """Refuse a key of very many parts, for which tomllib needs minutes; raises :class:`RecursionError`."""
    for line in text.split("\n"):
        if not line.lstrip().startswith("#") and any(part.count(".") > 64 for part in re.split("[,=]", line)):
            raise RecursionError


def _check_nesting(tables: object) -> None:
    """Refuse values that are nested too deeply to compare or show; raises :class:`RecursionError`."""
    level = [tables]
    for _ in range(_DEEPEST):
        inner = [list(value.values()) if isinstance(value, dict) else value for value in level]
        level = [item for items in inner if isinstance(items, list) for item in items]
    if level:
        raise RecursionError


def _unreadable(file: Path, error: OSError | ValueError, findings: Findings) -> None:
    if isinstance(error, FileNotFoundError):
        allowed, hint = "the file does not exist", "create it with `mensagod init`"
    elif isinstance(error, OSError):
        allowed, hint = f"cannot be read: {error.strerror or error}", "check its owner and mode"
    else:
        allowed, hint = str(error), "the configuration must be a small text file"
    findings.add(FaultCode.UNREADABLE, Place(file), allowed=allowed, hint=hint)


def _bad_syntax(file: Path, text: str, error: ValueError, findings: Findings) -> None:
    message = str(error)
    found = _AT_LINE.search(message)
    line = int(found[1]) if found else None
    if message.endswith("(at end of document)"):
        line = len(text.rstrip("\n").split("\n"))
    problem = re.sub(r" \(at [^()]*\)\Z", "", message)
    allowed, hint = f"invalid TOML: {show_text(problem)}", _SYNTAX_HINTS.get(problem, "")
    findings.add(FaultCode.SYNTAX, Place(file, line), allowed=allowed, hint=hint)


def _settings(file: Path, tables: Mapping[str, object], positions: Positions, findings: Findings) -> Document:
    settings: dict[str, Setting] = {}
    plugins: dict[str, dict[str, object]] = {}
    for table, content in tables.items():
        place = Place(file, positions.line_of(table))
        if table not in TABLES:
            findings.add(
                FaultCode.UNKNOWN,
                place,
                key=_name(table),
                allowed="is not a known table",
                hint=nearest_table(table),
            )
        elif not isinstance(content, dict):
            findings.add(FaultCode.BAD_VALUE, place, key=table, allowed=f"must be a table: [{table}]")
        else:
            for name, raw in content.items():
                setting = Setting(Place(file, positions.line_of(table, name)), raw)
                if table == "plugins" and isinstance(raw, dict):
                    plugins[name] = raw
                elif _is_known(table, name, setting.place, findings):
                    settings[f"{table}.{name}"] = setting
    return Document(settings, plugins)


def _is_known(table: str, name: str, place: Place, findings: Findings) -> bool:
    if f"{table}.{name}" in KNOWN:
        return True
    key = f"{table}.{_name(name)}"
    hint = nearest_key(table, name)
    findings.add(FaultCode.UNKNOWN, place, key=key, allowed="is not a known key", hint=hint)
    return False


def _name(name: str) -> str:
    return name if _BARE.match(name) else show(name)


def read_environment(environ: Mapping[str, str], findings: Findings) -> Mapping[str, Setting]:
    """Find the variables ``MENSAGOD_TABLE__KEY``; one that does not name a key is a fault."""
    settings: dict[str, Setting] = {}
    for variable in sorted(environ):
        if not variable.startswith(_PREFIX) or variable in _NOT_KEYS:
            continue
        place = Place(variable=show_text(variable))
        table, found, name = variable.removeprefix(_PREFIX).partition("__")
        key = f"{table}.{name}".lower()
        if not found:
            if hint := nearest_variable(variable):
                findings.warn(place, f"has no effect; {hint}")
        elif key in KNOWN and variable == variable.upper():
            settings[key] = Setting(place, environ[variable])
        else:
            hint = nearest_variable(variable.upper())
            findings.add(FaultCode.UNKNOWN, place, allowed="is not a known key", hint=hint)
    return settings


def read_secret(file: Path) -> str:
    """Read a file with a secret, without one line end at its end.

    :raises OSError: if it cannot be read.
    :raises ValueError: if it is too large or not UTF-8.
    """
    text = read_text(file, _LARGEST_SECRET)
    return text.removesuffix("\n").removesuffix("\r")


def open_to_others(file: Path, *, holds_secret: bool) -> Iterator[str]:
    """Give a warning for each permission of a file that is too wide; its group may read but not write it."""
    try:
        mode = file.stat().st_mode
    except OSError:
        return
    if mode & (stat.S_IWGRP | stat.S_IWOTH):
        yield "users other than its owner can write to the file: run chmod go-w"
    if holds_secret and mode & stat.S_IROTH:
        yield "the file contains a secret and everyone can read it: run chmod o-r"
