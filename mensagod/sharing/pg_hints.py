"""Hints by LISTEN and NOTIFY of PostgreSQL (spec 06, *Running many*).

Each process listens on a channel of its own, through a connection of its own. A process that changed
workspaces looks up in ``sessions`` which others have sessions of them, and notifies these, in one statement
on the same connection. It does so after the commit of the change, because a NOTIFY in the transaction of a
change makes all such transactions commit one after the other; and for many changes together
(:mod:`mensagod.sharing.coalescing`), because each NOTIFY wakes every process that listens, whatever its
channel. So this is right for up to about 16 processes.

The connection belongs to the reactor, which reads what arrives, or for the time of a statement to a thread.
When it ends, what is sent is lost and others' hints are not heard, until it is there again. Nothing else
notices; and once it is back, the watchers hear that anything may have changed.

Behind a pooler a connection may listen and never hear: what was said by it last went to another connection to
PostgreSQL. So a process notifies itself from time to time, through the database service, and takes a
connection that does not hear it for lost.
"""

import math
from collections.abc import Callable, Collection
from contextlib import suppress
from random import SystemRandom
from typing import Any, Final
from uuid import UUID

import psycopg2
from attrs import define, field, frozen
from twisted.internet.defer import DeferredLock
from twisted.internet.error import AlreadyCalled
from twisted.internet.interfaces import IReadDescriptor
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from mensagod.errors import BadValue, ServerUnavailable
from mensagod.lifecycle.periodic import Periodic
from mensagod.sharing.coalescing import Coalescer
from mensagod.sharing.hints import HintWatcher, Subscribers
from mensagod.sharing.listening import ListeningConnection
from mensagod.storage import hints
from mensagod.storage.interfaces import Interactions
from mensagod.threads.interfaces import Threads
from mensagod.values.identity import WorkspaceID

LOOK_SECONDS: Final = 0.5
"""How often is looked whether there is a connection."""

ECHO_SECONDS: Final = 10
"""How often a process notifies itself, and how long it waits to hear it."""

STATEMENT_SECONDS: Final = 5
"""How long a statement may take; then the connection is given up."""

FIRST_WAIT: Final = 1.0
"""Up to how many seconds pass before the first try to connect again.

It doubles with each failure. The time is random, because others have lost their connections at the same
moment.
"""

LONGEST_WAIT: Final = 15.0
"""Up to how many seconds pass between two tries."""

_DOUBLINGS = 8
_random = SystemRandom()


class Deaf(Exception):
    """A connection does not hear what is sent to it."""

    def __init__(self) -> None:
        super().__init__(
            "notifications do not arrive; if a pooler stands before PostgreSQL, set cluster.listen_url"
            " to a way around it, or cluster.hints to poll"
        )


@define(eq=False)
class PgHints:
    """Notifies other processes, and listens for their notifications.

    :ivar reactor: gives the time, and reads the connection.
    :ivar threads: for what blocks.
    :ivar database: by it the process notifies itself.
    :ivar process: the ID of this process.
    :ivar connect: opens a connection that listens; called in a thread.
    """

    reactor: Any
    threads: Threads
    database: Interactions
    process: UUID
    connect: Callable[[], ListeningConnection]
    _subscribers: Subscribers = field(factory=Subscribers, init=False)
    _turn: DeferredLock = field(factory=DeferredLock, init=False)
    _reader: "_Reader | None" = field(default=None, init=False)
    _is_running: bool = field(default=False, init=False)
    _has_complained: bool = field(default=False, init=False)
    _failures: int = field(default=0, init=False)
    _not_before: float = field(default=0.0, init=False)
    _asked: float = field(default=0.0, init=False)
    _has_heard: bool = field(default=False, init=False)
    _coalescer: Coalescer = field(init=False)
    _looking: Periodic = field(init=False)

    _log = Logger(namespace="mensagod.sharing")

    def __attrs_post_init__(self) -> None:
        self._coalescer = Coalescer(self.reactor, self._notify)
        self._looking = Periodic(self.reactor, LOOK_SECONDS, self._look, "hints cannot be listened for")

    def send(self, workspace: WorkspaceID) -> None:
        """Tell this process at once, and others soon."""
        self._subscribers.tell(workspace)
        if self._reader is not None:
            self._coalescer.add(workspace)

    def subscribe(self, watcher: HintWatcher) -> None:
        """Tell ``watcher`` of hints from now on."""
        self._subscribers.add(watcher)

    async def start(self) -> None:
        """Begin to connect; nobody waits for it."""
        self._is_running = True
        self._looking.startService()

    async def stop(self) -> None:
        """Send what waits, and close the connection."""
        self._is_running = False
        if self._looking.running:
            self._looking.stopService()
        await self._coalescer.flush()
        async with self._turn:
            self._close()

    async def _notify(self, workspaces: Collection[WorkspaceID]) -> None:
        await self._use(lambda connection: connection.send(workspaces))

    async def _look(self) -> None:
        """Connect if there is no connection, and have one that is there show that it hears."""
        now = self.reactor.seconds()
        if self._reader is None:
            if now >= self._not_before:
                await self._open()
        elif now - self._asked >= ECHO_SECONDS:
            await (self._ask_echo(now) if self._has_heard else self._give_up())

    async def _open(self) -> None:
        async with self._turn:
            try:
                connection = await self.threads.run(self.connect)
            except psycopg2.Error as error:
                self._fail(error)
            else:
                self._take_over(connection)

    def _take_over(self, connection: ListeningConnection) -> None:
        """Have the reactor read a new connection, unless it comes too late."""
        if not self._is_running:
            connection.close()
            return
        # An echo is asked for soon.
        self._asked, self._has_heard = -math.inf, True
        self._reader = _Reader(connection, self._hear)
        self.reactor.addReader(self._reader)
        # What others sent before was lost.
        self._subscribers.tell(None)

    async def _ask_echo(self, now: float) -> None:
        self._asked, self._has_heard = now, False
        try:
            await self.database.write(hints.notify_self, self.process)
        except BaseException:
            # It says nothing about the connection.
            self._has_heard = True
            raise

    async def _give_up(self) -> None:
        # Not under a thread that uses it.
        async with self._turn:
            if self._reader is not None and not self._has_heard:
                self._lose(Deaf())

    def _hear_echo(self) -> None:
        self._has_heard, self._failures = True, 0
        if self._has_complained:
            self._has_complained = False
            self._log.info("hints of other processes arrive again")

    async def _use(self, work: Callable[[ListeningConnection], None]) -> None:
        """Have a thread use the connection.

        :raises ServerUnavailable: if there is none, or it ended.
        """
        async with self._turn:
            reader = self._reader
            if reader is None:
                raise ServerUnavailable
            self.reactor.removeReader(reader)
            limit = self.reactor.callLater(STATEMENT_SECONDS, reader.connection.hang_up)
            try:
                await self.threads.run(work, reader.connection)
            except psycopg2.Error as error:
                self._lose(error)
                raise ServerUnavailable from error
            except Exception as error:
                self._lose(error)
                raise
            finally:
                with suppress(AlreadyCalled):
                    limit.cancel()
            self.reactor.addReader(reader)
            # A statement takes in what has arrived, too.
            self._hear(reader.connection)

    def _hear(self, connection: ListeningConnection) -> None:
        """Tell of the hints that have arrived."""
        try:
            payloads = connection.take()
        except psycopg2.Error as error:
            self._lose(error)
            return
        if "" in payloads:
            self._hear_echo()
        for workspace in {text for payload in payloads for text in payload.split()}:
            try:
                self._subscribers.tell(WorkspaceID.from_text(workspace))
            except BadValue:
                # Whoever may use the database may notify what they like.
                continue

    def _lose(self, error: Exception) -> None:
        """Go without a connection, for a moment at least."""
        self._close()
        self._fail(error)

    def _close(self) -> None:
        if self._reader is not None:
            self.reactor.removeReader(self._reader)
            self._reader.connection.close()
            self._reader = None

    def _fail(self, error: Exception) -> None:
        """Put off the next try to connect; say once that hints are lost, until they are not."""
        longest = min(LONGEST_WAIT, FIRST_WAIT * 2 ** min(self._failures, _DOUBLINGS))
        self._not_before = self.reactor.seconds() + _random.uniform(0, longest)
        self._failures += 1
        if not self._has_complained:
            reason = " ".join(str(error).split())
            self._log.warn("hints of other processes are lost for now: {reason}", reason=reason)
            self._has_complained = True


@implementer(IReadDescriptor)
@frozen(eq=False)
class _Reader:
    """The connection, as the reactor reads it."""

    connection: ListeningConnection
    _hear: Callable[[ListeningConnection], None]

    def fileno(self) -> int:
        """Give the descriptor."""
        return self.connection.descriptor

    def doRead(self) -> None:
        """Read what has arrived."""
        self._hear(self.connection)

    def connectionLost(self, reason: Failure) -> None:
        """Read that it has ended."""
        self._hear(self.connection)

    def logPrefix(self) -> str:
        """Name it in the log."""
        return "hints"
