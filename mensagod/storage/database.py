"""The database service: interactions in threads, over a bounded pool of connections.

(spec 06, *Database*)
"""

import threading
from collections.abc import Callable
from functools import partial
from typing import Any, Concatenate, Final, ParamSpec, TypeVar

import psycopg2.extras
from twisted.application.service import Service
from twisted.enterprise.adbapi import ConnectionPool
from twisted.internet.defer import Deferred, DeferredList, fail
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure

from mensagod.errors import ServerUnavailable
from mensagod.lifecycle.periodic import Periodic
from mensagod.storage.attempts import (
    Attempt,
    CommitUnknown,
    Contention,
    DatabaseUnavailable,
    Mode,
    Unreachable,
)
from mensagod.storage.availability import Availability
from mensagod.storage.connections import (
    Description,
    connection_parameters,
    constraint_name,
    prepare,
)
from mensagod.storage.rows import Transaction

__all__ = [
    "CommitUnknown",
    "Contention",
    "Database",
    "DatabaseUnavailable",
    "Transaction",
    "Unreachable",
    "constraint_name",
]

T = TypeVar("T")
P = ParamSpec("P")

LIMIT: Final = 30.0
"""Seconds that a call may take in all, the wait for a thread included."""

GRACE: Final = 10.0
"""Seconds that running interactions get when the service stops."""

_TICK = 1.0
_SILENCE = 2.0
_PROBE_LIMIT = 3.0


class Database(Service):
    """Interactions with PostgreSQL, each in a thread and a transaction of its own.

    :param description: URL, DSN or keywords of libpq.
    :param pool_min: connections opened at the start, in the background.
    :param pool_max: the most threads, and so connections, at any time; one more of each asks
        whether the database lives, so that it never waits behind slow statements.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        description: Description,
        pool_min: int = 2,
        pool_max: int = 10,
        *,
        limit: float = LIMIT,
        grace: float = GRACE,
    ):
        self._reactor = reactor
        self.parameters = connection_parameters(description)
        self._pool_min = pool_min
        self._pool_max = pool_max
        self._limit = limit
        self._grace = grace
        self._availability = Availability(reactor)
        self._stopping = threading.Event()
        self._running: dict[Attempt[Any], Deferred[None]] = {}
        self._timers: dict[Attempt[Any], IDelayedCall] = {}
        self._pool: ConnectionPool | None = None
        self._prober: ConnectionPool | None = None
        self._watch = Periodic(reactor, _TICK, self._look, "the probe of the database failed", now=False)

    @property
    def available(self) -> bool:
        """Whether the database answered when it was last asked, a few seconds ago at most."""
        return self._pool is not None and self._availability.is_there

    def watch(self, watcher: Callable[[bool], None]) -> None:
        """Call ``watcher(available)`` in the reactor whenever :attr:`available` changes."""
        self._availability.watch(watcher)

    def run(
        self,
        interaction: Callable[Concatenate[Transaction, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> Deferred[T]:
        """Run ``interaction(transaction, ...)`` in one READ COMMITTED transaction, and commit.

        It runs in a thread, and again from its beginning after a conflict with other
        transactions or a lost connection: it must do nothing but change the database. What it
        raises is raised after a rollback, errors of psycopg2 included. Cancelled, it does not
        begin; once begun it goes on to its end, and its result is dropped.

        :raise DatabaseUnavailable: the database is away, or the limit of time has passed.
        :raise CommitUnknown: the connection was lost during the commit.
        :raise Contention: other transactions were in the way too often.
        """
        return self._call(partial(_apply, interaction, args, kwargs), Mode.TRANSACTION)

    def write(
        self,
        interaction: Callable[Concatenate[Transaction, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> Deferred[T]:
        """Like :meth:`run`, in one round trip, for an interaction of one statement.

        What it raises after that statement undoes nothing.
        """
        return self._call(partial(_apply, interaction, args, kwargs), Mode.STATEMENT)

    def read(
        self,
        interaction: Callable[Concatenate[Transaction, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> Deferred[T]:
        """Like :meth:`run`, in one round trip, for an interaction that only reads, by one statement."""
        return self._call(partial(_apply, interaction, args, kwargs), Mode.READ)

    def startService(self) -> None:
        """Start the threads, and open the first connections in the background."""
        super().startService()
        self._stopping = threading.Event()
        self._pool = self._start_pool(self._pool_min, self._pool_max)
        self._prober = self._start_pool(1, 1)
        for _ in range(self._pool_min):
            self._probe(self._pool)
        self._probe(self._prober)
        self._watch.startService()

    def _start_pool(self, least: int, most: int) -> ConnectionPool:
        pool = ConnectionPool(
            "psycopg2",
            **self.parameters,
            cursor_factory=psycopg2.extras.NamedTupleCursor,
            cp_min=least,
            cp_max=most,
            cp_openfun=prepare,
            cp_reactor=self._reactor,
        )
        pool.start()
        return pool

    async def _stop(self, *pools: ConnectionPool) -> None:
        all_done = DeferredList(list(self._running.values()))
        timer = self._reactor.callLater(self._grace, self._abandon_all)
        await all_done
        if timer.active():
            timer.cancel()
        # No thread is busy now, so that this does not block.
        for pool in pools:
            pool.close()

    def stopService(self) -> Deferred[None]:
        """Let running interactions end, for a while, then close all connections."""
        super().stopService()
        self._watch.stopService()
        pools = [pool for pool in (self._pool, self._prober) if pool is not None]
        self._pool = self._prober = None
        return Deferred.fromCoroutine(self._stop(*pools) if pools else self._nothing())

    async def _nothing(self) -> None:
        return None

    def _abandon_all(self) -> None:
        self._stopping.set()
        for attempt in list(self._running):
            attempt.abandon()

    def _call(self, work: Callable[[Transaction], T], mode: Mode) -> Deferred[T]:
        if self._pool is None or self._availability.is_away:
            return fail(DatabaseUnavailable())
        return self._submit(self._pool, work, self._limit, mode)

    def _submit(
        self,
        pool: ConnectionPool,
        work: Callable[[Transaction], T],
        limit: float,
        mode: Mode,
    ) -> Deferred[T]:
        attempt = Attempt(pool, self._stopping, work, mode)
        answer: Deferred[T] = Deferred(lambda _: attempt.forget())
        timer = self._reactor.callLater(limit, self._give_up, attempt, answer)
        result: Deferred[T] = deferToThreadPool(self._reactor, pool.threadpool, attempt.perform)
        self._timers[attempt] = timer
        self._running[attempt] = result.addBoth(self._done, attempt, answer)
        return answer

    def _done(self, result: T | Failure, attempt: Attempt[T], answer: Deferred[T]) -> None:
        """Pass on the outcome of an attempt, unless it was given up."""
        timer = self._timers.pop(attempt)
        if timer.active():
            timer.cancel()
        del self._running[attempt]
        self._learn(result)
        if answer.called:
            return
        if isinstance(result, Failure):
            answer.errback(result)
        else:
            answer.callback(result)

    def _give_up(self, attempt: Attempt[T], answer: Deferred[T]) -> None:
        self._availability.doubt()
        reason = attempt.abandon()
        if not answer.called:
            answer.errback(reason)

    def _learn(self, result: object) -> None:
        """Take from the outcome of a call whether the database is there."""
        error = result.value if isinstance(result, Failure) else None
        if isinstance(error, Unreachable):
            self._availability.failed(str(error.__cause__).strip())
        elif isinstance(error, ServerUnavailable):
            self._availability.doubt()
        else:
            self._availability.answered()

    async def _look(self) -> None:
        quiet = self._availability.is_away or self._availability.silent_for(_SILENCE)
        if self._prober is not None and quiet:
            await self._probe(self._prober)

    def _probe(self, pool: ConnectionPool) -> Deferred[None]:
        begun = self._reactor.seconds()

        def unanswered(failure: Failure) -> None:
            failure.trap(ServerUnavailable)
            if self._availability.since < begun and not failure.check(Unreachable):
                self._availability.failed("it does not answer")
                self._end_waiting()

        probe = self._submit(pool, _select_one, _PROBE_LIMIT, Mode.READ)
        return probe.addErrback(unanswered).addErrback(self._log_failure)

    def _end_waiting(self) -> None:
        """Let the time of all calls be over: a database that hangs would keep them to their limit."""
        for timer in self._timers.values():
            if timer.active():
                timer.reset(0)

    def _log_failure(self, failure: Failure) -> None:
        self._log.failure("The probe of the database failed", failure)


def _apply(
    interaction: Callable[..., T], args: tuple[Any, ...], kwargs: dict[str, Any], txn: Transaction
) -> T:
    return interaction(txn, *args, **kwargs)


def _select_one(txn: Transaction) -> None:
    txn.execute("SELECT 1")
