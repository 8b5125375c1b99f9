"""Connections that threads share: an idle one for whoever asks, or a new one.

The pool does not bound how many there are: each thread has one at most. When none can be opened while others
work, the server has a limit that is lower than ours, and threads wait for those that there are.
"""

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

import psycopg2
from attrs import evolve, frozen
from twisted.logger import Logger

from mensagod.storage.connections import Connection, connect

_HOLD_OFF: Final = 2.0
"""Seconds until opening is tried again after it failed while others worked."""

_SLICE: Final = 0.25
"""Seconds after which a thread that waits looks whether it is still to wait."""


class NoneToSpare(psycopg2.OperationalError):
    """No connection could be opened, and all that there are are busy."""


@frozen
class _Shortage:
    """That a connection could not be opened while there were others.

    :ivar begun: when that was found out first, and
    :ivar since: last.
    :ivar most: how many others there were then.
    :ivar reason: what libpq said.
    :ivar told: whether it is in the log.
    """

    begun: float
    since: float
    most: int
    reason: str
    told: bool = False


class ConnectionPool:
    """The open connections to one database, each idle or lent.

    All methods may be called in any thread.
    """

    _log = Logger()

    def __init__(self, parameters: Mapping[str, Any]):
        self._parameters = parameters
        self._changed = threading.Condition()
        self._idle: list[Connection] = []
        self._lent: set[Connection] = set()
        self._old: set[Connection] = set()
        self._line: list[object] = []
        self._opening = 0
        self._closed = False
        self._hold_off_until = 0.0
        self._short: _Shortage | None = None

    def take(self, check: Callable[[], None], *, patient: bool = True) -> Connection:
        """Lend a connection; blocks until there is one.

        :param check: called before and during a wait; what it raises ends that.
        :param patient: whether to wait for one that is busy when none can be opened.
        :raises NoneToSpare: instead of that wait.
        :raises psycopg2.Error: none can be opened, and there is no other.
        """
        ticket, waited = object(), False
        try:
            while True:
                check()
                connection = self._take_idle(ticket) or self._try_to_open()
                if connection is not None:
                    if waited:
                        self._tell_shortage()
                    return connection
                if not patient:
                    raise NoneToSpare("All connections that could be opened are busy")
                self._wait(ticket)
                waited = True
        finally:
            self._leave(ticket)

    def give_back(self, connection: Connection) -> None:
        """Take back a connection that can be used again."""
        with self._changed:
            self._lent.discard(connection)
            is_wanted = not self._closed and connection not in self._old
            self._old.discard(connection)
            if is_wanted:
                self._idle.append(connection)
            self._changed.notify_all()
        if not is_wanted:
            connection.close()

    def drop(self, connection: Connection) -> None:
        """Close a connection that was lent, and is not to be used again."""
        with self._changed:
            self._lent.discard(connection)
            self._old.discard(connection)
            self._changed.notify_all()
        connection.close()

    def renew(self) -> None:
        """Use none of the connections of now again: they lead to a server that is not what it was."""
        with self._changed:
            idle, self._idle = self._idle, []
            self._old |= self._lent
        for connection in idle:
            connection.close()

    def close(self) -> None:
        """Close what is idle at once, and what is lent when it is given back."""
        with self._changed:
            self._closed = True
        self.renew()

    def _take_idle(self, ticket: object) -> Connection | None:
        with self._changed:
            if not self._idle or self._line[:1] not in ([], [ticket]):
                return None
            # The one that was used last: the others may rest.
            connection = self._idle.pop()
            self._lent.add(connection)
            return connection

    def _wait(self, ticket: object) -> None:
        """Wait in line, for a while, for a connection that comes free."""
        with self._changed:
            if ticket not in self._line:
                self._line.append(ticket)
            if self._line[0] is not ticket or (self._lent and not self._idle):
                self._changed.wait(_SLICE)

    def _leave(self, ticket: object) -> None:
        with self._changed:
            if ticket in self._line:
                self._line.remove(ticket)
                self._changed.notify_all()

    def _try_to_open(self) -> Connection | None:
        """Open a connection; ``None`` if that is of no use now, and there are others."""
        if not self._may_open():
            return None
        try:
            return self._open()
        except psycopg2.Error as error:
            if not self._others_work(error):
                raise
            return None

    def _may_open(self) -> bool:
        with self._changed:
            if (self._lent or self._idle) and time.monotonic() < self._hold_off_until:
                return False
            self._opening += 1
            return True

    def _open(self) -> Connection:
        begun = time.monotonic()
        connection: Connection | None = None
        try:
            connection = connect(self._parameters)
        finally:
            with self._changed:
                self._opening -= 1
                if connection is not None:
                    self._lent.add(connection)
                self._changed.notify_all()
        self._note_plenty(begun)
        return connection

    def _others_work(self, error: psycopg2.Error) -> bool:
        """Tell whether there are connections although none could be opened."""
        with self._changed:
            # What others are just opening may succeed, and is over within libpq's limit.
            self._changed.wait_for(lambda: self._lent or self._idle or not self._opening)
            if not self._lent and not self._idle:
                self._short = None
                return False
            now = time.monotonic()
            self._hold_off_until = now + _HOLD_OFF
            before, most = self._short, len(self._lent) + len(self._idle)
            reason = " ".join(str(error).split())
            if before is None:
                self._short = _Shortage(now, now, most, reason)
            else:
                self._short = evolve(before, since=now, most=most, reason=reason)
            lasts = now - self._short.begun >= _HOLD_OFF
        if lasts:
            self._tell_shortage()
        return True

    def _tell_shortage(self) -> None:
        """Log, once, that there are too few connections.

        Not when one cannot be opened: the others may be lost as well, and nobody has noticed yet.
        """
        with self._changed:
            short = self._short
            if short is None or short.told:
                return
            self._short = evolve(short, told=True)
        self._log.warn(
            "No further connection to the database can be opened, and calls wait for those that there"
            " are: {reason}",
            event="database_connections_short",
            reason=short.reason,
        )

    def _note_plenty(self, begun: float) -> None:
        """Take note that there is a connection that there was not during the shortage."""
        with self._changed:
            short = self._short
            if short is None or begun < short.since or len(self._lent) + len(self._idle) <= short.most:
                return
            self._short = None
        self._log.info("Connections to the database can be opened again", event="database_connections_enough")
