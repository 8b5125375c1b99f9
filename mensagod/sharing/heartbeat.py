"""A process shows the others that it lives (spec 06, *Running many*)."""

import os
import socket
from collections.abc import Callable
from typing import Final
from uuid import UUID

from attrs import define, field
from twisted.internet.interfaces import IReactorTime

from mensagod.errors import ServerUnavailable
from mensagod.lifecycle.periodic import Periodic
from mensagod.storage import processes
from mensagod.storage.database import Database

SECONDS: Final = 10
"""How often a process tells the database that it lives."""


def process_name() -> str:
    """Name this process for the operator: its machine, and its number there."""
    return f"{socket.gethostname()}:{os.getpid()}"


@define(eq=False)
class Heartbeat:
    """Keeps a process known to the database from its start to its stop.

    :ivar forgotten: called when others have taken the process for dead, and its sessions' rows are gone.
    """

    clock: IReactorTime
    database: Database
    process: UUID
    forgotten: Callable[[], None]
    _name: str = field(default="", init=False)
    _beats: Periodic = field(init=False)

    def __attrs_post_init__(self) -> None:
        complaint = "the process cannot show that it lives"
        self._beats = Periodic(self.clock, SECONDS, self._beat, complaint, now=False)

    async def start(self) -> None:
        """Enroll the process, and go on.

        :raises ServerUnavailable: while the database is away.
        """
        # Not before: a daemon has another number than the process that put it together.
        self._name = process_name()
        await self.database.run(processes.enroll, self.process, self._name)
        self._beats.startService()

    async def stop(self) -> None:
        """Be silent, and have the process and its sessions forgotten at once."""
        self._beats.stopService()
        try:
            await self.database.run(processes.dismiss, self.process)
        except ServerUnavailable:
            return

    async def _beat(self) -> None:
        if not await self.database.run(processes.enroll, self.process, self._name):
            self.forgotten()
