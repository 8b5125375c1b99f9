"""What must be true of the database before a server works with it."""

from uuid import UUID, uuid4

import psycopg2
from twisted.internet.defer import Deferred, gatherResults

from mensagod.contents.interfaces import WrongStore
from mensagod.server.preparing import Migration, check_store
from mensagod.storage.database import DatabaseUnavailable
from mensagod.storage.installation import add_store, find_store
from mensagod.storage.migrations import Step, installed_steps
from mensagod.storage.rows import Transaction
from tests.contents.contract import put
from tests.contents.memory_store import MemoryStore
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

    async def test_preparation(self) -> None:
        """What a step needs before is done first."""
        done = []

        def prepare(txn: Transaction) -> bool:
            done.append(txn)
            return len(done) == 1

        steps = self.step("CREATE TABLE more ()")
        await Migration(self.database, steps, {len(steps): prepare}).run()
        self.assertEqual(len(done), 2)


class StoreTests(DatabaseTestCase):
    """The database and the content store belong together."""

    async def prepare(self) -> None:
        self.store = MemoryStore()

    async def known(self) -> UUID | None:
        """Give the ID that the database knows."""
        return await self.database.read(find_store)

    async def test_new(self) -> None:
        """A database and a store that know nothing get the same ID, once."""
        for _ in range(2):
            await check_store(self.database, self.store)
            found = self.store.read_id()
            self.assertIsNotNone(found)
            self.assertEqual(await self.known(), found)

    async def test_several_at_once(self) -> None:
        """Processes that start together agree on one."""
        databases = [await self.make_service() for _ in range(4)]
        await gatherResults(
            [Deferred.fromCoroutine(check_store(database, self.store)) for database in databases]
        )
        self.assertEqual(await self.known(), self.store.read_id())

    async def test_wrong(self) -> None:
        """A store with another ID, and one without the ID that the database knows, are refused."""
        known = uuid4()
        await self.database.run(add_store, known)
        with self.assertRaisesRegex(WrongStore, str(known)):
            await check_store(self.database, self.store)
        self.assertIsNone(self.store.read_id())
        self.give_id(uuid4())
        with self.assertRaisesRegex(WrongStore, str(known)):
            await check_store(self.database, self.store)
        self.assertEqual(await self.known(), known)

    async def test_unknown(self) -> None:
        """A store with an ID does not become that of a database that knows none."""
        self.give_id(uuid4())
        with self.assertRaisesRegex(WrongStore, str(self.store.read_id())):
            await check_store(self.database, self.store)
        self.assertIsNone(await self.known())

    async def test_contents(self) -> None:
        """A database with contents in the store does not get a store without any."""
        workspace = await self.add_workspace()
        await self.change(
            "INSERT INTO contents (workspace, key, day, size) VALUES (%s, %s, '2026-01-01', 1)",
            workspace,
            uuid4(),
        )
        with self.assertRaisesRegex(WrongStore, "1 files and messages"):
            await check_store(self.database, self.store)
        self.assertIsNone(await self.known())
        put(self.store, b"content")
        await check_store(self.database, self.store)

    async def test_only_inline(self) -> None:
        """A database whose contents are all in its rows needs nothing in the store."""
        workspace = await self.add_workspace()
        await self.change(
            "INSERT INTO contents (workspace, key, size, data) VALUES (%s, %s, 1, 'x')", workspace, uuid4()
        )
        await check_store(self.database, self.store)

    async def add_workspace(self) -> UUID:
        workspace = uuid4()
        await self.change(
            "INSERT INTO workspaces (id, domain, status) VALUES (%s, 'example.com', 'preregistered')",
            workspace,
        )
        return workspace

    def give_id(self, store: UUID) -> None:
        self.store.propose_id(store)
        self.store.require_id(store)

    async def change(self, sql: str, *parameters: object) -> None:
        await self.database.run(lambda txn: txn.execute(sql, parameters))
