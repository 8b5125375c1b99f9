"""Resolves keycards of the server's own domains, with a cache (spec 03, *The server's duties*; 04, GETCARD).

Small cards are cached, limited in number and in bytes. Large cards are read from the database when needed, a
few entries at a time.
"""

from collections.abc import AsyncIterator, Sequence
from math import inf
from typing import Final

from cachetools import TTLCache
from twisted.internet.interfaces import IReactorTime

from mensagod.keycards.cache import Card, CardCache
from mensagod.keycards.entries import Entry
from mensagod.keycards.errors import KeycardFault
from mensagod.sharing.follower import Follower
from mensagod.storage import keycards, workspaces
from mensagod.storage.database import Database
from mensagod.storage.keycards import Extent, StoredEntry
from mensagod.values.identity import Domain, WorkspaceID

_PAGE: Final = 32
_DAY: Final = 86_400
_DOMAIN_SECONDS: Final = 1.0  # how long a domain is cached, because no event reports an archived workspace

_LARGE: Final[Card[StoredEntry]] = Card((), inf)
"""Cached in place of a large card, so that its size is not read again until the card changes."""


class LocalResolver:
    """Finds the cards of this server's own organization and workspaces.

    :param most: how many cards are cached; 0 means none.
    """

    def __init__(self, reactor: IReactorTime, database: Database, changes: Follower, most: int):
        self._reactor = reactor
        self._database = database
        self._changes = changes
        self.cache: CardCache[StoredEntry] = CardCache(most, reactor.seconds)
        self._domains: TTLCache[WorkspaceID, Domain] = TTLCache(
            max(1, most), _DOMAIN_SECONDS, reactor.seconds
        )
        changes.watch(self.cache.forget)

    async def is_in(self, workspace: WorkspaceID, domain: Domain | None) -> bool:
        """Tell whether a workspace is registered, not archived, and in a domain; cache that for a second.

        :param domain: the domain; ``None`` means any.
        """
        known = self._domains.get(workspace)
        if known is None:
            known = await self._database.read(workspaces.find_domain, workspace)
            if known is None:
                return False
            self._domains[workspace] = known
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
        """Give entries of a card, or their extent if the card is large; ``None`` if there are none.

        :param start: the number of the first entry; 0 or less means only the newest entry.
        :param end: the number of the last entry; ``None`` means the newest.
        """
        card = await self._small_card(owner)
        if card is not None:
            return card.excerpt(start, end) or None
        if start <= 0:
            newest = await self._newest(owner)
            return None if newest is None else [newest]
        return await self._database.read(keycards.measure, owner, start, end)

    async def texts(self, owner: WorkspaceID, extent: Extent) -> AsyncIterator[str]:
        """Read the texts of many entries, a few at a time. Entries never change, so this is a snapshot."""
        for first in range(extent.first, extent.last + 1, _PAGE):
            last = min(first + _PAGE - 1, extent.last)
            for text in await self._database.read(keycards.list_texts, owner, first, last):
                yield text

    async def _small_card(self, owner: WorkspaceID) -> Card[StoredEntry] | None:
        """Give a card if it is small enough to be cached; else ``None``."""
        known = self.cache.find(owner)
        if known is _LARGE:
            return None
        if known is not None and self._changes.is_current:
            return known
        generation = self._changes.generation
        entries = await self._database.read(keycards.read_card, owner)
        if not entries:
            return None
        card = Card(tuple(entries), self._reactor.seconds() + _time_to_live(entries[-1]))
        # A change that was reported while the card was read may not be in it.
        if generation == self._changes.generation:
            self.cache.keep(owner, card)
        return card

    async def _newest(self, owner: WorkspaceID) -> StoredEntry | None:
        """Read the newest entry of a large card, and cache that it is large."""
        generation = self._changes.generation
        entry = await self._database.read(keycards.current_entry, owner)
        if entry is not None and generation == self._changes.generation:
            self.cache.keep(owner, _LARGE)
        return entry


def _time_to_live(entry: StoredEntry) -> int:
    """Give the time in seconds for which a card with this entry may be cached."""
    try:
        return Entry.from_text(entry.text).time_to_live * _DAY
    except KeycardFault:
        return 0
