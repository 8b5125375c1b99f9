"""Where the parts meet: the options of ``twistd mensagod``, and the service that they make."""

import gc
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from twisted.application.service import IService
from twisted.python.filepath import FilePath
from twisted.python.usage import Options as UsageOptions
from twisted.python.usage import UsageError

from mensagod.commands.registry import CommandRegistry, PluginFaults
from mensagod.config import Config, ConfigFaults, configuration_path
from mensagod.delivery.local import LocalDelivery
from mensagod.delivery.service import DeliveryService
from mensagod.operations.resolver import LocalResolver
from mensagod.organization.key_file import OrganizationKeyFault, read_candidates
from mensagod.organization.watch import KeyWatch
from mensagod.postgres.access import describe_database, embedded_cluster
from mensagod.postgres.embedded import EmbeddedPostgres
from mensagod.process.accounts import Account, AccountError, acting_as, service_account
from mensagod.process.trusted_configuration import load_guarded
from mensagod.server.factory import MensagoFactory
from mensagod.server.listeners import Listeners
from mensagod.server.parts import Server
from mensagod.server.service import MensagoService
from mensagod.server.tls import CertificateFault, Certificates
from mensagod.sessions.live import LiveSessions
from mensagod.sharing.follower import ChangeWatch
from mensagod.storage.database import Database
from mensagod.storage.store import MailboxStore
from mensagod.threads.pool import Crew

FILE_THREADS = 8
"""Threads for work on the store."""

PATIENCE_SECONDS = 10
"""How long a password check may wait for its turn (spec 04, PASSWORD)."""


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
        except (AccountError, CertificateFault, OrganizationKeyFault, PluginFaults) as error:
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
    reactor: Any, config: Config, environ: Mapping[str, str], reader: Account | None = None
) -> MensagoService:
    """Put the parts of a server together; nothing is started.

    :param reader: with whose rights to read what the configuration names; ``None`` for our own.
    """
    account = service_account(config.global_.user) if os.geteuid() == 0 else None
    embedded = None
    if config.database.embedded:
        embedded = EmbeddedPostgres(reactor, embedded_cluster(config, account))
    server = _server(reactor, config, embedded, reader)
    factory = MensagoFactory(reactor, server)
    endpoints = config.network.endpoints
    certificates = None
    if any(listener.kind == "tls" for listener in endpoints):
        with acting_as(reader):
            certificates = Certificates(config.network.tls_certificate, config.network.tls_key)
    listeners = Listeners(reactor, endpoints, factory, certificates)
    return MensagoService(
        reactor=reactor,
        server=server,
        factory=factory,
        listeners=listeners,
        embedded=embedded,
        account=account,
        environ=environ,
    )


def _server(
    reactor: Any, config: Config, embedded: EmbeddedPostgres | None, reader: Account | None
) -> Server:
    """Put together what sessions share."""
    description = embedded.connection if embedded is not None else describe_database(config)
    database = Database(reactor, description, config.database.pool_min, config.database.pool_max)
    checks = config.security.max_password_checks
    files = Crew(reactor, "files", FILE_THREADS)
    store = MailboxStore(FilePath(str(config.global_.top_dir)))
    sessions = LiveSessions(database)
    changes = ChangeWatch(reactor, database)
    # Read now, so that what is wrong with it ends the start.
    with acting_as(reader):
        masters = read_candidates(config.organization_key)
    keys = KeyWatch(
        reactor=reactor,
        database=database,
        changes=changes,
        masters=masters,
        read_masters=lambda: read_candidates(config.organization_key),
    )
    delivery = DeliveryService(
        reactor=reactor,
        config=lambda: server.config,
        keyring=lambda: server.keyring,
        local=LocalDelivery(database, store, files),
        delivered=sessions.changed,
    )
    server = Server(
        reactor=reactor,
        config=config,
        database=database,
        store=store,
        files=files,
        password_checks=Crew(reactor, "passwords", checks, PATIENCE_SECONDS),
        code_checks=Crew(reactor, "codes", checks, PATIENCE_SECONDS),
        commands=CommandRegistry.installed(config.plugins.disabled),
        sessions=sessions,
        delivery=delivery,
        keys=keys,
        changes=changes,
        resolver=LocalResolver(reactor, database, changes, config.performance.keycard_cache_size),
    )
    return server
