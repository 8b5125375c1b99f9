"""Who gets a place, and who waits."""

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
    """A client; its name begins with its source.

    :ivar got: how its waiting ended, if it did.
    """

    name: str
    gone: bool = False
    got: list[object] = field(factory=list)
    turn: Deferred[None] = field(factory=Deferred)

    @property
    def source(self) -> str:
        return self.name[0]


class TurnTests(SynchronousTestCase):
    """Visitors whose names begin with the source that they come from."""

    def open(self, places: int, **limits: int) -> None:
        """Begin with free places."""
        self.turns = FairQueue(places, **limits)
        self.served: list[str] = []
        self.inside: list[Visitor] = []

    def come(self, name: str) -> Visitor:
        """Somebody asks for a place."""
        visitor = Visitor(name)
        visitor.turn = self.turns.wait(visitor)
        visitor.turn.addCallbacks(
            lambda _: self.enter(visitor), lambda failure: visitor.got.append(failure.type)
        )
        return visitor

    def enter(self, visitor: Visitor) -> None:
        visitor.got.append(None)
        self.served.append(visitor.name)
        self.inside.append(visitor)

    def leave(self, count: int = 1) -> None:
        """Those who came in first leave."""
        for _ in range(count):
            self.turns.end(self.inside.pop(0))

    def crowd(self, names: Iterable[str]) -> None:
        for name in names:
            self.come(name)

    def test_free(self) -> None:
        """A free place is taken at once, and again after its end."""
        self.open(1)
        for name in ("a1", "a2", "b1"):
            self.come(name)
            self.leave()
        self.assertEqual(self.served, ["a1", "a2", "b1"])

    def test_sources_in_turn(self) -> None:
        """Lines are served one after the other, each in the order in which its visitors came."""
        self.open(1)
        self.crowd(["a1", "a2", "a3", "a4", "b1", "b2", "c1"])
        self.leave(6)
        self.assertEqual(self.served, ["a1", "b1", "c1", "a2", "b2", "a3", "a4"])

    def test_one_each(self) -> None:
        """A line that was served waits until the others were, also while its visitor is inside."""
        self.open(2)
        self.crowd(["x1", "y1", "b1", "b2", "c1"])
        self.leave(2)
        self.assertEqual(self.served, ["x1", "y1", "b1", "c1"])

    def test_newcomer(self) -> None:
        """Who comes while one source has all places and a long line gets the first that is free."""
        for places in (1, 2):
            self.open(places)
            self.crowd([f"a{number}" for number in range(places + 10)])
            self.leave(3)
            visitor = self.come("b1")
            self.assertEqual(visitor.got, [])
            self.leave()
            self.assertEqual(visitor.got, [None])

    def test_most_running(self) -> None:
        """A source has two places at most, even if others are free."""
        self.open(4)
        self.crowd(["a1", "a2", "a3", "a4", "b1"])
        self.assertEqual(self.served, ["a1", "a2", "b1"])
        self.leave()
        self.assertEqual(self.served, ["a1", "a2", "b1", "a3"])

    def test_most_waiting(self) -> None:
        """A line has its end: who comes then is refused at once, while others still may wait."""
        self.open(1, waiting=3)
        self.crowd(["a1", "a2", "a3", "a4"])
        self.assertRaises(ServerUnavailable, self.come, "a5")
        self.crowd(["b1", "b2", "b3"])
        self.leave()
        self.come("b4")
        self.assertRaises(ServerUnavailable, self.come, "b5")

    def test_total(self) -> None:
        """There is room for so many in all, wherever they come from."""
        self.open(1, total=3)
        self.crowd(["a1", "b1", "c1", "d1"])
        self.assertRaises(ServerUnavailable, self.come, "e1")
        self.leave()
        self.come("e1")
        self.assertRaises(ServerUnavailable, self.come, "f1")

    def test_gone(self) -> None:
        """Who is gone when the turn comes gets no place, and costs the others of the source none."""
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
        """If all are gone the places are free."""
        self.open(1)
        self.come("a1")
        for name in ("a2", "b1", "c1"):
            self.come(name).gone = True
        self.leave()
        self.come("d1")
        self.assertEqual(self.served, ["a1", "d1"])

    def test_gone_make_room(self) -> None:
        """Those of a full line who are gone are not in the way of who comes."""
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
        """Who gives up waiting leaves the line."""
        self.open(1, waiting=2)
        self.crowd(["a1", "a2"])
        bored = self.come("a3")
        bored.turn.cancel()
        self.assertEqual(bored.got, [CancelledError])
        self.come("a4")
        self.leave(2)
        self.assertEqual(self.served, ["a1", "a2", "a4"])

    def test_cancel(self) -> None:
        """All who wait can be sent away; places that are taken stay so."""
        self.open(1)
        waiting = [self.come(name) for name in ("a1", "a2", "a3", "b1")][1:]
        self.turns.cancel()
        self.assertEqual([visitor.got for visitor in waiting], [[CancelledError]] * 3)
        self.come("b2")
        self.assertEqual(self.served, ["a1"])
        self.leave()
        self.assertEqual(self.served, ["a1", "b2"])

    def test_own_work(self) -> None:
        """The server's own work takes turns with clients', but has no limits."""
        self.open(3, waiting=1, total=1)
        own = [self.turns.wait() for _ in range(9)]
        self.assertEqual([turn.called for turn in own], [True] * 3 + [False] * 6)
        self.turns.end()
        self.assertEqual([turn.called for turn in own], [True] * 4 + [False] * 5)

    @given(
        st.integers(1, 4),
        st.lists(st.tuples(st.sampled_from(STEPS), st.sampled_from("abc")), max_size=60),
    )
    @settings(deadline=None)
    def test_bounds(self, places: int, steps: list[tuple[str, str]]) -> None:
        """Whatever happens: no more places than there are, nobody twice, and in the end nobody forgotten."""
        self.open(places, waiting=4, total=8)
        visitors: list[Visitor] = []
        for number, (step, source) in enumerate(steps):
            outside = [visitor for visitor in visitors if not visitor.got]
            if step == "end" and self.inside:
                self.leave()
            elif step == "go" and outside:
                outside[0].gone = True
            elif step == "cancel" and outside:
                outside[-1].turn.cancel()
            elif step == "come":
                try:
                    visitors.append(self.come(f"{source}{number}"))
                except ServerUnavailable:
                    self.assertGreaterEqual(len(outside), 4)
            self.check(places, visitors)
        while self.inside:
            self.leave()
        self.assertEqual({len(visitor.got) for visitor in visitors} - {1}, set())

    def check(self, places: int, visitors: list[Visitor]) -> None:
        sources = [visitor.source for visitor in self.inside]
        self.assertLessEqual(len(sources), places)
        self.assertLessEqual(max(map(sources.count, sources), default=0), 2)
        waiting = [visitor.source for visitor in visitors if not visitor.got]
        self.assertLessEqual(len(waiting), 8)
        self.assertLessEqual(max(map(waiting.count, waiting), default=0), 4)
