"""Transactions on a connection of one's own, for what runs without the database service."""

from collections.abc import Iterator
from contextlib import contextmanager

from mensagod.storage.connections import Connection
from mensagod.storage.rows import SYNCHRONOUS, Transaction


@contextmanager
def transaction(connection: Connection) -> Iterator[Transaction]:
    """Do something in one transaction: all of it is done at the end, or nothing."""
    with connection, connection.cursor() as cursor:
        yield Transaction(cursor, SYNCHRONOUS)
