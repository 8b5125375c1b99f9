"""The log of events in the database: no number is missing, none comes late (spec 06, *Running many*)."""

from datetime import timedelta
from functools import partial

from psycopg2.errors import CheckViolation, UniqueViolation
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.threads import deferToThread

from mensagod.sharing.follower import StoredEventLog
from mensagod.storage import events
from mensagod.storage.connections import Connection
from mensagod.storage.events import KEEP_SECONDS, CardChange, Ending
from mensagod.storage.rows import Transaction
from mensagod.values.identity import WorkspaceID
from tests.databases import DatabaseTestCase
from tests.sharing.logs import ALICE, BOB, EventLogContract
from tests.storage.waiting import until_someone_waits


class StoredEventLogTests(EventLogContract, DatabaseTestCase):
    """The real one."""

    async def prepare(self) -> None:
        self.log = StoredEventLog(self.database)

    async def add(self, subject: CardChange | Ending) -> int:
        return await self.database.run(events.add, subject)

    async def forget(self, count: int) -> None:
        await self.database.run(
            lambda txn: txn.execute(
                "UPDATE events SET at = at - interval '2 hours' WHERE number IN"
                " (SELECT number FROM events ORDER BY number LIMIT %s)",
                (count,),
            )
        )
        await self.database.run(events.forget_old)


class AgeTests(DatabaseTestCase):
    async def left(self, **age: float) -> int:
        """Add an event of that age, and tell how many there are after the old ones were removed."""

        def add(txn: Transaction) -> None:
            number = events.add(txn, CardChange(ALICE))
            txn.execute("UPDATE events SET at = now() - %s WHERE number = %s", (timedelta(**age), number))

        await self.database.run(add)
        await self.database.run(events.forget_old)
        found = await self.database.read(events.read_after, 0)
        return len(found.events)

    async def test_forget_old(self) -> None:
        """An event is kept for an hour; one that a clock which ran ahead put down goes at once."""
        self.assertEqual(await self.left(seconds=KEEP_SECONDS - 60), 1)
        self.assertEqual(await self.left(seconds=KEEP_SECONDS + 60), 1)
        self.assertEqual(await self.left(seconds=-KEEP_SECONDS - 60), 1)
        self.assertEqual(await self.left(seconds=0), 2)


class CommitTests(DatabaseTestCase):
    """Transactions that overlap."""

    async def prepare(self) -> None:
        self.log = StoredEventLog(self.database)
        self.slow: Connection = self.connect()

    def begin(self) -> int:
        """Add an event in a transaction that goes on."""
        with self.slow.cursor() as cursor:
            return events.add(Transaction(cursor), CardChange(ALICE))

    async def test_slow_transaction(self) -> None:
        """An event is not seen before those with lower numbers, however long their transactions take."""
        for first in (0, 2):
            number = self.begin()
            later = self.database.run(events.add, CardChange(BOB))
            await self.database.read(until_someone_waits)
            self.assertEqual((await self.log.read_after(first)).events, ())
            self.slow.commit()
            self.assertEqual((number, await later), (first + 1, first + 2))
            found = await self.log.read_after(first)
            self.assertEqual([event.subject for event in found.events], [CardChange(ALICE), CardChange(BOB)])

    async def test_rollback(self) -> None:
        """A transaction that is undone leaves no gap."""
        self.assertEqual(self.begin(), 1)
        self.slow.rollback()
        self.assertEqual(await self.database.run(events.add, CardChange(BOB)), 1)
        self.assertEqual(self.begin(), 2)
        self.slow.rollback()
        self.assertEqual(await self.database.run(events.add, CardChange(BOB)), 2)
        self.assertEqual((await self.log.read_after(None)).last, 2)

    async def test_many_writers(self) -> None:
        """Of many writers and a reader that follows them each event is read once, in order, without a gap."""
        writing = gatherResults(
            [
                Deferred.fromCoroutine(self.write([WorkspaceID.random() for _ in range(20)]))
                for _ in range(self.pool_max - 1)
            ]
        )
        numbers: list[int] = []
        while not writing.called or numbers[-1:] != [20 * (self.pool_max - 1)]:
            found = await self.log.read_after(len(numbers))
            numbers += [event.number for event in found.events]
            self.assertEqual(numbers, list(range(1, found.last + 1)))
        await writing

    async def write(self, owners: list[WorkspaceID]) -> None:
        for owner in owners:
            await self.database.run(events.add, CardChange(owner))

    async def test_newest(self) -> None:
        """The newest event is the last that is committed."""
        self.begin()
        self.assertEqual(await self.database.read(events.newest), 0)
        self.slow.commit()
        self.begin()
        self.assertEqual(await self.database.read(events.newest), 1)
        self.slow.rollback()

    async def test_read_once(self) -> None:
        """Reading is one statement, which no writer holds up."""
        self.begin()
        reading = deferToThread(partial(self.read_on, self.connect()))
        self.assertEqual(await reading, (0, ()))
        self.slow.rollback()

    def read_on(self, connection: Connection) -> tuple[int, tuple[object, ...]]:
        with connection, connection.cursor() as cursor:
            found = events.read_after(Transaction(cursor), 0)
        return found.last, found.events

    async def test_constraints(self) -> None:
        """The counter has one row; kinds are known, and have what belongs to them."""
        connection = self.connect()
        connection.autocommit = True
        self.begin()
        self.slow.commit()
        wrong = {
            "INSERT INTO event_counter (last) VALUES (7)": UniqueViolation,
            "INSERT INTO event_counter (id, last) VALUES (2, 7)": CheckViolation,
            "UPDATE event_counter SET last = 0": CheckViolation,
            "INSERT INTO events SELECT * FROM events": UniqueViolation,
            "UPDATE events SET kind = 'other'": CheckViolation,
            "UPDATE events SET kind = 'sessions'": CheckViolation,
            "UPDATE events SET reason = 'x'": CheckViolation,
            "UPDATE events SET device = gen_random_uuid()": CheckViolation,
            "UPDATE events SET spare = gen_random_uuid()": CheckViolation,
        }
        for statement, error in wrong.items():
            with self.assertRaises(error), connection.cursor() as cursor:
                cursor.execute(statement)
