"""One interaction in its thread: a transaction, tried again where that is safe."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import Enum
from secrets import SystemRandom
from typing import Final, Generic, TypeVar

import psycopg2
from psycopg2 import errorcodes
from psycopg2.extensions import (
    TRANSACTION_STATUS_IDLE,
    TRANSACTION_STATUS_INERROR,
    TRANSACTION_STATUS_UNKNOWN,
)

from mensagod.errors import ServerUnavailable
from mensagod.storage.connections import Connection, hang_up, is_lost
from mensagod.storage.pool import ConnectionPool, NoneToSpare
from mensagod.storage.rows import SYNCHRONOUS, Transaction
from mensagod.storage.sqlstates import Meaning, meaning_of

T = TypeVar("T")

TRIES: Final = 8
"""How often an interaction is tried in all."""

_FIRST_DELAY = 0.01
_LONGEST_DELAY = 0.5
_random = SystemRandom()


class DatabaseUnavailable(ServerUnavailable):
    """The database is away, or did not answer in time (303)."""


class Unreachable(DatabaseUnavailable):
    """No connection to the database could be opened."""


class Busy(DatabaseUnavailable):
    """Every connection that can be had is in use."""


class WritesRefused(DatabaseUnavailable):
    """The database answers, but only reads."""


class Locked(DatabaseUnavailable):
    """Another transaction held a lock for longer than this one may wait."""


class CommitUnknown(ServerUnavailable):
    """The connection was lost while the commit was under way: nobody knows whether it was done."""


class Contention(ServerUnavailable):
    """Other transactions were in the way on every try."""


class SwallowedError(Exception):
    """An interaction went on after an SQL error, so that its commit would be a silent rollback."""


class Mode(Enum):
    """What an interaction is to the database."""

    TRANSACTION = "statements that are committed together"
    STATEMENT = "one statement, which is committed as soon as it is done"
    READ = "one statement that changes nothing"


class _Phase(Enum):
    WAITING = "waiting for a thread"
    RUNNING = "running"
    COMMITTING = "a commit was sent, and not refused"


class Attempt(Generic[T]):
    """An interaction on its way to a result; :meth:`perform` belongs into a thread of the pool.

    :param stopping: set once the service gives up, so that nothing is tried again.
    :param patient: whether to wait for a connection while all that can be had are busy.
    """

    def __init__(
        self,
        pool: ConnectionPool,
        stopping: threading.Event,
        work: Callable[[Transaction], T],
        mode: Mode = Mode.TRANSACTION,
        *,
        patient: bool = True,
    ):
        self._pool = pool
        self._stopping = stopping
        self._work = work
        self.mode = mode
        self._patient = patient
        self._lock = threading.Lock()
        self._phase = _Phase.WAITING
        self._abandoned = False
        self._lost = False
        self._useless = False
        self._read_only = False
        self._connection: Connection | None = None
        self._committing_since: float | None = None

    @property
    def commit_seconds(self) -> float:
        """For how long the commit, or the statement that commits by itself, has been under way."""
        since = self._committing_since
        return 0.0 if since is None else time.monotonic() - since

    def forget(self) -> None:
        """Nobody wants the result any more: do not begin; what runs already runs to its end."""
        with self._lock:
            if self._phase is _Phase.WAITING:
                self._abandoned = True

    def abandon(self) -> ServerUnavailable:
        """End this in whatever phase it is, and tell what that means for the caller.

        The connection is cut under the thread that waits for it, and never used again.
        """
        with self._lock:
            self._abandoned = True
            # Before the thread can see that it is cut off, and go on.
            reason = CommitUnknown() if self._phase is _Phase.COMMITTING else DatabaseUnavailable()
            if self._connection is not None:
                hang_up(self._connection)
            return reason

    def perform(self) -> T:
        """Run the interaction to its result; blocks."""
        tries = 0
        while True:
            connection = self._take()
            tries += 1
            try:
                return self._try(connection)
            except psycopg2.Error as error:
                self._raise_if_final(error, connection, tries)
            finally:
                self._give_back(connection)
            self._stopping.wait(_delay(tries))

    def _take(self) -> Connection:
        try:
            connection = self._pool.take(self._raise_if_abandoned, patient=self._patient)
        except NoneToSpare as error:
            raise Busy from error
        except psycopg2.Error as error:
            raise Unreachable from error
        with self._lock:
            self._phase = _Phase.RUNNING
            self._lost = self._useless = False
            self._connection = connection
        return connection

    def _try(self, connection: Connection) -> T:
        self._raise_if_abandoned()
        connection.autocommit = self.mode is not Mode.TRANSACTION
        if self.mode is Mode.STATEMENT:
            with self._committing(connection):
                return self._interact(connection)
        result = self._interact(connection)
        if self.mode is Mode.TRANSACTION:
            self._commit(connection)
        return result

    def _interact(self, connection: Connection) -> T:
        with connection.cursor() as cursor:
            return self._work(Transaction(cursor, "" if self.mode is Mode.READ else SYNCHRONOUS))

    def _commit(self, connection: Connection) -> None:
        status = connection.info.transaction_status
        if status == TRANSACTION_STATUS_INERROR:
            raise SwallowedError("The interaction went on after an SQL error")
        if status == TRANSACTION_STATUS_UNKNOWN:
            raise psycopg2.InterfaceError("The connection was lost before the commit")
        with self._committing(connection):
            connection.commit()

    @contextmanager
    def _committing(self, connection: Connection) -> Iterator[None]:
        """Take a connection that is lost meanwhile for a commit of which nobody knows.

        What is abandoned before does not come to its commit, and what is abandoned later, also while its
        result is on its way, is not said to be undone unless the database refused it.
        """
        with self._lock:
            self._raise_if_abandoned()
            self._phase = _Phase.COMMITTING
        self._committing_since = time.monotonic()
        try:
            yield
        except psycopg2.Error as error:
            if self._notes_loss(connection, error):
                raise CommitUnknown from error
            with self._lock:
                self._phase = _Phase.RUNNING
            raise
        finally:
            self._committing_since = None

    def _raise_if_abandoned(self) -> None:
        if self._abandoned or self._stopping.is_set():
            raise DatabaseUnavailable

    def _raise_if_final(self, error: psycopg2.Error, connection: Connection, tries: int) -> None:
        """Raise what the caller hears, unless the interaction is to be tried again."""
        meaning = Meaning.LOST if self._notes_loss(connection, error) else meaning_of(error.pgcode)
        if meaning is Meaning.FAULT:
            raise error
        if meaning is Meaning.CONFLICT:
            if tries >= TRIES:
                raise Contention from error
            return
        self._useless = meaning is not Meaning.NOT_NOW
        if error.pgcode == errorcodes.LOCK_NOT_AVAILABLE:
            raise Locked from error
        if meaning is Meaning.READ_ONLY:
            self._leave_reader(error)
        elif meaning is not Meaning.LOST or tries >= TRIES:
            raise DatabaseUnavailable from error

    def _leave_reader(self, error: psycopg2.Error) -> None:
        """Have a session that only reads, and those of the same time, replaced; once that may help."""
        self._pool.renew()
        if self._read_only:
            raise WritesRefused("The database only reads at the moment") from error
        self._read_only = True

    def _notes_loss(self, connection: Connection, error: psycopg2.Error) -> bool:
        """Tell whether the connection is lost; if so, it is not used again."""
        self._lost = self._lost or is_lost(connection, error)
        return self._lost

    def _give_back(self, connection: Connection) -> None:
        with self._lock:
            self._connection = None
        if self._abandoned or self._lost or self._useless or not _is_clean(connection):
            self._pool.drop(connection)
        else:
            self._pool.give_back(connection)
        if self._lost and not self._abandoned:
            # The server has probably gone, and every other connection with it.
            self._pool.renew()


def _is_clean(connection: Connection) -> bool:
    """Roll back what is open, and tell whether the connection can be used again."""
    try:
        connection.rollback()
    except psycopg2.Error:
        return False
    return connection.info.transaction_status == TRANSACTION_STATUS_IDLE


def _delay(tries: int) -> float:
    """Seconds before the next try: doubled each time, and jittered so that rivals part."""
    longest: float = min(_LONGEST_DELAY, _FIRST_DELAY * 2**tries)
    return _random.uniform(0.5, 1.0) * longest
