"""Keycards in memory."""

from attrs import frozen
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mensagod.keycards.cache import MEAN_SIZE, Card, CardCache
from mensagod.values.identity import WorkspaceID


@frozen
class Text:
    """All that the cache asks of an entry."""

    text: str


def card(size: int = 100, until: float = 10) -> Card[Text]:
    return Card((Text("x" * size),), until)


class CardCacheTests(SynchronousTestCase):
    """Bounded in number and in bytes."""

    def setUp(self) -> None:
        self.clock = Clock()

    def make(self, most: int) -> CardCache[Text]:
        return CardCache(most, self.clock.seconds)

    def test_least_recently_used(self) -> None:
        """What was not used for longest goes first."""
        cache = self.make(2)
        first, second, third = (WorkspaceID.random() for _ in range(3))
        cache.keep(first, card())
        cache.keep(second, card())
        self.assertIsNotNone(cache.find(first))
        cache.keep(third, card())
        self.assertIsNone(cache.find(second))
        self.assertIsNotNone(cache.find(first))

    def test_time_to_live(self) -> None:
        """A card goes when its Time-To-Live is over."""
        cache, owner = self.make(2), WorkspaceID.random()
        cache.keep(owner, card())
        self.clock.advance(9.9)
        self.assertIsNotNone(cache.find(owner))
        self.clock.advance(0.1)
        self.assertIsNone(cache.find(owner))
        self.assertEqual((len(cache), cache.bytes_held), (0, 0))

    def test_over_already(self) -> None:
        """A card whose Time-To-Live is over when it comes is not kept, nor is the one before it."""
        cache, owner = self.make(2), WorkspaceID.random()
        cache.keep(owner, card())
        cache.keep(owner, card(until=0))
        self.assertIsNone(cache.find(owner))

    def test_forget(self) -> None:
        """Some are forgotten, or all."""
        cache = self.make(9)
        owners = [WorkspaceID.random() for _ in range(4)]
        for owner in owners:
            cache.keep(owner, card())
        cache.forget(frozenset(owners[:1]))
        self.assertEqual(len(cache), 3)
        cache.forget(None)
        self.assertEqual((len(cache), cache.bytes_held), (0, 0))

    def test_nothing_kept(self) -> None:
        """A size of 0 keeps nothing."""
        cache, owner = self.make(0), WorkspaceID.random()
        cache.keep(owner, card())
        self.assertIsNone(cache.find(owner))

    @settings(max_examples=100, deadline=None)
    @given(
        st.integers(0, 6), st.lists(st.tuples(st.integers(0, 9), st.integers(1, 3 * MEAN_SIZE)), max_size=40)
    )
    def test_bounds(self, most: int, cards: list[tuple[int, int]]) -> None:
        """However large the cards, neither bound is ever passed, and the count of bytes stays right."""
        owners = [WorkspaceID.random() for _ in range(10)]
        cache = self.make(most)
        for index, size in cards:
            cache.keep(owners[index], card(size))
            self.assertLessEqual(len(cache), most)
            self.assertLessEqual(cache.bytes_held, most * MEAN_SIZE)
            held = [found for owner in owners if (found := cache.find(owner)) is not None]
            self.assertEqual(cache.bytes_held, sum(found.weight for found in held))
