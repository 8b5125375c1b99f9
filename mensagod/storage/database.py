"""The database service: interactions in threads, over a bounded pool of connections.

(spec 06, *Database*)
"""

import threading
from collections.abc import Callable
from functools import partial
from typing import Any, Concatenate, Final, ParamSpec, TypeVar

from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList, fail
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool

from mensagod.errors import ServerUnavailable
from mensagod.lifecycle.periodic import Periodic
from mensagod.storage.attempts import (
    Attempt,
    Busy,
    CommitUnknown,
    Contention,
    DatabaseUnavailable,
    Mode,
    Unreachable,
    WritesRefused,
)
from mensagod.storage.availability import Availability, Writes
from mensagod.storage.commit_watch import CommitWatch, write_something
from mensagod.storage.connections import Description, connection_parameters, constraint_name
from mensagod.storage.pool import ConnectionPool
from mensagod.storage.rows import Transaction, one
from mensagod.storage.strangers import Stranger, stranger_asking, strangers_queue

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
    :param pool_max: the most threads, and so connections, at any time. One more thread asks whether the
        database lives, so that it never waits behind slow statements, and one more still whether commits
        end; they have connections of their own only while all others are busy.
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
        self._connections = ConnectionPool(self.parameters)
        self._threads: ThreadPool | None = None
        self._prober: ThreadPool | None = None
        self._strangers = strangers_queue(pool_max)
        self._commits: CommitWatch | None = None
        self._watch = Periodic(reactor, _TICK, self._look, "the probe of the database failed", now=False)

    @property
    def available(self) -> bool:
        """Whether the database answered when it was last asked, a few seconds ago at most."""
        return self._threads is not None and self._availability.is_there

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
        self._connections = ConnectionPool(self.parameters)
        self._threads = _start_threads(self._pool_min, self._pool_max)
        self._prober = _start_threads(1, 2)
        begin_trial = partial(self._begin_trial, self._prober)
        self._commits = CommitWatch(self._reactor, self._availability, begin_trial, self._end_writes)
        for _ in range(self._pool_min):
            self._probe(self._threads)
        self._watch.startService()

    async def _stop(self, *pools: ThreadPool) -> None:
        all_done = DeferredList(list(self._running.values()))
        timer = self._reactor.callLater(self._grace, self._abandon_all)
        await all_done
        if timer.active():
            timer.cancel()
        # No thread is busy now, so that this does not block.
        for pool in pools:
            pool.stop()
        self._connections.close()

    def stopService(self) -> Deferred[None]:
        """Let running interactions end, for a while, then close all connections."""
        super().stopService()
        self._watch.stopService()
        if self._commits is not None:
            self._commits.stop()
        pools = [pool for pool in (self._threads, self._prober) if pool is not None]
        self._threads = self._prober = None
        return Deferred.fromCoroutine(self._stop(*pools) if pools else self._nothing())

    async def _nothing(self) -> None:
        return None

    def _abandon_all(self) -> None:
        self._stopping.set()
        for attempt in list(self._running):
            attempt.abandon()

    def _call(self, work: Callable[[Transaction], T], mode: Mode) -> Deferred[T]:
        writes = mode is Mode.READ or self._availability.writes is Writes.DONE
        if self._threads is None or self._availability.is_away or not writes:
            return fail(DatabaseUnavailable())
        attempt = Attempt(self._connections, self._stopping, work, mode)
        return self._submit(self._threads, attempt, self._limit, stranger_asking())

    def _submit(
        self, threads: ThreadPool, attempt: Attempt[T], limit: float | None, stranger: Stranger | None = None
    ) -> Deferred[T]:
        answer: Deferred[T] = Deferred(lambda _: attempt.forget())
        if limit is not None:
            self._timers[attempt] = self._reactor.callLater(limit, self._give_up, attempt, answer)
        if stranger is None:
            result = self._perform(threads, attempt)
        else:
            result = Deferred.fromCoroutine(self._perform_in_turn(threads, attempt, stranger))
        self._running[attempt] = result.addBoth(self._done, attempt, answer)
        return answer

    def _perform(self, threads: ThreadPool, attempt: Attempt[T]) -> Deferred[T]:
        result: Deferred[T] = deferToThreadPool(self._reactor, threads, attempt.perform)
        return result

    async def _perform_in_turn(self, threads: ThreadPool, attempt: Attempt[T], stranger: Stranger) -> T:
        """Perform what a stranger asks for, within the strangers' share of the connections."""
        await self._strangers.acquire(stranger)
        try:
            return await self._perform(threads, attempt)
        finally:
            self._strangers.release(stranger)

    def _done(self, result: T | Failure, attempt: Attempt[T], answer: Deferred[T]) -> None:
        """Pass on the outcome of an attempt, unless it was given up."""
        timer = self._timers.pop(attempt, None)
        if timer is not None and timer.active():
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
        elif isinstance(error, WritesRefused):
            self._availability.answered()
            self._availability.note_writes(Writes.REFUSED)
        elif isinstance(error, ServerUnavailable):
            self._availability.doubt()
        else:
            self._availability.answered()

    async def _look(self) -> None:
        state = self._availability
        if self._prober is None or self._commits is None:
            return
        self._commits.look(max((attempt.commit_seconds for attempt in self._running), default=0.0))
        if state.writes is Writes.REFUSED:
            # A new connection may lead to a server that takes changes.
            self._connections.renew()
        quiet = state.is_away or state.writes is not Writes.DONE or state.silent_for(_SILENCE)
        if quiet:
            await self._probe(self._prober)

    def _probe(self, threads: ThreadPool) -> Deferred[None]:
        return Deferred.fromCoroutine(self._ask(threads)).addErrback(self._log_failure)

    async def _ask(self, threads: ThreadPool) -> None:
        """Find out whether the database answers, and whether it only reads."""
        begun = self._reactor.seconds()
        state = self._availability
        try:
            refuses = await self._only_reads(threads)
            if refuses and state.writes is not Writes.REFUSED:
                # Perhaps only the sessions of before do.
                self._connections.renew()
                refuses = await self._only_reads(threads)
        except (Unreachable, Busy):
            return
        except ServerUnavailable:
            if state.since < begun:
                state.failed("it does not answer")
                self._end_waiting()
            return
        if refuses:
            state.note_writes(Writes.REFUSED)
        elif state.writes is Writes.REFUSED:
            state.note_writes(Writes.DONE)

    def _only_reads(self, threads: ThreadPool) -> Deferred[bool]:
        attempt = Attempt(self._connections, self._stopping, _only_reads, Mode.READ, patient=False)
        return self._submit(threads, attempt, _PROBE_LIMIT)

    def _begin_trial(self, threads: ThreadPool) -> tuple[Attempt[None], Deferred[None]]:
        attempt = Attempt(self._connections, self._stopping, write_something, Mode.STATEMENT, patient=False)
        return attempt, self._submit(threads, attempt, None)

    def _end_waiting(self) -> None:
        """Let the time of all calls be over: a database that hangs would keep them to their limit."""
        self._end(lambda _: True)

    def _end_writes(self) -> None:
        """Let the time of those calls be over that would commit."""
        self._end(lambda attempt: attempt.mode is not Mode.READ)

    def _end(self, is_meant: Callable[[Attempt[Any]], bool]) -> None:
        for attempt, timer in self._timers.items():
            if timer.active() and is_meant(attempt):
                timer.reset(0)

    def _log_failure(self, failure: Failure) -> None:
        self._log.failure("The probe of the database failed", failure)


def _apply(
    interaction: Callable[..., T], args: tuple[Any, ...], kwargs: dict[str, Any], txn: Transaction
) -> T:
    return interaction(txn, *args, **kwargs)


def _only_reads(txn: Transaction) -> bool:
    """Tell whether the session refuses changes: on a standby, or because it is set to."""
    txn.execute("SELECT current_setting('transaction_read_only') = 'on' AS only_reads")
    return one(lambda row: bool(row.only_reads), txn)


def _start_threads(least: int, most: int) -> ThreadPool:
    threads = ThreadPool(least, most, name="database")
    threads.start()
    return threads
