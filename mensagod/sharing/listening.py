"""A connection to PostgreSQL that listens for the hints to one process, and sends those for others."""

import os
from collections.abc import Collection
from typing import Self
from uuid import UUID

from attrs import define, field
from psycopg2 import sql

from mensagod.storage import hints
from mensagod.storage.connections import Connection, Description, connect, hang_up
from mensagod.storage.rows import Transaction
from mensagod.values.identity import WorkspaceID


@define(eq=False)
class ListeningConnection:
    """One connection, used by one thread at a time; each statement is a transaction.

    :ivar process: whose hints it listens for.
    :ivar descriptor: becomes readable when a notification arrives or the connection ends.
    """

    _connection: Connection = field(repr=False)
    process: UUID
    # A copy, for libpq closes its own as soon as it sees the end, while the reactor still waits for it.
    descriptor: int

    @classmethod
    def open(cls, description: Description, process: UUID) -> Self:
        """Connect, and begin to listen; blocks.

        :raises psycopg2.Error: if that is not possible.
        """
        connection = connect(description)
        try:
            connection.autocommit = True
            opened = cls(connection, process, os.dup(connection.fileno()))
        except BaseException:
            connection.close()
            raise
        try:
            opened._listen()
        except BaseException:
            opened.close()
            raise
        return opened

    def send(self, workspaces: Collection[WorkspaceID]) -> None:
        """Notify the processes that have sessions of these workspaces; blocks."""
        with self._connection.cursor() as cursor:
            hints.notify(Transaction(cursor), self.process, workspaces)

    def take(self) -> list[str]:
        """Take the payloads that have arrived; does not block.

        :raises psycopg2.Error: if the connection has ended.
        """
        self._connection.poll()
        payloads = [notification.payload for notification in self._connection.notifies]
        self._connection.notifies.clear()
        return payloads

    def hang_up(self) -> None:
        """End the connection under the thread that uses it."""
        hang_up(self._connection)

    def close(self) -> None:
        """Close it, once; neither a thread nor the reactor may use it."""
        self._connection.close()
        os.close(self.descriptor)

    def _listen(self) -> None:
        channel = sql.Identifier(hints.channel_of(self.process))
        with self._connection.cursor() as cursor:
            cursor.execute(sql.SQL("LISTEN {}").format(channel))
