"""Interactions against a real PostgreSQL."""

from mensagod.storage.rows import Transaction, one
from tests.databases import DatabaseTestCase


class InteractionTests(DatabaseTestCase):
    async def prepare(self) -> None:
        await self.database.run(_make_table)

    async def test_commit(self) -> None:
        """What an interaction writes stays."""
        await self.database.run(_add, 7)
        self.assertEqual(await self.database.read(_count), 1)

    async def test_rollback(self) -> None:
        """What an interaction raises comes out as it is, and nothing stays."""

        def fail(txn: Transaction) -> None:
            _add(txn, 7)
            raise KeyError("mine")

        with self.assertRaises(KeyError):
            await self.database.run(fail)
        self.assertEqual(await self.database.read(_count), 0)


def _make_table(txn: Transaction) -> None:
    txn.execute("CREATE TABLE numbers (number integer PRIMARY KEY)")


def _add(txn: Transaction, number: int) -> None:
    txn.execute("INSERT INTO numbers (number) VALUES (%s)", (number,))


def _count(txn: Transaction) -> int:
    txn.execute("SELECT count(*) AS count FROM numbers")
    return one(lambda row: int(row.count), txn)
