"""What must be true of the database before a server works with it."""

import psycopg2

from mensagod.server.preparing import Migration
from mensagod.storage.database import DatabaseUnavailable
from mensagod.storage.migrations import Step, installed_steps
from tests.databases import DatabaseTestCase


class MigrationTests(DatabaseTestCase):
    pooled = False

    def step(self, sql: str) -> tuple[Step, ...]:
        """Give the steps of now, and one that is still missing."""
        steps = installed_steps()
        return (*steps, Step(len(steps) + 1, "more", sql, "checksum"))

    async def test_refused_for_now(self) -> None:
        """A step that the database refuses for now is for later, as when the database were away."""
        name = self.parameters["dbname"]
        with self.connect() as connection, connection.cursor() as cursor:
            cursor.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
        await Migration(self.database, installed_steps()).run()
        with self.assertRaises(DatabaseUnavailable):
            await Migration(self.database, self.step("CREATE TABLE more ()")).run()

    async def test_wrong(self) -> None:
        """A step that is wrong is a fault."""
        with self.assertRaises(psycopg2.ProgrammingError):
            await Migration(self.database, self.step("SELECT nonsense")).run()
