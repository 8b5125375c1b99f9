"""Writing configuration files in TOML, with comments for every key (spec 06)."""

import json
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from mensagod.config.keys import Key
from mensagod.config.names import SECRET_FILES
from mensagod.config.tree import KEYS, TABLES
from mensagod.config.values import FilePath, Kind, Plain
from mensagod.errors import BadValue

_WIDTH = 100
_FILE: Kind[Any] = FilePath()
_HEAD = """\
# The configuration of mensagod.
#
# A line such as "#name = value" shows the default of a key, or an example where the comment says so.
# To change a key, remove the "#" and change the value. Each key can also be set by the environment
# variable MENSAGOD_TABLE__KEY. Where 0 is allowed for a limit or a delay, it switches that off.
# If this file has errors, the server does not start, and reports all of them at once.
"""
_PLUGIN_TABLES = """\
# The settings of a plugin are in its own table:
#[plugins.example]
#setting = "value"
"""


def write_value(value: Plain) -> str:
    """Write a value as TOML, on one line; all characters are allowed."""
    if isinstance(value, list):
        return f"[{', '.join(map(write_value, value))}]"
    if isinstance(value, str):
        # A JSON string is a valid TOML basic string, except that TOML requires DEL to be escaped.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return str(value).lower()


def write_configuration(chosen: Mapping[str, object]) -> str:
    """Give the text of a complete configuration file. Keys that are not chosen are commented out.

    :param chosen: values by ``table.key`` (or ``table.key_file`` for a secret), each of the key's own type or
        as TOML has it. ``None`` means that the key is not chosen.
    :raises BadValue: for an unknown key or a value that the key does not allow.
    """
    settings = {name: _checked(name, value) for name, value in chosen.items() if value is not None}
    return "\n".join(_lines(settings))


def _checked(name: str, value: object) -> str:
    if name not in KEYS and name not in SECRET_FILES:
        raise BadValue(f"{name} is not a known key")
    kind: Kind[Any] = KEYS[name].kind if name in KEYS else _FILE
    try:
        return write_value(kind.plain(_parsed(kind, value)))
    except (BadValue, TypeError, AttributeError) as error:
        raise BadValue(f"{name} must be {kind.allowed}") from error


def _parsed(kind: Kind[Any], value: object) -> object:
    """Parse a TOML value; a value of the key's own type is returned as it is."""
    try:
        return kind.parse(value)
    except BadValue:
        own = tuple(value) if isinstance(value, list) else value
        parsed = kind.parse(kind.plain(own))
        if parsed != own:
            raise
        return parsed


def _lines(settings: Mapping[str, str]) -> Iterator[str]:
    yield _HEAD
    for table, owner in TABLES.items():
        yield f"# {(owner.__doc__ or '').splitlines()[0]}"
        yield f"[{table}]\n"
        for key in KEYS.values():
            if key.table == table:
                yield from _key_lines(key, settings)
    yield _PLUGIN_TABLES


def _key_lines(key: Key, settings: Mapping[str, str]) -> Iterator[str]:
    for paragraph in describe(key):
        yield from textwrap.wrap(
            paragraph,
            _WIDTH,
            initial_indent="# ",
            subsequent_indent="# ",
            break_long_words=False,
            break_on_hyphens=False,
        )
    shown = key.example if key.default is None else key.default
    yield setting_line(key.name, settings.get(key.path), write_value(key.kind.plain(shown)))
    file_key = f"{key.path}_file"
    if file_key in SECRET_FILES:
        example = write_value(f"/etc/mensagod/{key.path}")
        yield setting_line(f"{key.name}_file", settings.get(file_key), example)
    yield ""


def setting_line(name: str, value: str | None, shown: str) -> str:
    """Write one setting, commented out if it is not set."""
    return f"#{name} = {shown}" if value is None else f"{name} = {value}"


def describe(key: Key) -> tuple[str, str]:
    """Describe a key for the operator: its meaning, and its allowed values."""
    facts = [f"{key.kind.allowed[0].upper()}{key.kind.allowed[1:]}."]
    if key.unit:
        facts.insert(0, f"In {key.unit}.")
    if key.required:
        facts.append("Required.")
    elif key.default is None:
        facts.append("Not set by default; an example:")
    elif key.example is not None:
        facts.append(f"Example: {write_value(key.kind.plain(key.example))}.")
    if key.is_secret:
        facts.append(f"Instead, {key.name}_file can name a file that contains the value.")
    facts.append("SIGHUP applies a change." if key.reload else "A change needs a restart.")
    return key.explanation, " ".join(facts)
