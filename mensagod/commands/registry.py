"""The registry of commands: finds the plugins, verifies them once, and reports every fault (spec 04)."""

from collections.abc import Container, Iterable, Mapping, Sequence
from difflib import get_close_matches
from importlib import import_module
from inspect import iscoroutinefunction
from types import MappingProxyType, ModuleType

from attrs import frozen
from twisted.plugin import IPlugin, getCache
from twisted.python.modules import getModule
from zope.interface import Invalid
from zope.interface.verify import verifyObject

import twisted.plugins
from mensagod.commands.audience import Audience
from mensagod.commands.interfaces import Command, ICommand, IDemand
from mensagod.errors import BadRequest
from mensagod.wire.fields import Fields
from mensagod.wire.messages import quote


class PluginFault(Exception):
    """A plugin cannot be used; the text says why, and what to do."""


class PluginFaults(Exception):
    """Some plugins cannot be used.

    :ivar faults: every :class:`PluginFault` that was found.
    """

    def __init__(self, faults: Sequence[PluginFault]):
        super().__init__("\n".join(map(str, faults)))
        self.faults = tuple(faults)


@frozen
class InstalledCommand:
    """A command, and the module and the name that an operator finds it by."""

    command: ICommand
    origin: str


@frozen
class CommandRegistry:
    """The commands of a running server, by name."""

    commands: Mapping[str, ICommand]

    @classmethod
    def of(cls, commands: Iterable[ICommand], disabled: Iterable[str] = ()) -> "CommandRegistry":
        """Verify ``commands``, and register all but the ``disabled`` ones.

        :raises PluginFaults: if a command does not provide :class:`ICommand` correctly, two commands have
            the same name, or a disabled command does not exist.
        """
        named = [
            InstalledCommand(command, f"{type(command).__module__}.{type(command).__name__}")
            for command in commands
        ]
        return cls._of(named, disabled, [])

    @classmethod
    def _of(
        cls, commands: Iterable[InstalledCommand], disabled: Iterable[str], faults: list[PluginFault]
    ) -> "CommandRegistry":
        found: dict[str, InstalledCommand] = {}
        for command in commands:
            try:
                _register(command, found)
            except PluginFault as fault:
                faults.append(fault)
        faults += [_unknown(name, found) for name in disabled if found.pop(name.upper(), None) is None]
        if faults:
            raise PluginFaults(faults)
        return cls(MappingProxyType({name: installed.command for name, installed in found.items()}))

    @classmethod
    def installed(
        cls, disabled: Iterable[str] = (), package: ModuleType = twisted.plugins
    ) -> "CommandRegistry":
        """Find every command in the dropins of ``package``.

        :raises PluginFaults: as :meth:`of`, or if a dropin cannot be imported.
        """
        commands, faults = installed_commands(package)
        if faults:
            disabled = ()  # a disabled name may belong to a plugin that failed to load
        return cls._of(commands, disabled, faults)

    def find(self, action: str) -> ICommand:
        """Give the command of this name.

        :raises BadRequest: if there is none.
        """
        command = self.commands.get(action)
        if command is None:
            raise BadRequest(f"Unrecognized command {quote(action)}")
        return command


def installed_commands(
    package: ModuleType = twisted.plugins,
) -> tuple[list[InstalledCommand], list[PluginFault]]:
    """Load the commands of all dropins without verifying them; give also a fault for each that cannot load.

    Twisted silently skips a dropin that cannot be imported. For the others it caches their plugins in
    ``dropin.cache``, so that a plugin may be listed although its module cannot be imported any more.
    """
    commands: list[InstalledCommand] = []
    dropins = getCache(package)
    faults = _import_faults(package, dropins)
    for dropin in dropins.values():
        for plugin in dropin.plugins:
            if ICommand not in plugin.provided:
                continue
            origin = f"{dropin.moduleName}.{plugin.name}"
            try:
                commands.append(InstalledCommand(plugin.load(), origin))
            except Exception as error:
                faults.append(
                    PluginFault(
                        f"plugin {origin} cannot be loaded ({_one_line(error)}):"
                        " repair it, or remove its module and dropin.cache beside it"
                    )
                )
    return commands, faults


def _import_faults(package: ModuleType, loaded: Container[str]) -> list[PluginFault]:
    """Give a fault for each dropin that is not among the ``loaded`` ones, with the reason."""
    faults = []
    for module in getModule(package.__name__).iterModules():
        name = module.name.rpartition(".")[2]
        if name not in loaded:
            reason = _import_error(module.name)
            faults.append(
                PluginFault(
                    f"plugin module {module.filePath.path} cannot be imported ({reason}): repair or remove it"
                )
            )
    return faults


def _import_error(module: str) -> str:
    try:
        import_module(module)
    except Exception as error:
        return _one_line(error)
    return "it was repaired meanwhile, start again"


def _one_line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())


def _register(installed: InstalledCommand, found: dict[str, InstalledCommand]) -> None:
    """Verify a command, and add it to ``found``."""
    command, where = installed.command, f"command plugin {installed.origin}"
    if not ICommand.providedBy(command):
        raise PluginFault(f"{where} is not a command: it does not provide ICommand, as Command does")
    audience: object = getattr(command, "audience", None)
    if not isinstance(audience, Audience) or not audience:
        raise PluginFault(f"{where} has no audience: set one, for instance Audience.MEMBER")
    name: object = getattr(command, "name", None)
    if not isinstance(name, str) or not name.isascii() or not name.isidentifier() or name != name.upper():
        raise PluginFault(f"{where} has the name {name!r}: a name is upper-case ASCII letters, digits and _")
    try:
        _require_command(command)
    except (Invalid, TypeError) as error:
        raise PluginFault(f"{where} is not a command: {' '.join(str(error).split())}") from error
    if name in found:
        raise PluginFault(
            f"{where} has the name {name}, which {found[name].origin} already has: remove one of them"
        )
    found[name] = installed


def _require_command(command: ICommand) -> None:
    """Make sure that a command provides what the interface says.

    :raises Invalid: as :func:`zope.interface.verify.verifyObject`.
    :raises TypeError: with what else is wrong.
    """
    verifyObject(ICommand, command)
    verifyObject(IPlugin, command)
    if getattr(type(command), "perform", None) is Command.perform:
        raise TypeError("it has no perform")
    if not iscoroutinefunction(command.perform):
        raise TypeError("its perform is not defined with async def")
    for name in ("demands", "more_fields"):
        if not isinstance(getattr(command, name), tuple):
            raise TypeError(f"its {name} are not a tuple")
    for demand in command.demands:
        verifyObject(IDemand, demand)
    _require_fields("fields", command.fields)
    for fields in command.more_fields:
        _require_fields("more_fields", fields)


def _require_fields(name: str, fields: object) -> None:
    if not isinstance(fields, type) or not issubclass(fields, Fields):
        raise TypeError(f"its {name} are not a frozen subclass of mensagod.wire.fields.Fields")
    fields.require_well_defined()


def _unknown(name: str, found: Iterable[str]) -> PluginFault:
    near = get_close_matches(name.upper(), found, 1)
    hint = f"; did you mean {near[0]}?" if near else ""
    return PluginFault(f"plugins.disabled names {name!r}, but there is no such command{hint}")
