"""A cache of keycards, limited in number and in bytes; each card is kept for at most its Time-To-Live."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from sys import getsizeof
from typing import Final, Generic, Protocol, TypeVar

from attrs import frozen
from cachetools import TLRUCache

from mensagod.values.identity import WorkspaceID

MEAN_SIZE: Final = 8192
"""The average number of bytes for each card that may be kept."""

_ENTRY: Final = 600  # an upper estimate of the bytes that an entry takes in addition to its text


class CachedEntry(Protocol):
    """The part of an entry that the cache uses."""

    @property
    def text(self) -> str:
        """The entry as it is sent."""


E = TypeVar("E", bound=CachedEntry)


@frozen
class Card(Generic[E]):
    """A card in the cache, or a mark in the place of one.

    :ivar entries: all entries of the card, in order; empty for a mark.
    :ivar until: the time until which it may be kept, by the clock of the cache.
    """

    entries: Sequence[E]
    until: float

    @property
    def weight(self) -> int:
        """The estimated size of the card in bytes."""
        return sum(getsizeof(entry.text) + _ENTRY for entry in self.entries)

    def excerpt(self, start: int, end: int | None) -> Sequence[E]:
        """Give the entries from ``start`` to ``end``; ``start`` 0 is the newest one."""
        if start <= 0:
            return self.entries[-1:]
        return self.entries[start - 1 : end]


class CardCache(Generic[E]):
    """Cards in memory; the least recently used ones are dropped first.

    :param most: the most cards to keep; 0 keeps none. The limit of bytes is :data:`MEAN_SIZE` times this.
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
        """The estimated size of all cards in bytes."""
        return int(self._cards.currsize)

    def find(self, owner: WorkspaceID) -> Card[E] | None:
        """Give a card, unless its Time-To-Live is over."""
        return self._cards.get(owner)

    def keep(self, owner: WorkspaceID, card: Card[E]) -> None:
        """Add a card, unless it is larger than the whole cache."""
        self._cards.pop(owner, None)
        if self.most == 0 or card.weight > self._cards.maxsize:
            return
        with suppress(KeyError):  # a card that was counted may have expired by now
            while len(self._cards) >= self.most:
                self._cards.popitem()
        self._cards[owner] = card

    def forget(self, owners: frozenset[WorkspaceID] | None) -> None:
        """Drop the cards of ``owners``; ``None`` drops all."""
        if owners is None:
            self._cards.clear()
            return
        for owner in owners:
            self._cards.pop(owner, None)
