"""Failures in the database (spec 04, *Failure limits*)."""

from datetime import timedelta

from twisted.internet.defer import Deferred, gatherResults

from mensagod.storage import failures
from mensagod.storage.failures import Limit
from mensagod.storage.rows import Transaction
from tests.databases import DatabaseTestCase

PASSWORD = Limit("password", 5, timedelta(minutes=15), timedelta(minutes=15))
DEVICE = Limit("device", 5, timedelta(minutes=15), timedelta(minutes=15))
SOURCE = "192.0.2.1"


class FailuresTests(DatabaseTestCase):
    """A limit is data: kinds and sources do not mix."""

    async def miss(self, limit: Limit, source: str = SOURCE) -> bool:
        """Note a failure; tell whether it locked out."""
        return await self.database.write(failures.note_failure, limit, source) is not None

    async def is_locked(self, limit: Limit, source: str = SOURCE) -> bool:
        return await self.database.read(failures.find_lock, limit, source) is not None

    async def change(self, statement: str, *parameters: object) -> None:
        await self.database.write(lambda txn: txn.execute(statement, parameters))

    async def pass_time(self, seconds: int) -> None:
        """Let time pass for the failures that count."""
        await self.change(
            "UPDATE failures SET times = ARRAY(SELECT time - %s * interval '1 second'"
            " FROM unnest(times) WITH ORDINALITY AS slot (time, number) ORDER BY number)",
            seconds,
        )

    async def count(self) -> int:
        def rows(txn: Transaction) -> int:
            txn.execute("SELECT count(*) AS total FROM failures")
            row = txn.fetchone()
            return -1 if row is None else int(row.total)

        return await self.database.read(rows)

    async def test_limit(self) -> None:
        """The failure that reaches the limit locks out its source and kind, and no other."""
        self.assertEqual([await self.miss(PASSWORD) for _ in range(5)], [False] * 4 + [True])
        for limit, source, locked in (
            (PASSWORD, SOURCE, True),
            (PASSWORD, "192.0.2.2", False),
            (DEVICE, SOURCE, False),
        ):
            self.assertEqual(await self.is_locked(limit, source), locked)

    async def test_extremes(self) -> None:
        """A limit of 1 locks out at once, one of 0 or without a window never."""
        one = Limit("server", 1, timedelta(minutes=1), timedelta(minutes=1))
        self.assertTrue(await self.miss(one))
        self.assertTrue(await self.miss(one))
        for most, minutes in ((0, 1), (3, 0)):
            never = Limit("regcode", most, timedelta(minutes=minutes), timedelta(minutes=minutes))
            self.assertEqual([await self.miss(never) for _ in range(9)], [False] * 9)

    async def test_clear(self) -> None:
        """A success forgets the failures before it."""
        for _ in range(4):
            await self.miss(PASSWORD)
        self.assertTrue(await self.database.write(failures.clear, PASSWORD, SOURCE))
        self.assertFalse(await self.database.write(failures.clear, PASSWORD, SOURCE))
        self.assertFalse(await self.miss(PASSWORD))

    async def test_at_once(self) -> None:
        """Of many failures at the same time none is lost."""
        results = await gatherResults([Deferred.fromCoroutine(self.miss(PASSWORD)) for _ in range(5)])
        self.assertEqual(sorted(results), [False] * 4 + [True])

    async def test_window(self) -> None:
        """A failure counts for the whole window, and no longer."""
        for seconds, locks in ((15 * 60 - 2, True), (15 * 60, False)):
            await self.change("DELETE FROM failures")
            for _ in range(4):
                await self.miss(PASSWORD)
            await self.pass_time(seconds)
            self.assertEqual(await self.miss(PASSWORD), locks)

    async def test_each_counts(self) -> None:
        """Each failure leaves the window by itself."""
        for _ in range(4):
            await self.miss(PASSWORD)
            await self.pass_time(5 * 60)
        # Those of 20 and 15 minutes ago have left.
        self.assertEqual([await self.miss(PASSWORD) for _ in range(3)], [False, False, True])

    async def test_after_a_lockout(self) -> None:
        """What led to a lockout does not count once that is over."""
        for _ in range(5):
            await self.miss(PASSWORD)
        await self.change("UPDATE failures SET locked_until = now() - interval '1 second'")
        self.assertFalse(await self.is_locked(PASSWORD))
        self.assertEqual([await self.miss(PASSWORD) for _ in range(5)], [False] * 4 + [True])

    async def test_restart(self) -> None:
        """A try restarts a lockout that is older than a second; one that is over stays over."""
        for _ in range(5):
            await self.miss(PASSWORD)
        self.assertIsNone(await self.database.write(failures.restart_lock, PASSWORD, SOURCE))
        for shift, is_aged in (("0", False), ("2 seconds", True), ("14 minutes", True)):
            await self.change("UPDATE failures SET locked_until = locked_until - %s::interval", shift)
            lock = await self.database.read(failures.find_lock, PASSWORD, SOURCE)
            assert lock is not None
            self.assertEqual(lock.is_aged, is_aged)
            until = await self.database.write(failures.restart_lock, PASSWORD, SOURCE)
            self.assertEqual(until is not None and until > lock.until, is_aged)
        await self.change("UPDATE failures SET locked_until = now() - interval '1 second'")
        self.assertIsNone(await self.database.write(failures.restart_lock, PASSWORD, SOURCE))

    async def test_clock_set_back(self) -> None:
        """What was written by a clock that was a day ahead is over: lockouts, failures, rows."""
        for _ in range(5):
            await self.miss(PASSWORD)
        await self.change("UPDATE failures SET locked_until = locked_until + interval '1 day'")
        self.assertFalse(await self.is_locked(PASSWORD))
        self.assertIsNone(await self.database.write(failures.restart_lock, PASSWORD, SOURCE))
        self.assertEqual([await self.miss(PASSWORD) for _ in range(4)], [False] * 4)
        await self.pass_time(-24 * 60 * 60)
        self.assertEqual([await self.miss(PASSWORD) for _ in range(5)], [False] * 4 + [True])
        await self.change("UPDATE failures SET expires = now() + interval '1 year'")
        await self.database.run(failures.forget_expired)
        self.assertEqual(await self.count(), 0)

    async def test_clock_set_back_a_little(self) -> None:
        """Failures that lie ahead by less than the window count still."""
        for _ in range(4):
            await self.miss(PASSWORD)
        await self.pass_time(-10 * 60)
        self.assertTrue(await self.miss(PASSWORD))

    async def test_forgotten(self) -> None:
        """Rows that matter no more are removed, and only they."""
        await self.miss(PASSWORD)
        await self.database.run(failures.forget_expired)
        self.assertEqual(await self.count(), 1)
        await self.change("UPDATE failures SET expires = expires - interval '1 day'")
        await self.database.run(failures.forget_expired)
        self.assertEqual(await self.count(), 0)

    async def test_bounded(self) -> None:
        """A row never grows, however high the limit and however long there are failures."""
        limit = Limit("password", 100_000, timedelta(minutes=15), timedelta(minutes=15))
        await self.miss(limit)
        await self.change(
            "UPDATE failures SET slot = 99, used = 1000,"
            " times = array_fill(now() - interval '1 hour', ARRAY[100])"
        )
        for _ in range(5):
            await self.miss(limit)
            await self.change("UPDATE failures SET used = 1000")

        def size(txn: Transaction) -> int:
            txn.execute("SELECT cardinality(times) AS size FROM failures")
            row = txn.fetchone()
            return -1 if row is None else int(row.size)

        self.assertEqual(await self.database.read(size), 100)
