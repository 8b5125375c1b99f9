"""Generates the reference page of the commands from their definitions."""

import inspect
import sys
import textwrap
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from mensagod.commands.audience import Audience
from mensagod.commands.interfaces import ICommand
from mensagod.commands.registry import CommandRegistry
from mensagod.wire.fields import Field, Fields

REFERENCE_FILE: Final = "docs/reference/commands.rst"

FAMILIES: Final = {
    "sessions": "Session",
    "login": "Logging in",
    "registration": "Registering",
    "identity": "Identity",
    "keycards": "Keycards",
    "entries": "Own keycards",
    "organization": "The organization's keycard",
    "files": "Files",
    "updates": "Updates",
    "sending": "Sending",
}
"""The modules of the commands in the order of the page, each with its heading."""

_WIDTH: Final = 120

_HEAD: Final = """\
Commands
========

Every command of this server, with its fields and its answers. Action names are not case-sensitive. The
protocol's own document has the types of the fields. This page is generated from the definitions in
``mensagod/requests/`` and the docstrings in ``mensagod/commands/``.

All commands share these answers: 400 for a field that is missing or malformed, or for a command that is not
allowed at this point; 401 if a login is required; 403 if the command is for the administrator only; 303 while
the server cannot answer (its database is unavailable, too many requests wait); 300 with an incident ID for an
internal error. A path that the session has no right to is answered 403, whether or not it exists.

Failures are counted, and addresses locked out, for lookups by name (GETWID, GETCARD, and the name in
ADDENTRY); the limits of wrong passwords, codes and challenges come with a later version. Until then a
wrong password or code only costs ``security.failure_delay_sec``.
"""


def write_reference(commands: Iterable[ICommand]) -> str:
    """Write the page for ``commands``; commands of other packages are left out."""
    lines = [_HEAD]
    for module, title in FAMILIES.items():
        family = [
            command for command in commands if type(command).__module__ == f"mensagod.commands.{module}"
        ]
        if family:
            lines += [title, "-" * len(title), ""]
            for command in sorted(family, key=_position_in_module):
                lines += _entry(command)
    return "\n".join(lines).rstrip() + "\n"


def _position_in_module(command: ICommand) -> int:
    """Give the position of a command's class in its module; the page has the same order."""
    names = list(vars(sys.modules[type(command).__module__]))
    name = type(command).__name__
    return names.index(name) if name in names else len(names)


def _entry(command: ICommand) -> Iterator[str]:
    yield command.name
    yield from _paragraphs(inspect.getdoc(type(command)))
    yield from _wrapped(f"For {_named(command.audience)}.", "    ")
    yield ""
    yield from _fields(command.fields)
    for fields in command.more_fields:
        then = f"{fields.action}" if fields.action else f"{command.name} again"
        yield from _wrapped(f"Then {then}:", "    ")
        yield ""
        yield from _fields(fields)
    yield from _paragraphs(inspect.getdoc(command.perform))


def _named(audience: Audience) -> str:
    """Name the audience of a command."""
    if audience == Audience.EVERYBODY:
        return "everybody"
    names = {
        Audience.STRANGER: "clients that are not logged in",
        Audience.MEMBER: "clients that are logged in",
        Audience.ADMINISTRATOR: "the administrator",
        Audience.SERVER: "other servers",
        Audience.OPERATOR: "the operator",
    }
    named = []
    if Audience.CLIENTS in audience:
        named.append("all clients")
        audience &= ~Audience.CLIENTS
    return " and ".join(named + [name for kind, name in names.items() if kind & audience])


def _fields(fields: type[Fields]) -> Iterator[str]:
    definitions = fields.definitions()
    for field in definitions:
        yield from _wrapped(f":{field.name}: {_described(field)}", "    ", "        ")
    if definitions:
        yield ""


def _described(field: Field) -> str:
    if field.presence == "refused":
        return f"must be absent: {field.says}."
    presence = {"required": "", "optional": ", optional"}[field.presence]
    if field.unless:
        presence = f", required unless {field.unless} is given"
    return f"{field.type_name}{presence}. {field.says[0].upper()}{field.says[1:]}."


def _paragraphs(text: str | None) -> Iterator[str]:
    for paragraph in (text or "").split("\n\n"):
        yield from _wrapped(" ".join(paragraph.split()), "    ")
        yield ""


def _wrapped(text: str, indent: str, following: str | None = None) -> list[str]:
    return textwrap.wrap(
        text,
        _WIDTH,
        initial_indent=indent,
        subsequent_indent=following or indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def main(arguments: list[str]) -> None:
    """Write the page into a checkout; its directory is the first argument, else the current one."""
    root = Path(arguments[0] if arguments else ".")
    page = root / REFERENCE_FILE
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(write_reference(CommandRegistry.installed().commands.values()), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
