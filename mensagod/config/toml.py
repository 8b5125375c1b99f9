"""Writing the configuration as TOML: the commented one, and one with an operator's choices (spec 06)."""

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
# A line that begins with "#" and a name shows the default (or, where it says so, an example): remove
# the "#" and change the value. Each key can also be set from the environment, as
# MENSAGOD_TABLE__KEY. 0 stands for "off" where it is allowed. A start tells everything that is wrong
# with this file at once.
"""
_PLUGIN_TABLES = """\
# Each plugin has a table of its own for what it wants to know:
#[plugins.example]
#setting = "value"
"""


def write_value(value: Plain) -> str:
    """Write a value as TOML, on one line, whatever characters it has."""
    if isinstance(value, list):
        return f"[{', '.join(map(write_value, value))}]"
    if isinstance(value, str):
        # A JSON string is a TOML basic string but for DEL, which TOML wants escaped as well.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return str(value).lower()


def write_configuration(chosen: Mapping[str, object]) -> str:
    """Make the text of a complete configuration file.

    :param chosen: by ``table.key`` (also ``database.password_file`` and its like), what is set: a value of
        the key's own type or what TOML would hold. ``None`` leaves a key alone. All other keys stand there
        commented.
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
    """Give the value of a key for what TOML would hold, or for that value itself."""
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
    """Write one setting, commented if nothing sets it."""
    return f"#{name} = {shown}" if value is None else f"{name} = {value}"


def describe(key: Key) -> tuple[str, str]:
    """Tell an operator about a key: what it means, and what may be written."""
    facts = [f"{key.kind.allowed[0].upper()}{key.kind.allowed[1:]}."]
    if key.unit:
        facts.insert(0, f"In {key.unit}.")
    if key.required:
        facts.append("Required.")
    elif key.default is None:
        facts.append("Not set unless you set it; below is an example.")
    elif key.example is not None:
        facts.append(f"Example: {write_value(key.kind.plain(key.example))}.")
    if key.is_secret:
        facts.append(f"Or {key.name}_file names a file that has it.")
    facts.append("SIGHUP applies a change." if key.reload else "A change needs a restart.")
    return key.explanation, " ".join(facts)
