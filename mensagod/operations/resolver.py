"""Cards of our own domains, from memory where that is safe (spec 03, *The server's duties*; 04, GETCARD).

Small cards are kept, bounded in number and in bytes. Large ones are read where they are needed, a few entries
at a time.
"""

from collections import OrderedDict
from collections.abc import AsyncIterator, Sequence
from math import inf
from sys import getsizeof
from typing import Final

from attrs import define, field, frozen
from twisted.internet.interfaces import IReactorTime

from mensagod.keycards.entries import Entry
from mensagod.keycards.errors import KeycardFault
from mensagod.sharing.follower import Follower
from mensagod.storage import keycards, workspaces
from mensagod.storage.database import Database
from mensagod.storage.keycards import Extent, StoredEntry
from mensagod.values.identity import Domain, WorkspaceID

MEAN_SIZE: Final = 8192
"""Bytes of memory for each card that may be kept, on average."""

_ROW: Final = 600  # what a StoredEntry takes beside its text, generously
_PAGE: Final = 32
_DAY: Final = 86_400
_MEMORY: Final = 1.0  # seconds: nobody is told when a workspace is archived


@frozen
class Card:
    """A small card, or that a card is not small.

    :ivar entries: all of them, in order; none of a card that is too large to be kept.
    :ivar until: when a resolver may no longer keep it, by the reactor's clock.
    """

    entries: Sequence[StoredEntry]
    until: float

    @property
    def weight(self) -> int:
        """About how many bytes it takes."""
        return sum(getsizeof(entry.text) + _ROW for entry in self.entries)

    def excerpt(self, start: int, end: int | None) -> Sequence[StoredEntry]:
        """Give the entries from ``start`` to ``end``; ``start`` 0 is the newest one."""
        if start <= 0:
            return self.entries[-1:]
        return self.entries[start - 1 : end]


_LARGE: Final = Card((), inf)
"""That a card is large stays true until it changes, and so is not asked again."""


@define(eq=False)
class CardCache:
    """Cards in memory, the least recently used ones dropped first.

    :ivar most: how many.
    :ivar bytes_held: about how many bytes they take; at most :data:`MEAN_SIZE` for each that may be kept.
    """

    most: int
    bytes_held: int = field(default=0, init=False)
    _cards: OrderedDict[WorkspaceID, Card] = field(factory=OrderedDict, init=False)

    def __len__(self) -> int:
        return len(self._cards)

    def find(self, owner: WorkspaceID, now: float) -> Card | None:
        """Give a card, unless its Time-To-Live is over."""
        card = self._cards.get(owner)
        if card is None:
            return None
        if now >= card.until:
            self.drop(owner)
            return None
        self._cards.move_to_end(owner)
        return card

    def keep(self, owner: WorkspaceID, card: Card) -> None:
        """Keep a card, if there is room for one of its size at all."""
        self.drop(owner)
        if card.weight > self.most * MEAN_SIZE:
            return
        self._cards[owner] = card
        self.bytes_held += card.weight
        while len(self._cards) > self.most or self.bytes_held > self.most * MEAN_SIZE:
            self.drop(next(iter(self._cards)))

    def drop(self, owner: WorkspaceID) -> None:
        """Forget a card, if it is there."""
        card = self._cards.pop(owner, None)
        if card is not None:
            self.bytes_held -= card.weight

    def forget(self, owners: frozenset[WorkspaceID] | None) -> None:
        """Forget the cards of ``owners``, or all."""
        if owners is None:
            self._cards.clear()
            self.bytes_held = 0
            return
        for owner in owners:
            self.drop(owner)


class LocalResolver:
    """Finds the cards of this server's own organization and workspaces.

    :param most: how many cards are kept; 0 keeps none.
    """

    def __init__(self, reactor: IReactorTime, database: Database, changes: Follower, most: int):
        self._reactor = reactor
        self._database = database
        self._changes = changes
        self.cache = CardCache(most)
        self._domains: dict[WorkspaceID, tuple[Domain, float]] = {}
        changes.watch(self.cache.forget)

    async def is_in(self, workspace: WorkspaceID, domain: Domain | None) -> bool:
        """Tell whether a workspace is registered, not archived, and in a domain; remember it for a second.

        :param domain: ``None`` means any.
        """
        now = self._reactor.seconds()
        known, until = self._domains.get(workspace, (None, now))
        if known is None or now >= until:
            known = await self._database.read(workspaces.find_domain, workspace)
            if known is None:
                self._domains.pop(workspace, None)
                return False
            if len(self._domains) >= self.cache.most:
                self._domains.clear()
            self._domains[workspace] = known, now + _MEMORY
        return domain is None or known == domain

    async def current(self, owner: WorkspaceID) -> StoredEntry | None:
        """Give the newest entry of a card, if it has any."""
        card = await self._small_card(owner)
        if card is not None:
            return card.entries[-1]
        return await self._newest(owner)

    async def excerpt(
        self, owner: WorkspaceID, start: int, end: int | None
    ) -> Sequence[StoredEntry] | Extent | None:
        """Give entries of a card, or how much they are if the card is large; ``None`` if there are none.

        :param start: 0 or less means the newest entry only.
        :param end: ``None`` means to the end.
        """
        card = await self._small_card(owner)
        if card is not None:
            return card.excerpt(start, end) or None
        if start <= 0:
            newest = await self._newest(owner)
            return None if newest is None else [newest]
        return await self._database.read(keycards.measure, owner, start, end)

    async def texts(self, owner: WorkspaceID, extent: Extent) -> AsyncIterator[str]:
        """Read the texts of many entries, a few at a time: entries never change, so this is a snapshot."""
        for first in range(extent.first, extent.last + 1, _PAGE):
            last = min(first + _PAGE - 1, extent.last)
            for text in await self._database.read(keycards.list_texts, owner, first, last):
                yield text

    async def _small_card(self, owner: WorkspaceID) -> Card | None:
        """Give a card that is small enough to be kept."""
        known = self.cache.find(owner, self._reactor.seconds())
        if known is _LARGE:
            return None
        if known is not None and self._changes.is_current:
            return known
        generation = self._changes.generation
        entries = await self._database.read(keycards.read_card, owner)
        if not entries:
            return None
        card = Card(tuple(entries), self._reactor.seconds() + _time_to_live(entries[-1]))
        # What changed while it was read may have changed it.
        if generation == self._changes.generation:
            self.cache.keep(owner, card)
        return card

    async def _newest(self, owner: WorkspaceID) -> StoredEntry | None:
        """Read the newest entry of a card that is not small, and remember that it is not."""
        generation = self._changes.generation
        entry = await self._database.read(keycards.current_entry, owner)
        if entry is not None and generation == self._changes.generation:
            self.cache.keep(owner, _LARGE)
        return entry


def _time_to_live(entry: StoredEntry) -> int:
    """Tell for how many seconds a resolver may keep a card with this entry."""
    try:
        return Entry.from_text(entry.text).time_to_live * _DAY
    except KeycardFault:
        return 0
