"""Erasing the organization's old private keys (spec 03, *The server's duties*; 06, *Clocks lie*)."""

from typing import Final

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from mensagod.lifecycle.periodic import Periodic
from mensagod.organization.keyring import KEEP_DAYS
from mensagod.storage import keys
from mensagod.storage.clocks import ClockAgreement
from mensagod.storage.database import Database

LOOK_SECONDS: Final = 300
"""The interval in seconds at which old keys are looked for: a key has to be found twice."""


class KeyRetention(Periodic):
    """Erases the private keys that were rotated out 30 days ago, once the clocks confirm it.

    A key whose date cannot be right was retired while a clock was wrong. How old it is, nobody knows; so its
    30 days begin anew, once the clocks confirm that it is wrong.
    """

    _log = Logger(namespace="mensagod.keys")

    def __init__(self, reactor: IReactorTime, database: Database, clocks: ClockAgreement):
        super().__init__(reactor, LOOK_SECONDS, self.look, "old keys of the organization cannot be erased")
        self._database = database
        self._clocks = clocks

    async def look(self) -> None:
        """Look for such keys once.

        :raises mensagod.errors.ServerUnavailable: while the database is away.
        """
        found = await self._database.read(keys.find_over, KEEP_DAYS)
        confirmed = self._clocks.confirmed_of(found.keys, found.now)
        over = [key.public for key in confirmed if not key.is_misdated]
        if over:
            await self._database.run(keys.erase, over, KEEP_DAYS)
            self._log.info("{count} old private keys were erased", count=len(over), event="keys_erased")
        misdated = [key.public for key in confirmed if key.is_misdated]
        if misdated:
            await self._database.run(keys.retire_anew, misdated)
            self._log.warn(
                "the date of {count} old keys was wrong: they are kept for {days} days from now on",
                count=len(misdated),
                days=KEEP_DAYS,
                event="keys_misdated",
            )
