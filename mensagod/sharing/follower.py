"""What other processes did, noticed within a second (spec 06, *Running many*)."""

from collections.abc import Callable, Sequence
from typing import Final, Protocol

from attrs import frozen
from twisted.application.service import Service
from twisted.internet.interfaces import IReactorTime

from mensagod.lifecycle.periodic import Periodic
from mensagod.storage import events
from mensagod.storage.database import Database
from mensagod.storage.events import CardChange, Ending, Event, Reading
from mensagod.values.identity import WorkspaceID

INTERVAL: Final = 0.5
"""How often a process reads the log, in seconds."""

TRUST: Final = 0.9
"""For how many seconds after it read the log it takes what it knows for the truth."""

CardWatcher = Callable[[frozenset[WorkspaceID] | None], None]
"""Called with whose cards changed, or with ``None`` if that is unknown and so could be all."""

EndingWatcher = Callable[[Sequence[Event] | None], None]
"""Called with events that ended sessions, in order, or with ``None`` if some may have been missed."""


class EventLog(Protocol):
    """The log that processes share."""

    async def read_after(self, number: int | None) -> Reading:
        """Give the events after ``number``; ``None`` for those that will come after the newest one.

        :raises mensagod.errors.ServerUnavailable: while the database is away.
        """


@frozen
class StoredEventLog:
    """The log in the database."""

    database: Database

    async def read_after(self, number: int | None) -> Reading:
        """Read it, in one statement."""
        return await self.database.read(events.read_after, number)


class Follower(Service):
    """Reads the log again and again, and tells who wants to know.

    Events that not all watchers could be told of are read again, so none is lost, and some may be told twice.
    At the first reading, and where events are missing, it tells that anything may have happened.

    :ivar generation: grows with each change of cards that is told, so that what was read before can be told
        from what was read after it.
    """

    def __init__(self, clock: IReactorTime, log: EventLog):
        self._clock = clock
        self._events = log
        self._card_watchers: list[CardWatcher] = []
        self._ending_watchers: list[EndingWatcher] = []
        self._last: int | None = None
        self._read: float | None = None
        self._reading = Periodic(clock, INTERVAL, self.read, "what other processes did cannot be read")
        self.generation = 0

    @property
    def is_current(self) -> bool:
        """Whether everything is known that others had committed a second ago or earlier."""
        return self._read is not None and self._clock.seconds() - self._read < TRUST

    def watch(self, watcher: CardWatcher) -> None:
        """Call ``watcher`` in the reactor for every change of cards from now on."""
        self._card_watchers.append(watcher)

    def watch_endings(self, watcher: EndingWatcher) -> None:
        """Call ``watcher`` in the reactor whenever others ended sessions from now on."""
        self._ending_watchers.append(watcher)

    def startService(self) -> None:
        """Begin to read."""
        super().startService()
        self._reading.startService()

    def stopService(self) -> None:
        """Read no more."""
        super().stopService()
        self._reading.stopService()
        self._read = None

    def tell(self, owners: frozenset[WorkspaceID] | None) -> None:
        """Tell at once of a change of cards that this process made itself."""
        self.generation += 1
        for watcher in self._card_watchers:
            watcher(owners)

    async def read(self) -> None:
        """Read the log once.

        :raises mensagod.errors.ServerUnavailable: while the database is away.
        """
        begun = self._clock.seconds()
        found = await self._events.read_after(self._last)
        if self._last is None or len(found.events) != found.last - self._last:
            self._tell_endings(None)
            self.tell(None)
        else:
            self._tell_all(found.events)
        self._last, self._read = found.last, begun

    def _tell_all(self, found: Sequence[Event]) -> None:
        # Endings first: who must go goes, whatever a watcher of cards makes of its news.
        endings = [event for event in found if isinstance(event.subject, Ending)]
        if endings:
            self._tell_endings(endings)
        owners = frozenset(event.subject.owner for event in found if isinstance(event.subject, CardChange))
        if owners:
            self.tell(owners)

    def _tell_endings(self, endings: Sequence[Event] | None) -> None:
        for watcher in self._ending_watchers:
            watcher(endings)
