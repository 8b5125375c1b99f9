"""Connections that threads share, without a database."""

from typing import Any

import psycopg2
from twisted.trial.unittest import TestCase

from mensagod.storage import pool
from mensagod.storage.pool import ConnectionPool, NoneToSpare
from tests.observing import events_of


class FakeConnection:
    closed = False

    def close(self) -> None:
        self.closed = True


class PoolTests(TestCase):
    def setUp(self) -> None:
        self.opened: list[FakeConnection] = []
        self.most = 1
        self.patch(pool, "connect", self.open)
        self.pool = ConnectionPool({})

    def open(self, _: object) -> FakeConnection:
        if len([one for one in self.opened if not one.closed]) >= self.most:
            raise psycopg2.OperationalError("too many")
        self.opened.append(FakeConnection())
        return self.opened[-1]

    def take(self) -> Any:
        """Take a connection, one of the fakes."""
        return self.pool.take(lambda: None, patient=False)

    def test_lent_again(self) -> None:
        """What is given back is lent again; what is dropped, or was there at a renewal, is closed."""
        first = self.take()
        self.pool.give_back(first)
        self.assertIs(self.take(), first)
        self.pool.drop(first)
        second = self.take()
        self.pool.renew()
        self.assertFalse(second.closed)
        self.pool.give_back(second)
        self.assertTrue(second.closed)
        third = self.take()
        self.pool.give_back(third)
        self.pool.renew()
        self.assertEqual([one.closed for one in self.opened], [True, True, True])

    def test_closed(self) -> None:
        """What is lent when the pool is closed is closed when it comes back."""
        lent = self.take()
        self.pool.close()
        self.pool.give_back(lent)
        self.assertTrue(lent.closed)

    def test_none(self) -> None:
        """That none can be opened while others work is not an error of the server, and no shortage yet."""
        events = events_of(self, "database_")
        lent = self.take()
        self.assertRaises(NoneToSpare, self.take)
        self.most = 0
        self.pool.drop(lent)
        error = self.assertRaises(psycopg2.OperationalError, self.take)
        self.assertNotIsInstance(error, NoneToSpare)
        self.assertEqual(events, [])
