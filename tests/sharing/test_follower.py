"""What other processes did is told within a second (spec 06, *Running many*)."""

from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase, TestCase

from mensagod.errors import ServerUnavailable
from mensagod.sharing.follower import INTERVAL, TRUST, Follower
from mensagod.storage.events import CardChange, Ending, Event
from mensagod.values.identity import WorkspaceID
from tests.sharing.logs import ALICE, BOB, SUBJECTS, EventLogContract, MemoryEventLog


class MemoryEventLogTests(EventLogContract, TestCase):
    """The log of these tests is like the real one."""

    def setUp(self) -> None:
        self.log = self.memory = MemoryEventLog()

    async def add(self, subject: CardChange | Ending) -> int:
        return self.memory.add(subject)

    async def forget(self, count: int) -> None:
        self.memory.forget(count)


class Told:
    """A follower, and what it tells.

    :ivar cards: what was told of cards.
    :ivar endings: the same of sessions.
    """

    def __init__(self, clock: Clock, log: MemoryEventLog):
        self.follower = Follower(clock, log)
        self.cards: list[frozenset[WorkspaceID] | None] = []
        self.endings: list[Sequence[Event] | None] = []
        self.follower.watch(self.cards.append)
        self.follower.watch_endings(self.endings.append)


class FollowerTests(SynchronousTestCase):
    def setUp(self) -> None:
        """It has read the log once, which was empty."""
        self.clock, self.log = Clock(), MemoryEventLog()
        self.told = Told(self.clock, self.log)
        self.follower = self.told.follower
        self.follower.startService()
        self.addCleanup(self.follower.stopService)

    def clear(self) -> None:
        self.told.cards.clear()
        self.told.endings.clear()

    def test_first_reading(self) -> None:
        """Who has just begun takes nothing for known."""
        self.assertEqual((self.told.cards, self.told.endings), ([None], [None]))
        self.assertTrue(self.follower.is_current)

    def test_events(self) -> None:
        """Events are told once, with the next reading, which is half a second away at most."""
        self.clear()
        events = [Event(self.log.add(subject), subject) for subject in SUBJECTS]
        self.clock.pump([INTERVAL, INTERVAL])
        self.assertEqual(self.told.cards, [{ALICE, BOB}])
        self.assertEqual(self.told.endings, [events[1:4]])
        self.assertLessEqual(2 * INTERVAL, 1)

    def test_one_kind(self) -> None:
        """Who watches one kind does not hear of the other."""
        self.clear()
        self.log.add(SUBJECTS[0])
        self.clock.advance(INTERVAL)
        self.assertEqual(self.told.endings, [])
        self.log.add(SUBJECTS[1])
        self.clock.advance(INTERVAL)
        self.assertEqual(self.told.cards, [{ALICE}])

    def test_generation(self) -> None:
        """It grows with changes of cards only, those of this process included."""
        known = self.follower.generation
        self.log.add(SUBJECTS[1])
        self.clock.advance(INTERVAL)
        self.assertEqual(self.follower.generation, known)
        self.log.add(SUBJECTS[0])
        self.clock.advance(INTERVAL)
        self.follower.tell(frozenset({BOB}))
        self.assertEqual(self.follower.generation, known + 2)
        self.assertEqual(self.told.cards[1:], [{ALICE}, {BOB}])

    def test_away(self) -> None:
        """While the log cannot be read what is known is trusted for less than a second; nothing is lost."""
        self.clear()
        self.log.fault = ServerUnavailable()
        self.log.add(SUBJECTS[0])
        self.clock.advance(INTERVAL)
        self.assertTrue(self.follower.is_current)
        self.clock.advance(TRUST - INTERVAL)
        self.assertFalse(self.follower.is_current)
        self.assertLess(TRUST, 1)
        self.clock.advance(100_000)
        self.log.fault = None
        self.clock.advance(INTERVAL)
        self.assertTrue(self.follower.is_current)
        self.assertEqual(self.told.cards, [{ALICE}])

    def test_missed(self) -> None:
        """Where unread events are forgotten, or numbers go back, anything may have happened."""
        self.log.fault = ServerUnavailable()
        for subject in SUBJECTS:
            self.log.add(subject)
        self.log.forget(1)
        self.clear()
        self.log.fault = None
        self.clock.advance(INTERVAL)
        self.assertEqual((self.told.cards, self.told.endings), ([None], [None]))
        self.log.last = 2
        self.clock.advance(INTERVAL)
        self.assertEqual((self.told.cards, self.told.endings), ([None] * 2, [None] * 2))

    def test_forgotten_after_reading(self) -> None:
        """What was read may be forgotten."""
        self.log.add(SUBJECTS[0])
        self.clock.advance(INTERVAL)
        self.log.forget(1)
        self.clear()
        self.clock.pump([INTERVAL, 100_000])
        self.assertEqual((self.told.cards, self.told.endings), ([], []))

    def test_watcher_that_fails(self) -> None:
        """Events that a watcher could not be told of are told again; meanwhile nothing counts as known.

        That a watcher of cards fails keeps nobody's session open.
        """
        calls = []

        def fail(owners: object) -> None:
            calls.append(owners)
            if len(calls) < 3:
                raise LookupError

        self.follower.watch(fail)
        self.log.add(SUBJECTS[0])
        self.log.add(SUBJECTS[1])
        self.clear()
        self.clock.pump([INTERVAL, INTERVAL])
        self.assertFalse(self.follower.is_current)
        self.assertEqual(len(self.told.endings), 2)
        self.clock.advance(INTERVAL)
        self.assertTrue(self.follower.is_current)
        self.assertEqual(len(self.told.endings), 3)
        self.assertEqual(calls, [{ALICE}] * 3)
        self.assertEqual(len(self.flushLoggedErrors(LookupError)), 1)

    def test_fault_that_lasts(self) -> None:
        """What keeps a process from reading is logged once while it lasts, and not twice a second."""
        for _ in range(2):
            self.log.fault = LookupError()
            self.clock.pump([INTERVAL] * 5)
            self.assertEqual(len(self.flushLoggedErrors(LookupError)), 1)
            self.log.fault = None
            self.clock.advance(INTERVAL)

    def test_stop(self) -> None:
        """A follower that has stopped reads no more, and knows nothing."""
        self.follower.stopService()
        self.assertFalse(self.follower.is_current)
        self.clear()
        self.log.add(SUBJECTS[0])
        self.clock.advance(10)
        self.assertEqual(self.told.cards, [])


STEPS = st.lists(
    st.one_of(
        st.sampled_from(SUBJECTS),
        st.tuples(st.just("forget"), st.integers(0, 3)),
        st.sampled_from(["read", "fail"]),
    ),
    max_size=40,
)


class FollowerPropertyTests(SynchronousTestCase):
    @settings(max_examples=200, deadline=None)
    @given(STEPS)
    def test_nothing_missed(self, steps: Sequence[object]) -> None:
        """Whatever happens when: each event is told once, or else that some were missed."""
        clock, log = Clock(), MemoryEventLog()
        told = Told(clock, log)
        told.follower.startService()
        unread: list[Event] = []
        gone = False
        for step in (*steps, "read"):
            told.cards.clear()
            told.endings.clear()
            if isinstance(step, CardChange | Ending):
                unread.append(Event(log.add(step), step))
            elif isinstance(step, tuple):
                log.forget(step[1])
                gone = any(event not in log.kept for event in unread)
            elif step == "fail":
                log.fault = ServerUnavailable()
                clock.advance(INTERVAL)
                log.fault = None
            else:
                clock.advance(INTERVAL)
                self.check(told, unread, gone)
                unread, gone = [], False
        told.follower.stopService()

    def check(self, told: Told, unread: Sequence[Event], gone: bool) -> None:
        if gone:
            self.assertEqual((told.cards, told.endings), ([None], [None]))
            return
        owners = {event.subject.owner for event in unread if isinstance(event.subject, CardChange)}
        endings = [event for event in unread if isinstance(event.subject, Ending)]
        self.assertEqual(told.cards, [owners] if owners else [])
        self.assertEqual(told.endings, [endings] if endings else [])
