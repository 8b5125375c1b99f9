"""Keycards in memory: bounded in number and in bytes, each no longer than its Time-To-Live allows."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from sys import getsizeof
from typing import Final, Generic, Protocol, TypeVar

from attrs import frozen
from cachetools import TLRUCache

from mensagod.values.identity import WorkspaceID

MEAN_SIZE: Final = 8192
"""Bytes of memory for each card that may be kept, on average."""

_ENTRY: Final = 600  # what an entry takes beside its text, generously


class CachedEntry(Protocol):
    """What the cache wants to know of an entry."""

    @property
    def text(self) -> str:
        """The entry as it is sent."""


E = TypeVar("E", bound=CachedEntry)


@frozen
class Card(Generic[E]):
    """A card, or something to remember about it.

    :ivar entries: all of them, in order; none where only a mark is kept.
    :ivar until: when it may no longer be kept, by the clock of the cache.
    """

    entries: Sequence[E]
    until: float

    @property
    def weight(self) -> int:
        """About how many bytes it takes."""
        return sum(getsizeof(entry.text) + _ENTRY for entry in self.entries)

    def excerpt(self, start: int, end: int | None) -> Sequence[E]:
        """Give the entries from ``start`` to ``end``; ``start`` 0 is the newest one."""
        if start <= 0:
            return self.entries[-1:]
        return self.entries[start - 1 : end]


class CardCache(Generic[E]):
    """Cards in memory, the least recently used ones dropped first.

    :param most: how many; 0 keeps none. Together they take at most :data:`MEAN_SIZE` bytes for each of these.
    :param clock: gives the time in seconds.
    """

    def __init__(self, most: int, clock: Callable[[], float]):
        self.most = most
        self._cards: TLRUCache[WorkspaceID, Card[E]] = TLRUCache(
            most * MEAN_SIZE, lambda owner, card, now: card.until, clock, lambda card: card.weight
        )

    def __len__(self) -> int:
        return len(self._cards)

    @property
    def bytes_held(self) -> int:
        """About how many bytes the cards take."""
        return int(self._cards.currsize)

    def find(self, owner: WorkspaceID) -> Card[E] | None:
        """Give a card, unless its Time-To-Live is over."""
        return self._cards.get(owner)

    def keep(self, owner: WorkspaceID, card: Card[E]) -> None:
        """Keep a card, if there is room for one of its size at all."""
        self._cards.pop(owner, None)
        if self.most == 0 or card.weight > self._cards.maxsize:
            return
        with suppress(KeyError):  # what was counted may be over by now
            while len(self._cards) >= self.most:
                self._cards.popitem()
        self._cards[owner] = card

    def forget(self, owners: frozenset[WorkspaceID] | None) -> None:
        """Forget the cards of ``owners``, or all."""
        if owners is None:
            self._cards.clear()
            return
        for owner in owners:
            self._cards.pop(owner, None)
