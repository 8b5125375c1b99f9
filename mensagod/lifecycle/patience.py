"""Parts whose start needs the database, which may be unavailable (spec 06, *Database*)."""

from collections.abc import Awaitable, Callable
from typing import Final

import psycopg2
from attrs import define
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from mensagod.errors import ServerUnavailable
from mensagod.lifecycle.parts import Part

AWAY_SECONDS: Final = 1
"""How long to wait, in seconds, before a start that found the database unavailable is tried again."""

_log = Logger(namespace="mensagod.lifecycle")


@define(eq=False)
class PatientPart:
    """A part whose start is retried while the database is unavailable.

    :ivar away: called after each try that found the database unavailable.
    """

    clock: IReactorTime
    away: Callable[[], None]
    part: Part

    async def start(self) -> None:
        """Start the part; retry until it succeeds or fails for another reason than the database."""
        is_logged = False
        while True:
            try:
                await self.part.start()
            except (ServerUnavailable, psycopg2.OperationalError) as error:
                if not is_logged:
                    _log.error("the database is away: {error}", error=" ".join(str(error).split()))
                    is_logged = True
                self.away()
                await deferLater(self.clock, AWAY_SECONDS)
            else:
                return

    def stop(self) -> Awaitable[object]:
        """Stop the part."""
        return self.part.stop()
