"""Rows counted into values, and the types that cross the border."""

import uuid
from datetime import UTC, datetime, timedelta

from mensagod.storage.rows import Transaction, WrongRowCount, changed, many, maybe, none, one
from tests.databases import DatabaseTestCase


def _numbers(txn: Transaction, count: int) -> None:
    txn.execute("SELECT number FROM generate_series(1, %s) AS number", (count,))


class RowTests(DatabaseTestCase):
    async def prepare(self) -> None:
        connection = self.connect()
        cursor = connection.cursor()
        self.addCleanup(cursor.close)
        self.txn = Transaction(cursor)

    def select(self, count: int) -> Transaction:
        _numbers(self.txn, count)
        return self.txn

    def test_one(self) -> None:
        """``one`` gives the value of the only row, and refuses any other number."""
        self.assertEqual(one(lambda row: row.number, self.select(1)), 1)
        for count in (0, 2):
            with self.assertRaises(WrongRowCount) as caught:
                one(lambda row: row.number, self.select(count))
            self.assertEqual(caught.exception.count, count)

    def test_maybe(self) -> None:
        """``maybe`` gives the value, ``None`` without a row, and refuses more."""
        self.assertEqual(maybe(lambda row: row.number, self.select(1)), 1)
        self.assertIsNone(maybe(lambda row: row.number, self.select(0)))
        with self.assertRaises(WrongRowCount):
            maybe(lambda row: row.number, self.select(2))

    def test_many(self) -> None:
        """``many`` gives all values in order."""
        self.assertEqual(many(lambda row: row.number, self.select(3)), [1, 2, 3])
        self.assertEqual(many(lambda row: row.number, self.select(0)), [])

    def test_none(self) -> None:
        """``none`` accepts no row only."""
        none(self.select(0))
        with self.assertRaises(WrongRowCount):
            none(self.select(1))

    def test_changed(self) -> None:
        """``changed`` tells one from nothing, and refuses more."""
        self.txn.execute("CREATE TABLE numbers (number integer)")
        self.txn.execute("INSERT INTO numbers VALUES (1), (2), (2)")
        self.txn.execute("UPDATE numbers SET number = 0 WHERE number = %s", (1,))
        self.assertTrue(changed(self.txn))
        self.txn.execute("UPDATE numbers SET number = 0 WHERE number = %s", (9,))
        self.assertFalse(changed(self.txn))
        self.txn.execute("DELETE FROM numbers WHERE number = %s", (2,))
        with self.assertRaises(WrongRowCount):
            changed(self.txn)

    def test_types(self) -> None:
        """UUIDs, times and bytes go in and come out as themselves; times are in UTC."""
        values = (uuid.uuid4(), datetime(2024, 2, 29, 12, 30, 1, 5, tzinfo=UTC), b"\x00\xff")
        self.txn.execute("SET TIME ZONE 'Asia/Kathmandu'")
        self.txn.execute("SELECT %s::uuid AS id, %s AS at, %s AS raw, NULL::timestamptz AS never", values)
        row = one(lambda row: row, self.txn)
        self.assertEqual((row.id, row.at, row.raw, row.never), (*values, None))
        self.assertEqual(row.at.utcoffset(), timedelta(0))
        self.assertIs(type(row.raw), bytes)
