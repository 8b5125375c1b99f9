"""Removal of contents that nothing needs (spec 06, *Files*).

A content is erased ``performance.garbage_hours`` after the last row that needed it has gone, so that a
database that is put back to a moment within that time finds all its contents. Three kinds come to that:
contents that messages or files had; those whose writer died before they were accepted, which their rows in
``writings`` tell; and those that no row knows, because a crash of PostgreSQL took the row, or because the
database was put back. The last kind is looked for day by day, some days later, when nothing can be on its
way.
"""

from collections.abc import Callable, Sequence
from datetime import date, datetime, timedelta
from typing import Final
from uuid import UUID

from twisted.application.service import MultiService
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from mensagod.config import Config
from mensagod.contents.interfaces import IContentStore
from mensagod.contents.keys import ContentKey
from mensagod.lifecycle.periodic import Periodic
from mensagod.storage import contents
from mensagod.storage.clocks import ClockAgreement
from mensagod.storage.interfaces import Interactions
from mensagod.threads.interfaces import Threads

CLEAN_SECONDS: Final = 60
"""How often contents that nothing needs are looked for."""

SWEEP_SECONDS: Final = 6 * 3600
"""How often contents that no row knows are looked for."""

SWEEP_AFTER: Final = timedelta(days=2)
"""The least age of a day on which contents that no row knows are looked for."""

SWEEP_DAYS: Final = 7
"""For how many days that is done."""

MOST: Final = 200
"""How many contents are looked at together."""


class Cleanup(MultiService):
    """Looks for all three kinds again and again, from its start on."""

    _log = Logger(namespace="mensagod.delivery")

    def __init__(
        self,
        *,
        reactor: IReactorTime,
        config: Callable[[], Config],
        database: Interactions,
        store: IContentStore,
        threads: Threads,
        clocks: ClockAgreement,
    ):
        super().__init__()
        self._config = config
        self._database = database
        self._store = store
        self._threads = threads
        self._clocks = clocks
        for seconds, work, complaint in (
            (CLEAN_SECONDS, self.clean, "contents that nothing needs cannot be removed"),
            (SWEEP_SECONDS, self.sweep, "contents that no row knows cannot be looked for"),
        ):
            Periodic(reactor, seconds, work, complaint).setServiceParent(self)

    async def clean(self) -> None:
        """Make contents garbage whose writers died, and erase garbage that is old enough."""
        while dead := await self._database.read(contents.list_dead_writings, MOST):
            await self._database.run(contents.discard_writings, dead)
            for content in dead:
                self._log.info("content {key} was never accepted", key=str(content.key.id))
        await self._database.write(contents.date_garbage_anew)
        hours = self._config().performance.garbage_hours
        old = await self._database.read(contents.find_old_garbage, hours)
        # What is erased is gone: the clocks have to confirm that it is old (spec 06, *Clocks lie*).
        subjects = [("garbage", hour) for hour in old.hours]
        for _, hour in self._clocks.confirmed_of(subjects, old.now):
            await self._erase(hours, hour)

    async def _erase(self, hours: int, hour: datetime) -> None:
        """Erase what became garbage in one hour."""
        while self.running and (
            garbage := await self._database.read(contents.list_garbage, hours, hour, MOST)
        ):
            await self._threads.run(self._remove, [content.key for content in garbage])
            await self._database.run(contents.forget_garbage, garbage)

    async def sweep(self) -> None:
        """Name contents that no row knows, and make them garbage."""
        newest = await self._database.read(contents.today) - SWEEP_AFTER
        oldest = newest - timedelta(days=SWEEP_DAYS)
        for day in await self._threads.run(self._store.list_days):
            if oldest <= day <= newest:
                await self._sweep_day(day)

    async def _sweep_day(self, day: date) -> None:
        after: UUID | None = None
        while self.running and (found := await self._threads.run(self._store.list_day, day, after, MOST)):
            after = found[-1]
            keys = [ContentKey(day, key) for key in found]
            for unknown in await self._database.run(contents.set_unknown_aside, keys):
                self._log.warn(
                    "content {key} of {day} belongs to nothing: it is erased in {hours} hours",
                    key=str(unknown.id),
                    day=str(day),
                    hours=self._config().performance.garbage_hours,
                )

    def _remove(self, keys: Sequence[ContentKey]) -> None:
        """Remove contents from the store. Runs in a thread."""
        for key in keys:
            self._store.remove(key)
