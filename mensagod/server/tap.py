"""The ``twistd mensagod`` plugin: its options, and how they become a service."""

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
from mensagod.lifecycle.timers import follow_steady_clock
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

    :ivar announce: called once with the bound addresses when clients are admitted.
    :ivar made: the service, assembled from the configuration once the options are parsed.
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
        """Read the configuration and assemble the server.

        :raises UsageError: if the configuration or a file that it names is faulty: a line for each fault,
            which ``twistd`` shows without a traceback.
        """
        from twisted.internet import reactor  # noqa: PLC0415  importing it installs it

        follow_steady_clock(reactor)
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
    """Give the service that the options assembled."""
    # Everything loaded now stays for good. Frozen, it does not slow down full garbage collections.
    gc.collect()
    gc.freeze()
    options.made.announce = options.announce
    options.made.is_daemon = options.parent is not None and not options.parent.get("nodaemon")
    options.made.own_log = _has_no_log_option(options.parent)
    return options.made


def _has_no_log_option(twistd: Mapping[str, object] | None) -> bool:
    """Tell whether the command line of ``twistd`` has no option that chooses another log."""
    if twistd is None or not twistd.get("nodaemon"):
        # A daemon has no standard output, so twistd logs to a file.
        return twistd is None
    return not any(twistd.get(name) for name in ("logfile", "logger", "syslog"))


def assemble(
    reactor: Any, config: Config, environ: Mapping[str, str], reader: UnixAccount | None = None
) -> MensagoService:
    """Assemble a server.

    :param reader: the Unix account with whose rights the files that the configuration names are read;
        ``None`` for the present one.
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
        # A lambda, because the service does not exist yet.
        parts=Parts(tuple(assembly.parts(lambda: service.admit_clients()))),  # noqa: PLW0108
        reloading=Reloading(assembly.server, factory, listeners, account, environ),
        account=account,
    )
    return service


def _certificates(config: Config, reader: UnixAccount | None) -> Certificates | None:
    """Read the certificate and its key, if there is a ``tls:`` listener."""
    if not any(listener.kind == "tls" for listener in config.network.endpoints):
        return None
    with acting_as(reader):
        return Certificates(config.network.tls_certificate, config.network.tls_key)
