"""Transactions on a single connection, for code that runs without the database service."""

from collections.abc import Iterator
from contextlib import contextmanager

from mensagod.storage.connections import Connection
from mensagod.storage.rows import SYNCHRONOUS, Transaction


@contextmanager
def transaction(connection: Connection) -> Iterator[Transaction]:
    """Run the block in one transaction: commit it at the end, or roll it back after an exception."""
    with connection, connection.cursor() as cursor:
        yield Transaction(cursor, SYNCHRONOUS)
