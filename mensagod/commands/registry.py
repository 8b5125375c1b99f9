"""The registry of commands: finds the plugins, verifies them once, and reports every fault (spec 04)."""

from collections.abc import Container, Iterable, Mapping, Sequence
from difflib import get_close_matches
from importlib import import_module
from types import MappingProxyType, ModuleType

import attrs
from attrs import frozen
from twisted.plugin import IPlugin, getCache
from twisted.python.modules import getModule
from zope.interface import Invalid
from zope.interface.verify import verifyObject

import twisted.plugins
from mensagod.commands.audience import Audience
from mensagod.commands.interfaces import ICommand, IDemand
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
class CommandRegistry:
    """The commands of a running server, by name."""

    commands: Mapping[str, ICommand]

    @classmethod
    def of(cls, commands: Iterable[ICommand], disabled: Iterable[str] = ()) -> "CommandRegistry":
        """Verify ``commands``, and register all but the ``disabled`` ones.

        :raises PluginFaults: if a command does not provide :class:`ICommand` correctly, two commands have
            the same name, or a disabled command does not exist.
        """
        return cls._of(commands, disabled, [])

    @classmethod
    def _of(
        cls, commands: Iterable[ICommand], disabled: Iterable[str], faults: list[PluginFault]
    ) -> "CommandRegistry":
        found: dict[str, ICommand] = {}
        for command in commands:
            try:
                _register(command, found)
            except PluginFault as fault:
                faults.append(fault)
        faults += [_unknown(name, found) for name in disabled if found.pop(name.upper(), None) is None]
        if faults:
            raise PluginFaults(faults)
        return cls(MappingProxyType(found))

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
) -> tuple[list[ICommand], list[PluginFault]]:
    """Load the commands of all dropins without verifying them; give also a fault for each that cannot load.

    Twisted silently skips a dropin that cannot be imported. For the others it caches their plugins in
    ``dropin.cache``, so that a plugin may be listed although its module cannot be imported any more.
    """
    commands: list[ICommand] = []
    dropins = getCache(package)
    faults = _import_faults(package, dropins)
    for dropin in dropins.values():
        for plugin in dropin.plugins:
            if ICommand not in plugin.provided:
                continue
            try:
                commands.append(plugin.load())
            except Exception as error:
                faults.append(
                    PluginFault(
                        f"plugin {dropin.moduleName}.{plugin.name} cannot be loaded ({_one_line(error)}):"
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


def _register(command: ICommand, found: dict[str, ICommand]) -> None:
    """Verify a command, and add it to ``found``."""
    where = f"command plugin {type(command).__module__}.{type(command).__name__}"
    try:
        verifyObject(ICommand, command)
        verifyObject(IPlugin, command)
        for demand in command.demands:
            verifyObject(IDemand, demand)
        if not _are_fields(command.fields) or not all(map(_are_fields, command.more_fields)):
            raise TypeError("its fields are not a frozen subclass of mensagod.wire.fields.Fields")
    except (Invalid, TypeError) as error:
        raise PluginFault(f"{where} is not a command: {' '.join(str(error).split())}") from error
    audience: object = command.audience
    if not isinstance(audience, Audience) or not audience:
        raise PluginFault(f"{where} has no audience: set one, for instance Audience.MEMBER")
    name: object = command.name
    if not isinstance(name, str) or not name.isascii() or not name.isidentifier() or name != name.upper():
        raise PluginFault(f"{where} has the name {name!r}: a name is upper-case ASCII letters, digits and _")
    if name in found:
        other = type(found[name])
        raise PluginFault(
            f"{where} has the name {name}, which {other.__module__}.{other.__name__} already has:"
            " remove one of them"
        )
    found[name] = command


def _are_fields(fields: object) -> bool:
    return isinstance(fields, type) and issubclass(fields, Fields) and attrs.has(fields)


def _unknown(name: str, found: Mapping[str, ICommand]) -> PluginFault:
    near = get_close_matches(name.upper(), found, 1)
    hint = f"; did you mean {near[0]}?" if near else ""
    return PluginFault(f"plugins.disabled names {name!r}, but there is no such command{hint}")
