"""The free space of the content store, asked for at most once a second."""

from typing import Final

from attrs import define, field
from twisted.internet.interfaces import IReactorTime

from mensagod.contents.interfaces import IContentStore
from mensagod.threads.interfaces import Threads

VALID_SECONDS: Final = 1.0
"""How long an answer of the store is used."""


@define(eq=False)
class Room:
    """Remembers how much space is free, because the question needs a thread."""

    clock: IReactorTime
    store: IContentStore
    threads: Threads
    _percent: float = field(default=0.0, init=False)
    _asked: float | None = field(default=None, init=False)

    async def free_percent(self) -> float:
        """Give the free space in percent, as it was a second ago at most."""
        now = self.clock.seconds()
        if self._asked is None or not 0 <= now - self._asked < VALID_SECONDS:
            self._percent = await self.threads.run(self.store.free_percent)
            self._asked = now
        return self._percent
