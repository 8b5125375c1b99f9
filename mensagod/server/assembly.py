"""Where the parts of a server are put together, each listed once, in the order in which they start."""

from collections.abc import Callable, Iterator
from typing import Any

from twisted.python.filepath import FilePath

from mensagod.config import Config
from mensagod.delivery.cleanup import Cleanup
from mensagod.delivery.database_queue import DatabaseQueue
from mensagod.delivery.interfaces import IRoute
from mensagod.delivery.local import LocalRoute
from mensagod.delivery.service import DeliveryService
from mensagod.delivery.unserved import UnservedDomains
from mensagod.lifecycle.parts import Part, Preparation, ServicePart
from mensagod.lifecycle.patience import PatientPart
from mensagod.lifecycle.periodic import Periodic
from mensagod.operations.resolver import LocalResolver
from mensagod.organization.key_file import read_candidates
from mensagod.organization.watch import KeyWatch
from mensagod.postgres.access import describe_database, embedded_cluster
from mensagod.postgres.embedded import EmbeddedPostgres
from mensagod.process.accounts import UnixAccount, acting_as
from mensagod.server.preparing import Migration, check_domain
from mensagod.sessions.live import LiveSessions
from mensagod.sessions.parts import Server
from mensagod.sessions.recovery import Recovery
from mensagod.sharing.follower import Follower, StoredEventLog
from mensagod.sharing.heartbeat import Heartbeat
from mensagod.storage import events, failures, submissions
from mensagod.storage.database import Database
from mensagod.storage.migrations import installed_steps
from mensagod.storage.store import MailboxStore
from mensagod.threads.pool import WorkerPool

FILE_THREADS = 8
"""Threads for work on the store."""

PATIENCE_SECONDS = 10
"""How long a password check may wait for its turn (spec 04, PASSWORD)."""

FORGET_SECONDS = 10
"""How often rows that matter no more are removed."""


class Assembly:
    """A server that is put together; nothing is started.

    What commands see of the parts is :attr:`server`; here they are what they are.

    :param reader: with whose rights to read what the configuration names; ``None`` for our own.
    """

    def __init__(self, reactor: Any, config: Config, account: UnixAccount | None, reader: UnixAccount | None):
        self.reactor = reactor
        self.embedded: EmbeddedPostgres | None = None
        if config.database.embedded:
            self.embedded = EmbeddedPostgres(reactor, embedded_cluster(config, account))
        description = describe_database(config) if self.embedded is None else self.embedded.connection
        pool = config.database
        self.database = Database(reactor, description, pool.pool_min, pool.pool_max)
        checks = config.security.max_password_checks
        self.files = WorkerPool(reactor, "files", FILE_THREADS)
        self.password_checks = WorkerPool(reactor, "passwords", checks, PATIENCE_SECONDS)
        self.code_checks = WorkerPool(reactor, "codes", checks, PATIENCE_SECONDS)
        self.store = MailboxStore(FilePath(str(config.global_.top_dir)))
        self.sessions = LiveSessions(self.database)
        self.follower = Follower(reactor, StoredEventLog(self.database))
        # Read now, so that what is wrong with it ends the start.
        with acting_as(reader):
            masters = read_candidates(config.organization_key)
        self.keys = KeyWatch(
            reactor=reactor,
            database=self.database,
            changes=self.follower,
            masters=masters,
            read_masters=lambda: read_candidates(config.organization_key),
        )
        cards = config.performance.keycard_cache_size
        self.resolver = LocalResolver(reactor, self.database, self.follower, cards)
        self.queue = DatabaseQueue(self.database)
        self.delivery = DeliveryService(
            reactor=reactor, config=lambda: self.server.config, queue=self.queue, routes=list(self._routes())
        )
        self.server = Server(
            reactor=reactor,
            config=config,
            database=self.database,
            store=self.store,
            files=self.files,
            password_checks=self.password_checks,
            code_checks=self.code_checks,
            sessions=self.sessions,
            delivery=self.delivery,
            keys=self.keys,
            follower=self.follower,
            resolver=self.resolver,
        )

    def parts(self, let_in: Callable[[], None]) -> Iterator[Part]:
        """Give the parts in the order in which they start; they stop in the opposite one.

        :param let_in: what a part calls that finds the database away, so that clients are told so.
        """

        def patient(part: Part) -> Part:
            return PatientPart(self.reactor, let_in, part)

        recovery = Recovery(self.reactor, self.sessions, self.follower)
        for threads in (self.files, self.password_checks, self.code_checks):
            yield ServicePart(threads)
        if self.embedded is not None:
            yield self.embedded
        yield ServicePart(self.database)
        yield patient(Preparation(Migration(self.database, installed_steps()).run))
        yield patient(Preparation(self.keys.load))
        yield patient(Preparation(lambda: check_domain(self.database, self.server.domain)))
        yield patient(Heartbeat(self.reactor, self.database, self.sessions.process, recovery.lose_rows))
        yield ServicePart(self.follower)
        yield recovery
        yield ServicePart(self.keys)
        yield ServicePart(
            Periodic(
                self.reactor, FORGET_SECONDS, self._forget, "rows that matter no more stay for now", now=False
            )
        )
        yield ServicePart(Cleanup(self.reactor, self.queue, self.store, self.files))
        yield ServicePart(self.delivery)

    def _routes(self) -> Iterator[IRoute]:
        """Give the routes of delivery: the first that takes a domain delivers to it."""
        yield LocalRoute(
            database=self.database,
            store=self.store,
            threads=self.files,
            ours=lambda: self.server.config.global_.domains,
            keyring=lambda: self.server.keyring,
            delivered=self.sessions.wake,
        )
        yield UnservedDomains()

    async def _forget(self) -> None:
        """Remove the rows that matter no more."""
        await self.database.run(failures.forget_expired)
        await self.database.run(events.forget_old)
        await self.database.run(submissions.forget_old)
