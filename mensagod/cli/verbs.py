"""The base of all verbs: global options in any position, and loading of a verb when it is used."""

import os
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import click
from attrs import define, frozen

from mensagod.cli.output import reporting

if TYPE_CHECKING:
    from mensagod.config import Config

T = TypeVar("T")


@define
class Invocation:
    """The values of the global options.

    :ivar config: the file that ``--config`` names.
    :ivar as_json: whether to print the result as one JSON document on stdout.
    :ivar yes: whether to confirm destructive actions without asking.
    """

    config: Path | None = None
    as_json: bool = False
    yes: bool = False

    def load(self) -> "Config":
        """Read the configuration. If others can change it, root acts as its owner until the verb ends.

        :raises mensagod.config.ConfigFaults: if it has faults.
        :raises mensagod.process.accounts.AccountError: if root cannot use it safely.
        """
        # Imported here, because importing these takes longer than showing the overview.
        from mensagod.config import configuration_path  # noqa: PLC0415
        from mensagod.process.accounts import acting_as  # noqa: PLC0415
        from mensagod.process.eager_imports import load_modules  # noqa: PLC0415
        from mensagod.process.trusted_configuration import load_guarded  # noqa: PLC0415
        from mensagod.storage.migrations import installed_steps  # noqa: PLC0415

        loaded = load_guarded(configuration_path(os.environ, self.config), os.environ)
        if loaded.reader is not None:
            load_modules()
            installed_steps()
        click.get_current_context().with_resource(acting_as(loaded.reader))
        return loaded.config


pass_invocation = click.make_pass_decorator(Invocation, ensure=True)


@frozen
class Entry:
    """A verb that is loaded when it is used.

    :ivar module: the module, which defines ``command``.
    :ivar summary: the line in the overview.
    """

    module: str
    summary: str


class Verb(click.Command):
    """A verb that takes the global options."""

    def __init__(self, *arguments: Any, **keywords: Any):
        super().__init__(*arguments, **keywords)
        self.params.extend(_global_options())


class VerbGroup(click.Group):
    """A group of verbs, which takes the global options, too."""

    command_class = Verb

    def __init__(self, *arguments: Any, **keywords: Any):
        super().__init__(*arguments, **{"no_args_is_help": False, **keywords})
        self.params.extend(_global_options())

    def summaries(self, ctx: click.Context) -> list[tuple[str, str]]:
        """Give the verbs and their summaries."""
        found = ((name, self.get_command(ctx, name)) for name in self.list_commands(ctx))
        return [(name, verb.get_short_help_str(limit=200)) for name, verb in found if verb is not None]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Show the verbs."""
        with formatter.section("Verbs"):
            formatter.write_dl(self.summaries(ctx))


class Root(VerbGroup):
    """The command itself.

    :param entries: the verbs by name.
    """

    def __init__(self, *arguments: Any, entries: Mapping[str, Entry], **keywords: Any):
        super().__init__(*arguments, **keywords)
        self._entries = entries

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Give the names of the verbs, in the order of the table."""
        return list(self._entries)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Load a verb."""
        if cmd_name not in self._entries:
            return None
        command: click.Command = import_module(self._entries[cmd_name].module).command
        return command

    def summaries(self, ctx: click.Context) -> list[tuple[str, str]]:
        """Give the verbs and their summaries, without loading a verb."""
        return [(name, entry.summary) for name, entry in self._entries.items()]

    def main(self, *arguments: Any, **keywords: Any) -> Any:
        """Run, and end the process with status 0 (success), 1 (failure) or 2 (wrong use or configuration)."""
        run = super().main
        settings = {"prog_name": "mensagod", **keywords, "standalone_mode": False}
        raise SystemExit(reporting(lambda: run(*arguments, **settings)))


class Parsed(click.ParamType, Generic[T]):  # type: ignore[type-arg]
    """The type of an option whose value is parsed by a function.

    :param parse: raises :class:`ValueError` with a message if the value is not allowed.
    """

    def __init__(self, name: str, parse: Callable[[str], T]):
        self.name = name
        self._parse = parse

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> T:
        """Read the value."""
        if not isinstance(value, str):
            parsed: T = value
            return parsed
        try:
            return self._parse(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


def _global_options() -> list[click.Parameter]:
    return [
        click.Option(
            ["--config"],
            # An unreadable file is reported when it is loaded, with what to do.
            type=click.Path(path_type=Path, readable=False),
            metavar="FILE",
            help="The configuration file [default: $MENSAGOD_CONFIG or /etc/mensagod/serverconfig.toml;"
            " quickstart: var/serverconfig.toml].",
            expose_value=False,
            callback=_note,
        ),
        click.Option(
            ["--json", "as_json"],
            is_flag=True,
            help="Print the result as one JSON document.",
            expose_value=False,
            callback=_note,
        ),
        click.Option(
            ["--yes"],
            is_flag=True,
            help="Confirm destructive actions without asking.",
            expose_value=False,
            callback=_note,
        ),
    ]


def _note(context: click.Context, parameter: click.Parameter, value: Any) -> None:
    invocation = context.ensure_object(Invocation)
    if value and parameter.name is not None:
        setattr(invocation, parameter.name, value)
