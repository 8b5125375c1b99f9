"""PostgreSQL killed under load: every call ends as promised, and none with another error."""

import os
import signal
from collections import Counter
from typing import Any

import psycopg2
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater

from mensagod.errors import ServerUnavailable
from mensagod.storage.connections import is_lost
from mensagod.storage.database import CommitUnknown, Database, DatabaseUnavailable
from mensagod.storage.rows import Transaction, one
from tests.databases import DatabaseTestCase
from tests.postgres.test_embedded import EmbeddedTestCase, execute

ROUNDS = 3


def add_some(txn: Transaction, numbers: list[int]) -> None:
    for number in numbers:
        txn.execute("INSERT INTO numbers (number) VALUES (%s)", (number,))


def backend(txn: Transaction) -> int:
    txn.execute("SELECT pg_backend_pid() AS pid")
    return one(lambda row: int(row.pid), txn)


class KilledTests(EmbeddedTestCase):
    """Callers in a loop, while processes of PostgreSQL are killed."""

    def setUp(self) -> Deferred[None]:  # type: ignore[override]
        super().setUp()
        return Deferred.fromCoroutine(self._set_up())

    async def _set_up(self) -> None:
        self.postgres = self.make()
        await self.postgres.start()
        execute(self.postgres, "CREATE TABLE numbers (number integer)")
        self.service = Database(reactor, self.postgres.connection, 1, 6)
        self.service.startService()
        self.addCleanup(self.service.stopService)
        self.outcomes: Counter[str] = Counter()
        self.done: list[int] = []
        self.unknown: list[int] = []
        self.busy = True

    async def call(self, number: int) -> None:
        """Call until told to stop, and note what came of it."""
        while self.busy:
            number += 3
            numbers = [number] if number % 2 else [number, number + 1, number + 2]
            method: Any = self.service.write if len(numbers) == 1 else self.service.run
            try:
                await method(add_some, numbers)
                self.done += numbers
                self.outcomes["done"] += 1
            except CommitUnknown:
                self.unknown += numbers
            except DatabaseUnavailable:
                await deferLater(reactor, 0.01)
            except Exception as error:
                self.outcomes[repr(error)] += 1

    async def kill(self, pid: int) -> None:
        os.kill(pid, signal.SIGKILL)
        await deferLater(reactor, 0.3)
        while True:
            try:
                return await self.service.run(add_some, [])
            except ServerUnavailable:
                await deferLater(reactor, 0.05)

    async def test_killed(self) -> None:
        """Only done, away or unknown; what is done is there, what is not is not, nothing is doubled."""
        callers = gatherResults([Deferred.fromCoroutine(self.call(n * 1_000_000)) for n in range(12)])
        for _ in range(ROUNDS):
            await deferLater(reactor, 0.2)
            await self.kill(await self.service.read(backend))
            await deferLater(reactor, 0.2)
            await self.kill(self.pid())
        self.busy = False
        await callers
        self.assertEqual(set(self.outcomes), {"done"})
        there = Counter(number for (number,) in execute(self.postgres, "SELECT number FROM numbers"))
        self.assertEqual([number for number, times in there.items() if times > 1], [])
        self.assertEqual(set(self.done) - set(there), set())
        self.assertEqual(set(there) - set(self.done) - set(self.unknown), set())


class Coded(psycopg2.DatabaseError):
    """An error as the server gives it, with a code."""

    def __init__(self, code: str):
        super().__init__(code)
        self.code = code

    pgcode = property(lambda self: self.code)


class LostTests(DatabaseTestCase):
    """How a lost connection is told from a fault of a statement."""

    def test_errors(self) -> None:
        """An error without a code that is not of a class of its own, and the codes of a server that goes."""
        connection = self.connect()
        for error, lost in (
            (psycopg2.DatabaseError("server closed the connection unexpectedly"), True),
            (psycopg2.OperationalError("server closed the connection unexpectedly"), True),
            (psycopg2.ProgrammingError("no results to fetch"), False),
            (psycopg2.InterfaceError("cursor already closed"), False),
            (psycopg2.DataError("a fault"), False),
            *((Coded(code), True) for code in ("57P01", "57P02", "57P03", "08006", "08P01")),
            *((Coded(code), False) for code in ("57014", "40001", "53300", "23505", "XX000")),
        ):
            self.assertEqual(is_lost(connection, error), lost, repr(error))
        connection.close()
        self.assertTrue(is_lost(connection, psycopg2.InterfaceError("connection already closed")))

    async def test_base_class(self) -> None:
        """An error of the base class, as it comes while the server dies, has the work tried again."""
        for method, expected in ((self.database.run, None), (self.database.write, CommitUnknown)):
            tries: list[int] = []

            def fail_once(txn: Transaction, tries: list[int] = tries) -> None:
                tries.append(1)
                if len(tries) == 1:
                    raise psycopg2.DatabaseError("server closed the connection unexpectedly")

            if expected is None:
                await method(fail_once)
            else:
                with self.assertRaises(expected):
                    await method(fail_once)
            self.assertEqual(len(tries), 2 if expected is None else 1)
