"""An event log in memory, and what every event log must do."""

from typing import TYPE_CHECKING, Any
from uuid import UUID

from mensagod.sharing.follower import EventLog
from mensagod.storage.events import CardChange, Ending, Event, Reading
from mensagod.values.identity import DeviceID, WorkspaceID

ALICE, BOB = WorkspaceID(UUID(int=1)), WorkspaceID(UUID(int=2))
DEVICE = DeviceID(UUID(int=3))
SUBJECTS = (
    CardChange(ALICE),
    Ending(ALICE, None, None, "all"),
    Ending(ALICE, DEVICE, None, "one device"),
    Ending(BOB, None, UUID(int=4), "all but one"),
    CardChange(BOB),
)


class MemoryEventLog:
    """A log that only one process has.

    :ivar fault: what the next readings raise.
    """

    def __init__(self) -> None:
        self.last = 0
        self.kept: list[Event] = []
        self.fault: Exception | None = None

    def add(self, subject: CardChange | Ending) -> int:
        self.last += 1
        self.kept.append(Event(self.last, subject))
        return self.last

    def forget(self, count: int) -> None:
        """Forget the oldest events."""
        del self.kept[:count]

    async def read_after(self, number: int | None) -> Reading:
        if self.fault is not None:
            raise self.fault
        first = self.last if number is None else number
        return Reading(self.last, tuple(event for event in self.kept if event.number > first))


if TYPE_CHECKING:
    from twisted.trial.unittest import TestCase as Base
else:
    Base = object


class EventLogContract(Base):
    """The tests that every event log passes."""

    log: EventLog

    async def add(self, subject: CardChange | Ending) -> int:
        raise NotImplementedError

    async def forget(self, count: int) -> None:
        raise NotImplementedError

    async def fill(self) -> list[Event]:
        return [Event(await self.add(subject), subject) for subject in SUBJECTS]

    async def test_empty(self) -> None:
        """There is nothing before the first event."""
        for number in (None, 0):
            self.assertEqual(await self.log.read_after(number), Reading(0, ()))

    async def test_order(self) -> None:
        """Events are numbered from 1 on, and given whole, in order, from any number on."""
        events = await self.fill()
        self.assertEqual([event.number for event in events], [1, 2, 3, 4, 5])
        for number in range(7):
            self.assertEqual(await self.log.read_after(number), Reading(5, tuple(events[number:])))

    async def test_from_now(self) -> None:
        """Who knows nothing yet hears where the log is, and no old events."""
        await self.fill()
        self.assertEqual(await self.log.read_after(None), Reading(5, ()))

    async def test_forgotten(self) -> None:
        """Events that are forgotten are missing; the numbers go on."""
        events: list[Any] = await self.fill()
        await self.forget(2)
        self.assertEqual(await self.log.read_after(1), Reading(5, tuple(events[2:])))
        await self.forget(3)
        self.assertEqual(await self.log.read_after(1), Reading(5, ()))
        self.assertEqual(await self.add(CardChange(ALICE)), 6)
