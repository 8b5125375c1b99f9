"""What statements of the hot path read: no more than they give, however much there is."""

from collections.abc import Callable, Collection
from typing import Any, TypeVar
from uuid import UUID

from mensagod.storage import files, mailboxes, queue, updates
from mensagod.storage.connections import Connection
from mensagod.storage.contents import Content
from mensagod.storage.files import Arrival
from mensagod.storage.rows import Parameters, Transaction
from mensagod.values.identity import SERVER_DEVICE, WorkspaceID
from mensagod.values.paths import FileName, ServerPath
from tests.databases import DatabaseTestCase

T = TypeVar("T")
WORKSPACE = WorkspaceID(UUID(int=1))
NEW = ServerPath.new_messages(WORKSPACE)
MANY = 5000
CROWD = 100_000
_MESSAGES = (
    "INSERT INTO queue (bucket, id, destination, sender, device, sender_domain, domain, name, time, size,"
    " content, data, due, accepted)"
    " SELECT {bucket}, gen_random_uuid(), {destination}, {sender}, gen_random_uuid(), 'a', 'b',"
    " 1000 + number || '.1.' || gen_random_uuid(), 1000 + number, 1, gen_random_uuid(), 'x', {due}, now()"
    " FROM generate_series(1, {count}) AS number, (SELECT %s::uuid AS mine) AS workspace"
)
"""Adds messages to the queue."""


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


class PlanTestCase(DatabaseTestCase):
    """Statements, and the rows that they read."""

    async def prepare(self) -> None:
        self.connection: Connection = self.connect()
        self.begin()

    def begin(self) -> None:
        """Fill the database."""
        raise NotImplementedError

    def fill(self, *statements: str) -> None:
        """Run statements with the workspace as their parameter, and have their rows counted."""
        with self.connection, self.connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement, (WORKSPACE.uuid,))
            cursor.execute("ANALYZE")

    def measure(self, interaction: Callable[..., T], *args: Any, **kwargs: Any) -> tuple[T, int]:
        """Give the result of an interaction, and how many rows it has read."""
        with self.connection, self.connection.cursor() as cursor:
            transaction = Measured(cursor)
            return interaction(transaction, *args, **kwargs), transaction.read


class MailboxPlanTests(PlanTestCase):
    """Each with 5000 rows beside those that are asked for."""

    def begin(self) -> None:
        self.fill(
            "INSERT INTO workspaces (id, domain, status, password_hash)"
            " VALUES (%s, 'example.com', 'active', 'x')",
            "INSERT INTO mailboxes (workspace, quota, last_update) VALUES (%s, 0, 5000)",
            "INSERT INTO updates SELECT %s, number, gen_random_uuid(), 'CREATE', '/',"
            " to_timestamp(1000 + number), '00000000-0000-0000-0000-000000000000'"
            " FROM generate_series(1, 5000) AS number",
            f"INSERT INTO folders (workspace, path) VALUES (%s, '{NEW}')",
            "INSERT INTO contents (workspace, key, size, data)"
            " SELECT %s, ('00000000-0000-0000-0000-' || lpad(number::text, 12, '0'))::uuid, 1, 'x'"
            " FROM generate_series(1, 5000) AS number",
            "INSERT INTO files (folder, workspace, name, time, size, content)"
            " SELECT folders.id, workspace, 1000 + number || '.1.' || gen_random_uuid(), 1000 + number, 1,"
            " ('00000000-0000-0000-0000-' || lpad(number::text, 12, '0'))::uuid"
            " FROM folders, generate_series(1, 5000) AS number WHERE workspace = %s",
        )

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

    def test_files_since_a_time(self) -> None:
        """So are the last files of a directory."""
        listing, read = self.measure(files.list_files, NEW, 1000 + MANY - 9, 100_000)
        self.assertEqual(listing and listing.count, 10)
        self.assertLess(read, 40)
        listing, _ = self.measure(files.list_files, NEW, 0, 100_000)
        self.assertEqual(listing and listing.count, MANY)

    def test_content(self) -> None:
        """Of a file its own content is read."""
        listing, _ = self.measure(files.list_files, NEW, 0, 1)
        path = ServerPath.from_text(f"{NEW} {listing and listing.names}")
        found, read = self.measure(files.find_content, path)
        self.assertEqual(found and found.data, b"x")
        self.assertLess(read, 10)

    def test_change(self) -> None:
        """The mailbox alone is read, whatever is in it, and whether or not it has room."""
        for wait in (True, False):
            counted, read = self.measure(mailboxes.count_queued, WORKSPACE, 1, wait=wait)
            self.assertTrue(counted)
            self.assertLess(read, 10)
        self.fill("UPDATE mailboxes SET quota = 1 WHERE workspace = %s")
        counted, read = self.measure(mailboxes.count_queued, WORKSPACE, 1, wait=True)
        self.assertFalse(counted)
        self.assertLess(read, 10)

    def test_place(self) -> None:
        """To place files a few rows are read by their keys, whatever is there."""
        # A connection of its own, because what others have read is counted with some delay.
        with self.connect() as connection, connection.cursor() as cursor:
            arrivals = [Arrival(WORKSPACE, FileName.make(9000, 1), Content.in_row(b"x")) for _ in range(9)]
            placed = files.place(Transaction(cursor), arrivals, SERVER_DEVICE, wait=True)
            self.assertEqual(placed, {WORKSPACE})
            cursor.execute(
                "SELECT sum(seq_tup_read + coalesce(idx_tup_fetch, 0)) AS read FROM pg_stat_xact_user_tables"
            )
            ((read,),) = cursor.fetchall()
        self.assertLess(read, 100)


class QueuePlanTests(PlanTestCase):
    """Each with 100,000 rows in the queue beside those that are asked for."""

    def begin(self) -> None:
        """Most are not due, 5000 of them are the workspace's; nobody knows yet of those that are due."""
        self.fill(
            _MESSAGES.format(
                count=CROWD,
                bucket="number %% 256",
                destination="'crowd'",
                sender="CASE WHEN number %% 20 = 0 THEN mine ELSE gen_random_uuid() END",
                due="now() + interval '1 day'",
            )
        )

    def add(self, count: int, bucket: int, destination: str) -> None:
        """Add messages that are due, after the database has looked at the distribution of its rows."""
        sql = _MESSAGES.format(
            count=count,
            bucket=str(bucket),
            destination=f"'{destination}'",
            sender="gen_random_uuid()",
            due="now() - number * interval '1 second'",
        )
        with self.connection, self.connection.cursor() as cursor:
            cursor.execute(sql, (WORKSPACE.uuid,))

    def due(self, buckets: Collection[int], most: int, busy: Collection[str] = ()) -> tuple[int, int]:
        """Give how many messages are given, and how many rows are read for that."""
        found, read = self.measure(queue.list_due, buckets, most, busy=busy)
        return len(found), read

    def test_nothing_due(self) -> None:
        """Those that are not due are not read, however many."""
        found, read = self.due(range(queue.BUCKETS), 64)
        self.assertEqual(found, 0)
        self.assertLess(read, queue.BUCKETS + 10)

    def test_due(self) -> None:
        """Of a bucket with many no more are given than one may have, and about as many are read."""
        for bucket in range(queue.BUCKETS):
            self.add(1, bucket, "few")
        self.add(2000, 7, "many")
        found, read = self.due(range(queue.BUCKETS), 1000)
        self.assertEqual(found, queue.BUCKETS - 1 + queue.EACH)
        self.assertLess(read, 3 * found)
        found, read = self.due([7], 4)
        self.assertEqual(found, 4)
        self.assertLess(read, 2 * queue.EACH)

    def test_busy(self) -> None:
        """Those for somebody who is busy hide no others in their bucket, and are not read."""
        bucket = queue.bucket_of("many")
        self.add(CROWD, bucket, "many")
        self.add(3, bucket, "few")
        self.add(2, bucket + 1, "other")
        found, read = self.due([bucket, bucket + 1], 64, ["many"])
        self.assertEqual(found, 5)
        self.assertLess(read, 100)

    def test_outgoing(self) -> None:
        """Of a workspace's many messages as many are read as may be listed."""
        listing, read = self.measure(queue.list_outgoing, WORKSPACE, 0, 100)
        names = listing.names.split(",")
        self.assertEqual((listing.count, len(names)), (100, 100))
        self.assertEqual(names, sorted(names))
        self.assertLess(read, 300)

    def test_outgoing_since_a_time(self) -> None:
        """Those of an earlier time cost nothing."""
        listing, read = self.measure(queue.list_outgoing, WORKSPACE, 1000 + CROWD - 200, 100)
        self.assertEqual(listing.count, 11)
        self.assertLess(read, 100)

    def test_take(self) -> None:
        """A message is found by its bucket and its ID."""
        self.add(4, 7, "few")
        due, _ = self.measure(queue.list_due, [7], 64)
        # Not counted: what is counted is carried out twice.
        with self.connection, self.connection.cursor() as cursor:
            self.assertEqual(len(queue.take(Transaction(cursor), due)), 4)
