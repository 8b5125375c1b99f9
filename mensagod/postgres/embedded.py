"""A PostgreSQL of our own, started and watched and stopped with the server.

(spec 06, *Database*, *Embedded*)
"""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import psycopg2
from psycopg2 import sql
from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure

from mensagod.postgres.binaries import Binaries, EmbeddedError
from mensagod.postgres.directory import DATABASE, ClusterDirectory
from mensagod.postgres.server_process import ServerProcess
from mensagod.process.accounts import Account
from mensagod.storage.connections import connect

T = TypeVar("T")

START_LIMIT: Final = 600.0
"""Seconds to wait for the server, which may have to recover from a crash first."""

SPARE_CONNECTIONS: Final = 20
"""Connections beyond the pool's: for hints, for the command line, for the superuser."""

_SPAWNS = 6
_POLL = 0.05
_TICK = 0.25
_LONGEST_DELAY = 30.0


class EmbeddedPostgres:
    """The server of one cluster directory.

    Who holds the lock of the directory owns the server: starts it, restarts it when it dies, and
    stops it in the end. One that survived the sudden death of its owner is taken over, and
    stopped like any other; one that a living process owns is used and left alone.

    :param directory: ``TOP_DIR/postgresql``.
    :param binaries: ``database.embedded_binaries``, if it is set.
    :param account: whom to run as if we are root; we may become it later.
    :param pool_max: the connections to be had, to which some are added.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        directory: Path,
        binaries: str | None = None,
        account: Account | None = None,
        pool_max: int = 10,
    ):
        self._reactor = reactor
        self._configured = binaries
        self._max_connections = pool_max + SPARE_CONNECTIONS
        self._directory = ClusterDirectory(directory, account)
        self._server = ServerProcess(self._directory)
        self._binaries: Binaries | None = None
        self._stopping = threading.Event()
        self._work: Deferred[Any] | None = None
        self._failures = 0
        self._not_before = 0.0
        self._watch = LoopingCall(self._look)
        self._watch.clock = reactor

    @property
    def connection(self) -> dict[str, Any]:
        """How to reach the database, in keywords of libpq; true before the start, too."""
        return self._directory.parameters()

    def start(self) -> Deferred[dict[str, Any]]:
        """Make the cluster if there is none, start it, and fire with :attr:`connection` once it answers.

        :raise EmbeddedError: it cannot be; the text says why and what helps.
        """
        self._stopping.clear()
        return Deferred.fromCoroutine(self._start())

    def stop(self) -> Deferred[None]:
        """Stop the server if it is ours: connections end at once, what was committed is on disk."""
        self._stopping.set()
        if self._watch.running:
            self._watch.stop()
        return Deferred.fromCoroutine(self._stop())

    def disown(self) -> None:
        """Leave the server running, for whoever starts the next one for the directory."""
        if self._watch.running:
            self._watch.stop()
        self._server.disown()

    async def _start(self) -> dict[str, Any]:
        await self._in_thread(self._prepare)
        self._watch.start(_TICK, now=False)
        return self.connection

    async def _stop(self) -> None:
        if self._work is not None:
            await self._work
        await self._in_thread(self._server.stop)

    def _prepare(self) -> None:
        try:
            self._set_up()
        except OSError as error:
            place = error.filename or self._directory.path
            raise EmbeddedError(
                f"{place}: {error.strerror or error}: {self._directory.path} and all in it must belong to"
                " the account that PostgreSQL runs as, on a disk with room"
            ) from error

    def _set_up(self) -> None:
        self._directory.make_directories()
        self._binaries = self._directory.find_binaries(self._configured)
        if self._server.claim():
            self._directory.initialize(self._binaries)
        self._bring_up()
        self._make_database()

    def _bring_up(self) -> None:
        """Wait until a server answers, and start one whenever there is none; blocks."""
        deadline = time.monotonic() + START_LIMIT
        spawns = 0
        while not self._stopping.is_set():
            if self._answers():
                return
            if self._server.claim() and not self._server.is_there():
                if spawns == _SPAWNS:
                    raise EmbeddedError(self._directory.last_words("does not start"))
                # The processes of one that was killed need a moment to end.
                self._stopping.wait(spawns * 0.2)
                self._spawn()
                spawns += 1
            if time.monotonic() > deadline:
                raise EmbeddedError(self._directory.last_words("does not answer"))
            self._stopping.wait(_POLL)
        raise EmbeddedError("Stopped before PostgreSQL had started")

    def _spawn(self) -> None:
        if self._binaries is not None:
            self._server.spawn(self._binaries, self._max_connections)

    def _answers(self) -> bool:
        try:
            connect(self._directory.parameters("postgres")).close()
        except psycopg2.OperationalError:
            return False
        return True

    def _make_database(self) -> None:
        connection = connect(self._directory.parameters("postgres"))
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute("SELECT FROM pg_database WHERE datname = %s", (DATABASE,))
                if cursor.rowcount == 0:
                    cursor.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(DATABASE)))
        finally:
            connection.close()

    def _look(self) -> Deferred[None] | None:
        if self._server.is_alive() or self._reactor.seconds() < self._not_before:
            return None
        self._log.warn("The embedded PostgreSQL has died", event="embedded_died")
        return self._in_thread(self._bring_up).addCallbacks(self._is_back, self._is_not_back)

    def _is_back(self, _: None) -> None:
        self._failures = 0
        self._log.info("The embedded PostgreSQL is back", event="embedded_back")

    def _is_not_back(self, failure: Failure) -> None:
        if self._stopping.is_set():
            return
        self._failures += 1
        self._not_before = self._reactor.seconds() + min(_LONGEST_DELAY, 2.0**self._failures)
        self._log.failure("The embedded PostgreSQL does not come back", failure, event="embedded_lost")

    def _in_thread(self, work: Callable[[], T]) -> Deferred[T]:
        """Run blocking work, one piece at a time; :meth:`stop` waits for its end."""
        result: Deferred[T] = deferToThreadPool(self._reactor, self._reactor.getThreadPool(), work)
        done: Deferred[None] = Deferred()
        self._work = done

        def finish(outcome: T) -> T:
            self._work = None
            done.callback(None)
            return outcome

        return result.addBoth(finish)
