"""Parts whose start needs the database, which may be away (spec 06, *Database*)."""

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
"""How long to wait for a database that is away before it is asked again."""

_log = Logger(namespace="mensagod.lifecycle")


@define(eq=False)
class PatientPart:
    """A part whose start is tried again, for as long as the database is away.

    :ivar away: called when it is found to be away, each time.
    """

    clock: IReactorTime
    away: Callable[[], None]
    part: Part

    async def start(self) -> None:
        """Start the part, however often that takes."""
        told = False
        while True:
            try:
                await self.part.start()
            except (ServerUnavailable, psycopg2.OperationalError) as error:
                if not told:
                    _log.error("the database is away: {error}", error=" ".join(str(error).split()))
                    told = True
                self.away()
                await deferLater(self.clock, AWAY_SECONDS)
            else:
                return

    def stop(self) -> Awaitable[object]:
        """Stop the part."""
        return self.part.stop()
