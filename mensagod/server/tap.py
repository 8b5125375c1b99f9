"""What ``twistd mensagod`` asks for: the options, and the service that they make."""

import gc
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from twisted.application.service import IService
from twisted.python.usage import Options as UsageOptions
from twisted.python.usage import UsageError

from mensagod.commands.registry import CommandRegistry, PluginFaults
from mensagod.config import Config, ConfigFaults, configuration_path
from mensagod.lifecycle.parts import Parts
from mensagod.organization.key_file import OrganizationKeyFault
from mensagod.process.accounts import AccountError, UnixAccount, acting_as, service_account
from mensagod.process.trusted_configuration import load_guarded
from mensagod.server.assembly import Assembly
from mensagod.server.factory import MensagoFactory
from mensagod.server.listeners import Listeners
from mensagod.server.reloading import Reloading
from mensagod.server.service import MensagoService
from mensagod.server.tls import CertificateFault, Certificates
from mensagod.storage.migrations import SchemaError


class Options(UsageOptions):
    """The options of ``twistd mensagod``.

    :ivar announce: called once with the bound addresses when clients are let in.
    :ivar made: the service, put together from the configuration once the options are read.
    """

    optParameters = [
        [
            "config",
            "c",
            None,
            "The configuration [default: $MENSAGOD_CONFIG or /etc/mensagod/serverconfig.toml]",
        ]
    ]

    made: MensagoService

    def __init__(self) -> None:
        super().__init__()
        self.announce: Callable[[tuple[str, ...]], None] | None = None

    def postOptions(self) -> None:
        """Read the configuration and put the server together.

        :raises UsageError: if the configuration or what it names cannot be used: a line for each fault, which
            ``twistd`` shows without a traceback.
        """
        from twisted.internet import reactor  # noqa: PLC0415  importing it installs it

        given = self["config"]
        path = configuration_path(os.environ, Path(given) if given else None)
        try:
            loaded = load_guarded(path, os.environ)
            self.made = assemble(reactor, loaded.config, os.environ, loaded.reader)
        except ConfigFaults as error:
            raise UsageError("\n".join(map(str, error.faults))) from error
        except (AccountError, CertificateFault, OrganizationKeyFault, PluginFaults, SchemaError) as error:
            raise UsageError(str(error)) from error


def makeService(options: Options) -> IService:
    """Give the service that the options made."""
    # What is loaded now stays: a full collection need not walk through it, which would hold everybody up.
    gc.collect()
    gc.freeze()
    options.made.announce = options.announce
    options.made.is_daemon = options.parent is not None and not options.parent.get("nodaemon")
    options.made.own_log = _has_no_log_option(options.parent)
    return options.made


def _has_no_log_option(twistd: Mapping[str, object] | None) -> bool:
    """Tell whether the command line of ``twistd`` leaves the log to us."""
    if twistd is None or not twistd.get("nodaemon"):
        # A daemon has no standard output: twistd opens a file of its own.
        return twistd is None
    return not any(twistd.get(name) for name in ("logfile", "logger", "syslog"))


def assemble(
    reactor: Any, config: Config, environ: Mapping[str, str], reader: UnixAccount | None = None
) -> MensagoService:
    """Put a server together.

    :param reader: with whose rights to read what the configuration names; ``None`` for our own.
    """
    account = service_account(config.global_.user) if os.geteuid() == 0 else None
    assembly = Assembly(reactor, config, account, reader)
    commands = CommandRegistry.installed(config.plugins.disabled)
    factory = MensagoFactory(reactor, assembly.server, commands)
    network = config.network
    listeners = Listeners(
        reactor, network.endpoints, factory, _certificates(config, reader), network.proxy_protocol
    )
    service = MensagoService(
        reactor=reactor,
        assembly=assembly,
        factory=factory,
        listeners=listeners,
        # The service is not there yet.
        parts=Parts(tuple(assembly.parts(lambda: service.let_in()))),  # noqa: PLW0108
        reloading=Reloading(assembly.server, factory, listeners, account, environ),
        account=account,
    )
    return service


def _certificates(config: Config, reader: UnixAccount | None) -> Certificates | None:
    """Read what ``tls:`` listeners need, if there are any."""
    if not any(listener.kind == "tls" for listener in config.network.endpoints):
        return None
    with acting_as(reader):
        return Certificates(config.network.tls_certificate, config.network.tls_key)
