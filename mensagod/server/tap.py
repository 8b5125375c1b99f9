"""What ``twistd mensagod`` asks for: the options, and the service that they make."""

import gc
import os
from collections.abc import Callable, Mapping
from pathlib import Path

from twisted.application.service import IService
from twisted.python.usage import Options as UsageOptions
from twisted.python.usage import UsageError

from mensagod.commands.registry import PluginFaults
from mensagod.config import ConfigFaults, configuration_path
from mensagod.organization.key_file import OrganizationKeyFault
from mensagod.process.accounts import AccountError
from mensagod.process.trusted_configuration import load_guarded
from mensagod.server.assembly import assemble
from mensagod.server.service import MensagoService
from mensagod.server.tls import CertificateFault
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
