"""A process shows that it lives (spec 06, *Running many*)."""

import os
import socket
from collections.abc import Callable
from typing import Any, cast
from uuid import UUID

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mensagod.errors import ServerUnavailable
from mensagod.sharing.heartbeat import SECONDS, Heartbeat
from mensagod.storage import processes
from mensagod.storage.database import Database

PROCESS = UUID(int=1)


class ProcessTable:
    """A database with the processes that are known.

    :ivar is_away: whether it cannot be reached.
    """

    def __init__(self) -> None:
        self.known: set[UUID] = set()
        self.names: list[str] = []
        self.is_away = False

    async def run(self, interaction: Callable[..., Any], process: UUID, *names: str) -> bool:
        if self.is_away:
            raise ServerUnavailable
        was_known = process in self.known
        if interaction is processes.enroll:
            self.names.extend(names)
            self.known.add(process)
        elif interaction is processes.dismiss:
            self.known.remove(process)
        return was_known


class HeartbeatTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock, self.table = Clock(), ProcessTable()
        self.forgotten = 0
        self.heart = Heartbeat(self.clock, cast(Database, self.table), PROCESS, self.note)

    def note(self) -> None:
        self.forgotten += 1

    def start(self) -> None:
        self.successResultOf(Deferred.fromCoroutine(self.heart.start()))

    def stop(self) -> None:
        self.successResultOf(Deferred.fromCoroutine(self.heart.stop()))

    def test_beats(self) -> None:
        """The process is known at once, says so every ten seconds, and is forgotten in the end."""
        self.patch(os, "getpid", lambda: 7)
        self.start()
        self.clock.pump([SECONDS, SECONDS])
        self.assertEqual(self.table.names, [f"{socket.gethostname()}:7"] * 3)
        self.assertLess(SECONDS, processes.DEAD_SECONDS / 2)
        self.stop()
        self.clock.advance(SECONDS)
        self.assertEqual((self.table.known, self.forgotten), (set(), 0))

    def test_taken_for_dead(self) -> None:
        """That others forgot the process is told once."""
        self.start()
        self.table.known.clear()
        self.clock.pump([SECONDS, SECONDS])
        self.assertEqual(self.forgotten, 1)
        self.assertEqual(self.table.known, {PROCESS})

    def test_away(self) -> None:
        """The start fails while the database is away; later it goes on as soon as that is back."""
        self.table.is_away = True
        self.failureResultOf(Deferred.fromCoroutine(self.heart.start()), ServerUnavailable)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.table.is_away = False
        self.start()
        self.table.is_away = True
        self.clock.advance(SECONDS)
        self.table.is_away = False
        self.table.known.clear()
        self.clock.advance(SECONDS)
        self.assertEqual(self.forgotten, 1)
        self.table.is_away = True
        self.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])
