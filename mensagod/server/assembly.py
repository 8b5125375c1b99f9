"""Where the parts of a server are put together, each named once in the order in which it starts."""

import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from twisted.python.filepath import FilePath

from mensagod.commands.registry import CommandRegistry
from mensagod.config import Config
from mensagod.delivery.local import LocalDelivery
from mensagod.delivery.service import DeliveryService
from mensagod.lifecycle.parts import Part, Parts, Preparation, ServicePart
from mensagod.lifecycle.patience import PatientPart
from mensagod.lifecycle.periodic import Periodic
from mensagod.operations.resolver import LocalResolver
from mensagod.organization.key_file import read_candidates
from mensagod.organization.watch import KeyWatch
from mensagod.postgres.access import describe_database, embedded_postgres
from mensagod.postgres.embedded import EmbeddedPostgres
from mensagod.process.accounts import Account, acting_as, service_account
from mensagod.server.factory import MensagoFactory
from mensagod.server.listeners import Listeners
from mensagod.server.parts import Server
from mensagod.server.preparing import Migration, check_domain
from mensagod.server.reloading import Reloading
from mensagod.server.service import MensagoService
from mensagod.server.tls import Certificates
from mensagod.sessions.live import LiveSessions
from mensagod.sessions.recovery import Recovery
from mensagod.sharing.follower import Follower, StoredEventLog
from mensagod.sharing.heartbeat import Heartbeat
from mensagod.storage import events, failures, schema
from mensagod.storage.database import Database
from mensagod.storage.migrations import read_steps
from mensagod.storage.store import MailboxStore
from mensagod.threads.pool import Crew

FILE_THREADS = 8
"""Threads for work on the store."""

PATIENCE_SECONDS = 10
"""How long a password check may wait for its turn (spec 04, PASSWORD)."""

FORGET_SECONDS = 10
"""How often rows that matter no more are removed."""


def assemble(
    reactor: Any, config: Config, environ: Mapping[str, str], reader: Account | None = None
) -> MensagoService:
    """Put the parts of a server together; nothing is started.

    :param reader: with whose rights to read what the configuration names; ``None`` for our own.
    """
    account = service_account(config.global_.user) if os.geteuid() == 0 else None
    embedded = embedded_postgres(reactor, config, account) if config.database.embedded else None
    server = _server(reactor, config, embedded, reader)
    factory = MensagoFactory(reactor, server)
    listeners = Listeners(reactor, config.network.endpoints, factory, _certificates(config, reader))
    service = MensagoService(
        reactor=reactor,
        server=server,
        factory=factory,
        listeners=listeners,
        # The service is not there yet.
        parts=Parts(tuple(_parts(reactor, server, embedded, lambda: service.let_in()))),  # noqa: PLW0108
        reloading=Reloading(server, factory, listeners, account, environ),
        account=account,
    )
    return service


def _parts(
    reactor: Any, server: Server, embedded: EmbeddedPostgres | None, let_in: Callable[[], None]
) -> Iterator[Part]:
    """Give the parts in the order in which they start; they stop in the opposite one.

    :param let_in: what a part calls that finds the database away, so that clients are told so.
    """

    def patient(part: Part) -> Part:
        return PatientPart(reactor, let_in, part)

    database, follower = server.database, server.changes
    recovery = Recovery(reactor, server.sessions, follower)
    for crew in (server.files, server.password_checks, server.code_checks):
        yield ServicePart(crew)
    if embedded is not None:
        yield embedded
    yield ServicePart(database)
    yield patient(Preparation(Migration(database, read_steps(schema.DIRECTORY)).run))
    yield patient(Preparation(server.keys.load))
    yield patient(Preparation(lambda: check_domain(database, server.domain)))
    yield patient(Heartbeat(reactor, database, server.sessions.process, recovery.lose_rows))
    yield ServicePart(follower)
    yield recovery
    yield ServicePart(server.keys)
    yield ServicePart(
        Periodic(reactor, FORGET_SECONDS, lambda: _forget(database), "old rows cannot be removed", now=False)
    )
    yield ServicePart(server.delivery)


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
    follower = Follower(reactor, StoredEventLog(database))
    # Read now, so that what is wrong with it ends the start.
    with acting_as(reader):
        masters = read_candidates(config.organization_key)
    keys = KeyWatch(
        reactor=reactor,
        database=database,
        changes=follower,
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
        changes=follower,
        resolver=LocalResolver(reactor, database, follower, config.performance.keycard_cache_size),
    )
    return server


def _certificates(config: Config, reader: Account | None) -> Certificates | None:
    """Read what ``tls:`` listeners need, if there are any."""
    if not any(listener.kind == "tls" for listener in config.network.endpoints):
        return None
    with acting_as(reader):
        return Certificates(config.network.tls_certificate, config.network.tls_key)


async def _forget(database: Database) -> None:
    """Remove the rows that matter no more."""
    await database.run(failures.forget_expired)
    await database.run(events.forget_old)
