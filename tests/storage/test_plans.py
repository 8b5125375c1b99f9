"""What statements of the hot path read: no more than they give, however much there is."""

from collections.abc import Callable
from typing import Any, TypeVar
from uuid import UUID

from mensagod.storage import files, queue, updates
from mensagod.storage.connections import Connection
from mensagod.storage.rows import Parameters, Transaction
from mensagod.values.identity import SERVER_DEVICE, WorkspaceID
from mensagod.values.paths import ServerPath
from tests.databases import DatabaseTestCase

T = TypeVar("T")
WORKSPACE = WorkspaceID(UUID(int=1))
NEW = ServerPath.new_messages(WORKSPACE)
MANY = 5000


class Measured(Transaction):
    """A transaction that counts the rows that its statements read."""

    def __init__(self, cursor: Any):
        super().__init__(cursor)
        self.read = 0

    def execute(self, sql: str, parameters: Parameters | None = None) -> None:
        super().execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {sql}", parameters)
        ((plans,),) = self.fetchall()
        self.read += sum(_rows_read(plan["Plan"]) for plan in plans)
        super().execute(sql, parameters)


def _rows_read(node: dict[str, Any]) -> int:
    """Sum up what the scans of a plan have looked at."""
    read = sum(_rows_read(inner) for inner in node.get("Plans", ()))
    if "Scan" in node["Node Type"]:
        dropped = sum(node.get(f"Rows Removed by {why}", 0) for why in ("Filter", "Index Recheck"))
        read += round((node["Actual Rows"] + dropped) * node["Actual Loops"])
    return read


class PlanTests(DatabaseTestCase):
    """Each with 5000 rows beside those that are asked for."""

    async def prepare(self) -> None:
        self.connection: Connection = self.connect()
        self.fill(
            "INSERT INTO workspaces (id, domain, status, password_hash)"
            " VALUES (%s, 'example.com', 'active', 'x')",
            "INSERT INTO mailboxes (workspace, quota, last_update) VALUES (%s, 0, 5000)",
            "INSERT INTO updates SELECT %s, number, gen_random_uuid(), 'CREATE', '/',"
            " to_timestamp(1000 + number), '00000000-0000-0000-0000-000000000000'"
            " FROM generate_series(1, 5000) AS number",
            f"INSERT INTO folders (workspace, path) VALUES (%s, '{NEW}')",
            "INSERT INTO files (folder, workspace, name, time, size)"
            " SELECT folders.id, workspace, 1000 + number || '.1.' || gen_random_uuid(), 1000 + number, 1"
            " FROM folders, generate_series(1, 5000) AS number WHERE workspace = %s",
        )

    def fill(self, *statements: str) -> None:
        """Run statements with the workspace as their parameter, and have their rows counted."""
        with self.connection, self.connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement, (WORKSPACE.uuid,))
            cursor.execute("ANALYZE")

    def measure(self, interaction: Callable[..., T], *args: Any) -> tuple[T, int]:
        """Give the result of an interaction, and how many rows it has read."""
        with self.connection, self.connection.cursor() as cursor:
            transaction = Measured(cursor)
            return interaction(transaction, *args), transaction.read

    def test_updates_since_a_time(self) -> None:
        """The last records are found without those before them; so is that there are none."""
        for since, count in ((1000 + MANY - 9, 10), (1000 + MANY + 1, 0), (2**63 - 1, 0)):
            found, read = self.measure(updates.list_since_time, WORKSPACE, since)
            self.assertEqual((len(found.records), found.remaining, found.last), (count, 0, MANY))
            self.assertLess(read, 3 * count + 10)
            (counted, last), read = self.measure(updates.count_since, WORKSPACE, since)
            self.assertEqual((counted, last), (count, MANY))
            self.assertLess(read, count + 10)

    def test_first_updates(self) -> None:
        """Of many records those are read that are given."""
        found, read = self.measure(updates.list_since_time, WORKSPACE, 0)
        self.assertEqual((len(found.records), found.remaining, found.last), (1000, MANY - 1000, MANY))
        self.assertLess(read, 2010)

    def test_updates_of_others(self) -> None:
        """Whoever was told of all but some costs no more than these."""
        (count, last), read = self.measure(updates.count_by_others, WORKSPACE, MANY - 7, SERVER_DEVICE)
        self.assertEqual((count, last), (0, MANY))
        self.assertLess(read, 20)

    def test_claim(self) -> None:
        """No more messages are claimed than asked for, also where the queue was empty when last looked at."""
        message = (
            "INSERT INTO queue (id, sender, device, sender_domain, domain, name, size, state, due)"
            " SELECT gen_random_uuid(), %s, gen_random_uuid(), 'a', 'b', '1.1.' || gen_random_uuid(), 1,"
            " 'queued', now() FROM generate_series(1, {})"
        )
        self.fill(message.format(1))
        with self.connection, self.connection.cursor() as cursor:
            cursor.execute(message.format(20), (WORKSPACE.uuid,))
            claimed = [len(queue.claim(Transaction(cursor), 4)) for _ in range(6)]
        self.assertEqual(claimed, [4, 4, 4, 4, 4, 1])

    def test_files_since_a_time(self) -> None:
        """So are the last files of a directory."""
        names, read = self.measure(files.list_files, NEW, 1000 + MANY - 9, 100_000)
        self.assertEqual(len(names or ()), 10)
        self.assertLess(read, 20)
        names, _ = self.measure(files.list_files, NEW, 0, 100_000)
        self.assertEqual(len(names or ()), MANY)
