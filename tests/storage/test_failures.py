"""Failures and lookups in the database (spec 04, *Failure limits*)."""

from datetime import timedelta

from twisted.internet.defer import gatherResults

from mensagod.storage import failures
from mensagod.storage.failures import Allowance, Limit
from mensagod.storage.rows import Transaction
from mensagod.values.identity import Domain, UserID
from tests.databases import DatabaseTestCase

PASSWORD = Limit("password", 5, timedelta(minutes=15), timedelta(minutes=15))
DEVICE = Limit("device", 5, timedelta(minutes=15), timedelta(minutes=15))
ALLOWANCE = Allowance(10, Limit("lookup", 5, timedelta(minutes=5), timedelta(minutes=30)))
ALICE, DOMAIN = UserID.from_text("alice"), Domain.from_text("example.com")


def count_rows(txn: Transaction) -> int:
    txn.execute("SELECT (SELECT count(*) FROM failures) + (SELECT count(*) FROM lookups) AS total")
    row = txn.fetchone()
    return -1 if row is None else int(row.total)


def age(txn: Transaction) -> None:
    """Let a day pass."""
    txn.execute(
        "UPDATE failures SET expires = expires - interval '1 day',"
        " locked_until = locked_until - interval '1 day'"
    )
    txn.execute("UPDATE lookups SET seen = seen - interval '1 day'")


class FailuresTests(DatabaseTestCase):
    """A limit is data: kinds and sources do not mix."""

    async def miss(self, limit: Limit, source: str = "192.0.2.1") -> bool:
        """Note a failure; tell whether it locked out."""
        return await self.database.run(failures.note_failure, limit, source) is not None

    async def test_limit(self) -> None:
        """The failure that reaches the limit locks out its source and kind, and no other."""
        self.assertEqual([await self.miss(PASSWORD) for _ in range(5)], [False] * 4 + [True])
        for limit, source, locked in (
            (PASSWORD, "192.0.2.1", True),
            (PASSWORD, "192.0.2.2", False),
            (DEVICE, "192.0.2.1", False),
        ):
            found = await self.database.run(failures.find_lock, limit, source)
            self.assertEqual(found is not None, locked)

    async def test_extremes(self) -> None:
        """A limit of 1 locks out at once, one of 0 never."""
        one = Limit("server", 1, timedelta(minutes=1), timedelta(minutes=1))
        self.assertTrue(await self.miss(one))
        self.assertTrue(await self.miss(one))
        never = Limit("regcode", 0, timedelta(minutes=1), timedelta(minutes=1))
        self.assertEqual([await self.miss(never) for _ in range(9)], [False] * 9)

    async def test_clear(self) -> None:
        """A success forgets the failures before it."""
        for _ in range(4):
            await self.miss(PASSWORD)
        self.assertTrue(await self.database.run(failures.clear, PASSWORD, "192.0.2.1"))
        self.assertFalse(await self.database.run(failures.clear, PASSWORD, "192.0.2.1"))
        self.assertFalse(await self.miss(PASSWORD))

    async def test_at_once(self) -> None:
        """Of many failures at the same time none is lost."""
        results = await gatherResults(
            [self.database.run(failures.note_failure, PASSWORD, "192.0.2.1") for _ in range(5)]
        )
        self.assertEqual(sum(result is not None for result in results), 1)
        lookups = await gatherResults(
            [self.database.read(failures.look_up, ALICE, DOMAIN, "192.0.2.1", ALLOWANCE) for _ in range(20)]
        )
        self.assertEqual(sum(lookup.is_counted for lookup in lookups), ALLOWANCE.per_minute)

    async def test_forgotten(self) -> None:
        """Rows that matter no more are removed, and only they."""
        await self.miss(PASSWORD)
        await self.database.read(failures.look_up, ALICE, DOMAIN, "192.0.2.1", ALLOWANCE)
        await self.database.run(failures.forget_expired)
        self.assertEqual(await self.database.read(count_rows), 2)
        await self.database.run(age)
        await self.database.run(failures.forget_expired)
        self.assertEqual(await self.database.read(count_rows), 0)

    async def test_bounded(self) -> None:
        """A row never grows beyond its limit."""
        for _ in range(30):
            await self.miss(PASSWORD)
            await self.database.read(failures.look_up, ALICE, DOMAIN, "192.0.2.1", ALLOWANCE)

        def sizes(txn: Transaction) -> tuple[int, int]:
            txn.execute(
                "SELECT (SELECT max(cardinality(recent)) FROM failures) AS failures,"
                " (SELECT max(cardinality(recent)) FROM lookups) AS lookups"
            )
            row = txn.fetchone()
            return (99, 99) if row is None else (row.failures, row.lookups)

        failed, looked_up = await self.database.read(sizes)
        self.assertLessEqual(failed, PASSWORD.most)
        self.assertEqual(looked_up, ALLOWANCE.per_minute)
