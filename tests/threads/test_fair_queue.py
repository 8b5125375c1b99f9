"""The order in which clients get slots, and the limits of each source."""

from collections.abc import Iterable

from attrs import define, field
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from mensagod.errors import ServerUnavailable
from mensagod.threads.fair_queue import FairQueue

STEPS = ("come", "end", "go", "cancel")


@define(eq=False)
class Visitor:
    """A client; the first letter of its name is its source.

    :ivar got: the results of its wait: ``None`` for a slot, or an exception type.
    """

    name: str
    gone: bool = False
    got: list[object] = field(factory=list)
    granted: Deferred[None] = field(factory=Deferred)

    @property
    def source(self) -> str:
        return self.name[0]


class FairQueueTests(SynchronousTestCase):
    """Clients ask for slots and release them."""

    def open(self, slots: int, **limits: int) -> None:
        """Make a queue whose slots are all free."""
        self.queue = FairQueue(slots, **limits)
        self.served: list[str] = []
        self.inside: list[Visitor] = []

    def come(self, name: str) -> Visitor:
        """A client asks for a slot."""
        visitor = Visitor(name)
        visitor.granted = self.queue.acquire(visitor)
        visitor.granted.addCallbacks(
            lambda _: self.enter(visitor), lambda failure: visitor.got.append(failure.type)
        )
        return visitor

    def enter(self, visitor: Visitor) -> None:
        visitor.got.append(None)
        self.served.append(visitor.name)
        self.inside.append(visitor)

    def leave(self, count: int = 1) -> None:
        """The clients that got their slots first release them."""
        for _ in range(count):
            self.queue.release(self.inside.pop(0))

    def crowd(self, names: Iterable[str]) -> None:
        for name in names:
            self.come(name)

    def test_free(self) -> None:
        """A free slot is granted at once, and again after its release."""
        self.open(1)
        for name in ("a1", "a2", "b1"):
            self.come(name)
            self.leave()
        self.assertEqual(self.served, ["a1", "a2", "b1"])

    def test_sources_in_turn(self) -> None:
        """Queues are served round-robin, each in order of arrival."""
        self.open(1)
        self.crowd(["a1", "a2", "a3", "a4", "b1", "b2", "c1"])
        self.leave(6)
        self.assertEqual(self.served, ["a1", "b1", "c1", "a2", "b2", "a3", "a4"])

    def test_one_each(self) -> None:
        """A source that was served waits until the others were, also while it still uses the slot."""
        self.open(2)
        self.crowd(["x1", "y1", "b1", "b2", "c1"])
        self.leave(2)
        self.assertEqual(self.served, ["x1", "y1", "b1", "c1"])

    def test_newcomer(self) -> None:
        """A new source gets the next free slot although another one uses all slots and has a long queue."""
        for slots in (1, 2):
            self.open(slots)
            self.crowd([f"a{number}" for number in range(slots + 10)])
            self.leave(3)
            visitor = self.come("b1")
            self.assertEqual(visitor.got, [])
            self.leave()
            self.assertEqual(visitor.got, [None])

    def test_most_running(self) -> None:
        """A source gets two slots at most, even if others are free."""
        self.open(4)
        self.crowd(["a1", "a2", "a3", "a4", "b1"])
        self.assertEqual(self.served, ["a1", "a2", "b1"])
        self.leave()
        self.assertEqual(self.served, ["a1", "a2", "b1", "a3"])

    def test_most_waiting(self) -> None:
        """A client is refused at once if the queue of its source is full; other sources may still wait."""
        self.open(1, waiting=3)
        self.crowd(["a1", "a2", "a3", "a4"])
        self.assertRaises(ServerUnavailable, self.come, "a5")
        self.crowd(["b1", "b2", "b3"])
        self.leave()
        self.come("b4")
        self.assertRaises(ServerUnavailable, self.come, "b5")

    def test_total(self) -> None:
        """The number of waiting clients of all sources together is limited."""
        self.open(1, total=3)
        self.crowd(["a1", "b1", "c1", "d1"])
        self.assertRaises(ServerUnavailable, self.come, "e1")
        self.leave()
        self.come("e1")
        self.assertRaises(ServerUnavailable, self.come, "f1")

    def test_gone(self) -> None:
        """A client that is gone gets no slot; the next client of its source does."""
        self.open(1)
        self.come("a1")
        away = [self.come(f"a{number}") for number in range(2, 9)]
        self.crowd(["a9", "b1"])
        for visitor in away:
            visitor.gone = True
        self.leave(2)
        self.assertEqual(self.served, ["a1", "b1", "a9"])
        self.assertEqual([visitor.got for visitor in away], [[CancelledError]] * 7)

    def test_all_gone(self) -> None:
        """If all waiting clients are gone, the slots are free."""
        self.open(1)
        self.come("a1")
        for name in ("a2", "b1", "c1"):
            self.come(name).gone = True
        self.leave()
        self.come("d1")
        self.assertEqual(self.served, ["a1", "d1"])

    def test_gone_make_room(self) -> None:
        """Clients that are gone do not count when a queue is full."""
        self.open(1, waiting=2)
        self.come("a1")
        away = self.come("a2")
        away.gone = True
        self.crowd(["a3", "a4"])
        self.assertEqual(away.got, [CancelledError])
        self.assertRaises(ServerUnavailable, self.come, "a5")
        self.leave(2)
        self.assertEqual(self.served, ["a1", "a3", "a4"])

    def test_given_up(self) -> None:
        """A cancelled client leaves the queue."""
        self.open(1, waiting=2)
        self.crowd(["a1", "a2"])
        bored = self.come("a3")
        bored.granted.cancel()
        self.assertEqual(bored.got, [CancelledError])
        self.come("a4")
        self.leave(2)
        self.assertEqual(self.served, ["a1", "a2", "a4"])

    def test_cancel(self) -> None:
        """All waiting clients can be cancelled; slots in use stay in use."""
        self.open(1)
        waiting = [self.come(name) for name in ("a1", "a2", "a3", "b1")][1:]
        self.queue.cancel_all()
        self.assertEqual([visitor.got for visitor in waiting], [[CancelledError]] * 3)
        self.come("b2")
        self.assertEqual(self.served, ["a1"])
        self.leave()
        self.assertEqual(self.served, ["a1", "b2"])

    def test_own_work(self) -> None:
        """The server's own work takes turns with that of clients, but has no limits."""
        self.open(3, waiting=1, total=1)
        own = [self.queue.acquire() for _ in range(9)]
        self.assertEqual([granted.called for granted in own], [True] * 3 + [False] * 6)
        self.queue.release()
        self.assertEqual([granted.called for granted in own], [True] * 4 + [False] * 5)

    @given(
        st.integers(1, 4),
        st.lists(st.tuples(st.sampled_from(STEPS), st.sampled_from("abc")), max_size=60),
    )
    @settings(deadline=None)
    def test_bounds(self, slots: int, steps: list[tuple[str, str]]) -> None:
        """In any order of events the limits hold, and in the end every client has exactly one result."""
        self.open(slots, waiting=4, total=8)
        visitors: list[Visitor] = []
        for number, (step, source) in enumerate(steps):
            outside = [visitor for visitor in visitors if not visitor.got]
            if step == "end" and self.inside:
                self.leave()
            elif step == "go" and outside:
                outside[0].gone = True
            elif step == "cancel" and outside:
                outside[-1].granted.cancel()
            elif step == "come":
                try:
                    visitors.append(self.come(f"{source}{number}"))
                except ServerUnavailable:
                    self.assertGreaterEqual(len(outside), 4)
            self.check(slots, visitors)
        while self.inside:
            self.leave()
        self.assertEqual({len(visitor.got) for visitor in visitors} - {1}, set())

    def check(self, slots: int, visitors: list[Visitor]) -> None:
        sources = [visitor.source for visitor in self.inside]
        self.assertLessEqual(len(sources), slots)
        self.assertLessEqual(max(map(sources.count, sources), default=0), 2)
        waiting = [visitor.source for visitor in visitors if not visitor.got]
        self.assertLessEqual(len(waiting), 8)
        self.assertLessEqual(max(map(waiting.count, waiting), default=0), 4)
