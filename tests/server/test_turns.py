"""Turns: the time of the reactor is shared between source addresses."""

from collections.abc import Callable

from attrs import define, field
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mensagod.server.turns import FIRST_IN_A_ROW, MAX_TURNS, REST_SECONDS, ROUND_SECONDS, TURN_SECONDS, Turns

WHOLE_TURN = TURN_SECONDS * 1.001
"""How long a worker works in each turn: until after its end, however the sums are rounded."""


@define(eq=False)
class Worker:
    """A client whose pieces of work each take a whole turn.

    :ivar left: how many turns it needs.
    """

    case: "TurnsTestCase"
    source: str
    left: int
    comes_first: bool = False
    seconds: float = WHOLE_TURN
    during: Callable[[], object] = field(default=lambda: None)

    def take_turn(self) -> None:
        self.case.order.append(self.source)
        self.case.clock.rightNow += self.seconds
        self.during()
        self.left -= 1
        if self.left > 0:
            self.case.turns.wait(self)


class TurnsTestCase(SynchronousTestCase):
    """Turns on a clock that only work advances.

    :ivar order: the sources in the order of their turns.
    """

    def setUp(self) -> None:
        self.start()

    def start(self) -> None:
        self.clock = Clock()
        self.clock.rightNow = 1000.0
        self.turns = Turns(self.clock)
        self.order: list[str] = []

    def worker(
        self, source: str, left: int = 1, comes_first: bool = False, seconds: float = WHOLE_TURN
    ) -> Worker:
        return Worker(self, source, left, comes_first, seconds)

    def occupy(self) -> None:
        """Use up the time for work at once."""
        self.turns.ask(self.worker("before", seconds=2 * ROUND_SECONDS))
        self.order.clear()

    def give_turns(self) -> None:
        """Run one iteration of the reactor: a clock would also make the calls that are made meanwhile."""
        call = self.clock.calls.pop(0)
        call.called = 1
        call.func()

    def finish(self) -> None:
        """Give turns until nobody waits."""
        while self.clock.getDelayedCalls():
            self.clock.advance(0)


class AtOnceTests(TurnsTestCase):
    """Work begins at once while there is time."""

    def test_idle(self) -> None:
        """Who comes while nobody works begins within the same call, and nothing is scheduled."""
        self.turns.ask(self.worker("a"))
        self.assertEqual((self.order, self.clock.getDelayedCalls()), (["a"], []))

    def test_no_more_than_a_round(self) -> None:
        """Work at once is limited, however many clients come one after the other."""
        for _ in range(20):
            self.turns.ask(self.worker("a"))
        self.assertEqual(len(self.order), round(ROUND_SECONDS / TURN_SECONDS))
        self.finish()
        self.assertEqual(len(self.order), 20)

    def test_after_a_pause(self) -> None:
        """After a pause, in which the reactor did its other work, there is time again."""
        self.occupy()
        self.clock.rightNow += 2 * REST_SECONDS
        self.turns.ask(self.worker("a"))
        self.assertEqual(self.order, ["a"])

    def test_clock_set_back(self) -> None:
        """A clock that was set back does not keep anybody waiting."""
        self.occupy()
        self.clock.rightNow -= 3600
        self.turns.ask(self.worker("a"))
        self.assertEqual(self.order, ["a"])

    def test_beside_others(self) -> None:
        """Who comes between two rounds begins at once, unless somebody of the same source waits."""
        self.occupy()
        self.turns.ask(self.worker("busy", left=20))
        self.give_turns()
        self.order.clear()
        self.turns.ask(self.worker("a"))
        self.turns.ask(self.worker("busy"))
        self.assertEqual(self.order, ["a"])

    def test_members_wait(self) -> None:
        """While a member waits, only another member begins at once."""
        self.occupy()
        self.turns.ask(self.worker("busy", left=20, comes_first=True))
        self.give_turns()
        self.order.clear()
        self.turns.ask(self.worker("a"))
        self.turns.ask(self.worker("b", comes_first=True))
        self.turns.ask(self.worker("busy", comes_first=True))
        self.assertEqual(self.order, ["b"])

    def test_within_work(self) -> None:
        """Work that another client's work causes is not done within that."""
        first, second = self.worker("a"), self.worker("b")
        first.during = lambda: self.turns.ask(second)
        self.turns.ask(first)
        self.assertEqual(self.order, ["a"])
        self.finish()
        self.assertEqual(self.order, ["a", "b"])


class QueueTests(TurnsTestCase):
    """The order in which those work who wait."""

    def test_sources_take_turns(self) -> None:
        """A source with many connections has as many turns as one with a single connection."""
        self.occupy()
        for _ in range(10):
            self.turns.ask(self.worker("many"))
        self.turns.ask(self.worker("one", left=3))
        self.finish()
        self.assertEqual(self.order[:6], ["many", "one"] * 3)
        self.assertEqual(self.order[6:], ["many"] * 7)

    def test_connections_take_turns(self) -> None:
        """The connections of one source take turns among each other."""
        self.occupy()
        workers = [self.worker("a", left=2) for _ in range(2)]
        left = []
        for worker in workers:
            worker.during = lambda: left.append([each.left for each in workers])
            self.turns.ask(worker)
        self.finish()
        self.assertEqual(left, [[2, 2], [1, 2], [1, 1], [0, 1]])

    def test_members_first(self) -> None:
        """Members come before others, but each fifth turn is one of another client."""
        self.occupy()
        self.turns.ask(self.worker("stranger", left=2))
        self.turns.ask(self.worker("member", left=10, comes_first=True))
        self.finish()
        row = ["member"] * FIRST_IN_A_ROW
        self.assertEqual(self.order, [*row, "stranger", *row, "stranger", "member", "member"])

    def test_rounds(self) -> None:
        """After a round of turns the reactor does its other work."""
        self.occupy()
        self.turns.ask(self.worker("a", left=20))
        self.give_turns()
        self.assertEqual(len(self.order), round(ROUND_SECONDS / TURN_SECONDS))
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)

    def test_standing_clock(self) -> None:
        """A round ends also if the clock does not go on."""
        self.occupy()
        self.turns.ask(self.worker("a", left=2 * MAX_TURNS, seconds=0))
        self.give_turns()
        self.assertEqual(len(self.order), MAX_TURNS)

    def test_end_of_turn(self) -> None:
        """A turn ends after its time, at once and in a round."""
        over = []
        for _ in range(2):
            worker = self.worker("a", seconds=TURN_SECONDS / 2)
            worker.during = lambda: over.append(self.turns.is_over)
            self.turns.ask(worker)
            longer = self.worker("a", seconds=ROUND_SECONDS)
            longer.during = lambda: over.append(self.turns.is_over)
            self.turns.ask(longer)
        self.finish()
        self.assertEqual(over, [False, True, False, True])

    def test_waits_once(self) -> None:
        """Who waits already does not wait twice."""
        self.occupy()
        worker = self.worker("a")
        self.turns.ask(worker)
        self.turns.ask(worker)
        self.assertTrue(self.turns.is_waiting(worker))
        self.finish()
        self.assertEqual(self.order, ["a"])
        self.assertFalse(self.turns.is_waiting(worker))

    def test_leaves(self) -> None:
        """Who has gone has no turn; if nobody else waits, nothing is scheduled."""
        self.occupy()
        gone, other = self.worker("a"), self.worker("a")
        self.turns.ask(gone)
        self.turns.ask(other)
        self.turns.leave(gone)
        self.turns.leave(gone)
        self.finish()
        self.assertEqual(self.order, ["a"])
        self.occupy()
        self.turns.ask(gone)
        self.turns.leave(gone)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_fault(self) -> None:
        """A fault of one client does not end the turns of the others."""
        self.occupy()
        faulty = self.worker("a")
        faulty.during = lambda: 1 // 0
        self.turns.ask(faulty)
        self.turns.ask(self.worker("b"))
        self.assertRaises(ZeroDivisionError, self.clock.advance, 0)
        self.finish()
        self.assertEqual(self.order, ["a", "b"])

    @given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 5), st.booleans()), max_size=12))
    @settings(max_examples=100, deadline=None)
    def test_everybody(self, clients: list[tuple[str, int, bool]]) -> None:
        """Everybody gets all turns that are needed, and nothing is left scheduled."""
        self.start()
        workers = [Worker(self, source, left, first) for source, left, first in clients]
        for worker in workers:
            self.turns.ask(worker)
        self.finish()
        self.assertEqual([worker.left for worker in workers], [0] * len(workers))
        self.assertEqual(len(self.order), sum(left for _, left, _ in clients))
