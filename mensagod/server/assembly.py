"""Assembly: makes the parts of a server, and lists them in the order of their start, and the routes."""

from collections.abc import Callable, Iterator
from typing import Any

from twisted.python.filepath import FilePath

from mensagod.config import Config
from mensagod.config.choices import Hints
from mensagod.contents.file_store import FileStore
from mensagod.contents.room import Room
from mensagod.delivery.accepting import Acceptor
from mensagod.delivery.cleanup import Cleanup
from mensagod.delivery.database_queue import DatabaseQueue
from mensagod.delivery.interfaces import IRoute
from mensagod.delivery.local import LocalRoute
from mensagod.delivery.service import DeliveryService
from mensagod.delivery.unserved import UnservedDomains
from mensagod.lifecycle.parts import Part, Preparation, ServicePart
from mensagod.lifecycle.patience import PatientPart
from mensagod.lifecycle.periodic import Periodic
from mensagod.operations.limits import Limits
from mensagod.operations.resolver import LocalResolver
from mensagod.organization.key_file import read_candidates
from mensagod.organization.retention import KeyRetention
from mensagod.organization.watch import KeyWatch
from mensagod.postgres.access import describe_database, embedded_cluster
from mensagod.postgres.embedded import EmbeddedPostgres
from mensagod.process.accounts import UnixAccount, acting_as
from mensagod.server.preparing import Migration, check_domain, check_store
from mensagod.sessions.live import LiveSessions
from mensagod.sessions.parts import Server
from mensagod.sessions.recovery import Recovery
from mensagod.sharing.follower import Follower, StoredEventLog
from mensagod.sharing.heartbeat import Heartbeat
from mensagod.sharing.hints import IHints, PollHints
from mensagod.sharing.listening import ListeningConnection
from mensagod.sharing.pg_hints import PgHints
from mensagod.storage import events, failures, lookups, submissions
from mensagod.storage.bringing_over import VERSION as BROUGHT_OVER
from mensagod.storage.bringing_over import BringingOver
from mensagod.storage.clocks import ClockAgreement, ClockWatch
from mensagod.storage.connections import Description
from mensagod.storage.database import Database
from mensagod.storage.migrations import installed_steps
from mensagod.threads.pool import WorkerPool

FILE_THREADS = 8
"""The number of threads for work on the content store."""

QUEUE_SECONDS = 10
"""How long a password check may wait for a thread, in seconds (spec 04, PASSWORD)."""

EXPIRY_SECONDS = 10
"""How often expired rows are deleted, in seconds."""


class Assembly:
    """The parts of a server, made but not started.

    Commands reach them through :attr:`server`, by the interfaces that they need.

    :param account: the Unix account that the server becomes; ``None`` if it was not started as root.
    :param reader: the Unix account with whose rights the files that the configuration names are read;
        ``None`` for the present one.
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
        self.password_checks = WorkerPool(reactor, "passwords", checks, QUEUE_SECONDS)
        self.code_checks = WorkerPool(reactor, "codes", checks, QUEUE_SECONDS)
        self.store = FileStore(FilePath(str(config.global_.top_dir)))
        self.sessions = LiveSessions(self.database)
        self.follower = Follower(reactor, StoredEventLog(self.database))
        self.listening = WorkerPool(reactor, "hints", 1)
        self.hints = self._hints(config, description)
        self.hints.subscribe(self.sessions.wake)
        # Read now, so that a faulty key file ends the start.
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
        self.clocks = ClockAgreement()
        self.queue = DatabaseQueue(self.database, self.sessions.process)
        self.delivery = self._delivery()
        self.acceptor = self._acceptor()
        self.server = self._server(config)

    def parts(self, admit_clients: Callable[[], None]) -> Iterator[Part]:
        """Give the parts in the order of their start; they stop in reverse order.

        :param admit_clients: admits clients; called when the database is unavailable at the start, so that
            clients are answered 303.
        """

        def patient(part: Part) -> Part:
            return PatientPart(self.reactor, admit_clients, part)

        recovery = Recovery(self.reactor, self.sessions, self.follower)
        for threads in (self.files, self.password_checks, self.code_checks, self.listening):
            yield ServicePart(threads)
        if self.embedded is not None:
            yield self.embedded
        yield ServicePart(self.database)
        yield patient(Preparation(self._migration().run))
        yield patient(Preparation(self.keys.load))
        yield patient(Preparation(lambda: check_domain(self.database, self.server.domain)))
        # After the check of the domain: a wrong database never gives a store an ID.
        yield patient(Preparation(lambda: check_store(self.database, self.store)))
        yield patient(Heartbeat(self.reactor, self.database, self.sessions.process, recovery.lose_rows))
        yield ServicePart(self.follower)
        yield self.hints
        yield recovery
        yield ServicePart(ClockWatch(self.reactor, self.database, self.clocks))
        yield ServicePart(self.keys)
        yield ServicePart(KeyRetention(self.reactor, self.database, self.clocks))
        yield ServicePart(
            Periodic(
                self.reactor,
                EXPIRY_SECONDS,
                self._delete_expired,
                "expired rows could not be deleted",
                now=False,
            )
        )
        yield ServicePart(self._cleanup())
        yield ServicePart(self.delivery)

    def _hints(self, config: Config, description: Description) -> IHints:
        """Give the way for hints that the configuration chose.

        :param description: how to reach the database.
        """
        if config.cluster.hints is Hints.POLL:
            return PollHints(self.reactor, self.database, self.sessions.unaware)
        if self.embedded is None and config.cluster.listen_url is not None:
            description = config.cluster.listen_url.reveal()
        process = self.sessions.process
        return PgHints(
            reactor=self.reactor,
            threads=self.listening,
            database=self.database,
            process=process,
            connect=lambda: ListeningConnection.open(description, process),
        )

    def _server(self, config: Config) -> Server:
        return Server(
            reactor=self.reactor,
            config=config,
            database=self.database,
            store=self.store,
            room=Room(self.reactor, self.store, self.files),
            files=self.files,
            password_checks=self.password_checks,
            code_checks=self.code_checks,
            sessions=self.sessions,
            acceptor=self.acceptor,
            keys=self.keys,
            follower=self.follower,
            resolver=self.resolver,
            limits=Limits(self.reactor),
        )

    def _acceptor(self) -> Acceptor:
        return Acceptor(
            clock=self.reactor,
            database=self.database,
            rate=lambda: self.server.config.security.max_recipients_per_minute,
            delivered=self.hints.send,
            queued=self.delivery.wake,
        )

    def _migration(self) -> Migration:
        bringing_over = BringingOver(self.store, self.server.config.performance.inline_bytes)
        return Migration(self.database, installed_steps(), {BROUGHT_OVER: bringing_over})

    def _cleanup(self) -> Cleanup:
        return Cleanup(
            reactor=self.reactor,
            config=lambda: self.server.config,
            database=self.database,
            store=self.store,
            threads=self.files,
            clocks=self.clocks,
        )

    def _delivery(self) -> DeliveryService:
        return DeliveryService(
            reactor=self.reactor,
            config=lambda: self.server.config,
            queue=self.queue,
            routes=list(self._routes()),
            clocks=self.clocks,
        )

    def _routes(self) -> Iterator[IRoute]:
        """Give the routes; a message takes the first one that takes its domain."""
        yield LocalRoute(
            database=self.database,
            store=self.store,
            threads=self.files,
            ours=lambda: self.server.config.global_.domains,
            keyring=lambda: self.server.keyring,
            newer_keyring=self.keys.newer,
            delivered=self.hints.send,
        )
        yield UnservedDomains()

    async def _delete_expired(self) -> None:
        """Delete expired failures and lookups, and old events."""
        await self.database.run(failures.forget_expired)
        await self.database.run(lookups.forget_old)
        await self.database.run(events.forget_old)
        await self.database.run(submissions.forget_old)
