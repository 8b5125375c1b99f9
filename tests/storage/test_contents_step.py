"""The step to contents with keys, and to a queue in buckets: what becomes of the rows of before."""

from collections.abc import Mapping
from uuid import UUID

from psycopg2.errors import CheckViolation

from mensagod.storage import files, queue, schema
from mensagod.storage.migrations import SchemaError, migrate
from mensagod.storage.queue import bucket_of
from mensagod.storage.rows import Transaction
from mensagod.values.identity import WorkspaceID
from mensagod.values.paths import ServerPath
from tests.storage.test_identity_step import StepTestCase

ALICE, BOB = (WorkspaceID(UUID(f"{digit * 8}-1111-4111-8111-111111111111")) for digit in "ab")
NOBODY = WorkspaceID(UUID(int=0))
HOME = f"/ wsp {ALICE}"
DELIVERED, KEPT, UNFINISHED = (f"{time}.5.{UUID(int=time)}" for time in (10, 20, 30))
ELSEWHERE = "example.org"


class ContentsStepTests(StepTestCase):
    """0008, and 0009 once all contents are brought over."""

    steps_before = 7

    async def prepare(self) -> None:
        await super().prepare()
        migrate(self.connection, self.first)
        self.fill_mailboxes()
        for number, (state, name, more) in enumerate(
            (
                ("pending", f"100.7.{UUID(int=1)}", {"lease": UUID(int=9), "lease_until": "now"}),
                ("queued", f"200.11.{UUID(int=2)}", {"attempts": 3, "code": 501, "reason": "away"}),
                ("queued", f"300.13.{UUID(int=3)}", {"lease": UUID(int=9), "lease_until": "now"}),
                (
                    "queued",
                    f"400.17.{UUID(int=4)}",
                    {"domain": "example.com", "target": BOB.uuid, "target_name": f"401.17.{UUID(int=5)}"},
                ),
                ("failed", f"500.19.{UUID(int=6)}", {"attempts": 1, "code": 503, "reason": "no such domain"}),
            ),
            start=1,
        ):
            self.add_message(UUID(int=number), ALICE, state, name, more)
        self.add_message(UUID(int=6), NOBODY, "queued", f"600.23.{UUID(int=7)}", {})

    def fill_mailboxes(self) -> None:
        """Alice has two files and one that is being written; Bob has nothing."""
        for workspace in (ALICE, BOB):
            self.execute(
                "INSERT INTO workspaces (id, domain, status, password_hash)"
                " VALUES (%s, 'example.com', 'active', 'x')",
                workspace.uuid,
            )
            self.execute("INSERT INTO mailboxes (workspace, quota) VALUES (%s, 1000)", workspace.uuid)
        self.execute(
            "UPDATE mailboxes SET used = 10, files = 2, last_update = 1 WHERE workspace = %s", ALICE.uuid
        )
        for path, parent in ((HOME, None), (f"{HOME} new", HOME)):
            self.execute(
                "INSERT INTO folders (workspace, path, parent)"
                " VALUES (%s, %s, (SELECT id FROM folders WHERE path = %s))",
                *(ALICE.uuid, path, parent),
            )
        for name, path, state in (
            (DELIVERED, f"{HOME} new", "live"),
            (KEPT, HOME, "live"),
            (UNFINISHED, HOME, "pending"),
        ):
            self.execute(
                "INSERT INTO files (workspace, folder, name, time, size, state)"
                " SELECT workspace, id, %s, %s, 5, %s FROM folders WHERE path = %s",
                *(name, int(name.split(".")[0]), state, path),
            )
        self.execute(
            "INSERT INTO updates (workspace, number, id, type, data, time, device)"
            " VALUES (%s, 1, %s, 'CREATE', '/', now(), %s)",
            *(ALICE.uuid, UUID(int=1), UUID(int=0)),
        )
        self.execute("INSERT INTO processes (id, name) VALUES (%s, 'x')", UUID(int=1))
        self.execute(
            "INSERT INTO sessions (id, process, workspace, device, address) VALUES (%s, %s, %s, %s, '')",
            *(UUID(int=1), UUID(int=1), ALICE.uuid, UUID(int=1)),
        )
        self.execute(
            "INSERT INTO submissions (workspace, domain, digest, name) VALUES (%s, %s, %s, %s)",
            *(ALICE.uuid, ELSEWHERE, b"x" * 32, "200.11.x"),
        )

    def add_message(
        self, id_: UUID, sender: WorkspaceID, state: str, name: str, more: Mapping[str, object]
    ) -> None:
        """Add a row to the old queue."""
        values: dict[str, object] = {
            "id": id_,
            "sender": sender.uuid,
            "device": UUID(int=0),
            "sender_domain": "example.com",
            "domain": ELSEWHERE,
            "name": name,
            "size": int(name.split(".")[1]),
            "state": state,
            "due": "2001-01-01T00:00Z",
            "accepted": "2000-01-01T00:00Z",
            **more,
        }
        places = ", ".join(["%s"] * len(values))
        self.execute(f"INSERT INTO queue ({', '.join(values)}) VALUES ({places})", *values.values())

    def apply(self) -> None:
        """Apply the step."""
        migrate(self.connection, self.directory_of(8))

    def test_files(self) -> None:
        """Each file has a content of its own, which is where it was; what was being written is gone."""
        self.apply()
        rows = self.execute(
            "SELECT name, old_path, contents.size, hash, data, uses, day = (now() AT TIME ZONE 'UTC')::date"
            " FROM files JOIN contents ON contents.workspace = files.workspace AND key = content"
            " ORDER BY name"
        )
        self.assertEqual(
            [tuple(row) for row in rows],
            [
                (DELIVERED, f"{HOME} new {DELIVERED}", 5, None, None, 1, True),
                (KEPT, f"{HOME} {KEPT}", 5, None, None, 1, True),
            ],
        )
        self.assertEqual(self.execute("SELECT count(*) FROM contents"), [(2,)])
        self.assertEqual(self.execute("SELECT count(*) FROM folders WHERE parent IS NOT NULL"), [(1,)])

    def test_queue(self) -> None:
        """What was accepted is in the bucket of its domain, and says where its content may be."""
        self.apply()
        rows = self.execute(
            "SELECT id, bucket, destination, target, state, name, time, size, attempts, code, reason,"
            " old_path, old_moved FROM queue ORDER BY id"
        )
        moved = f"/ wsp {BOB} new 401.17.{UUID(int=5)}"
        expected = [
            (2, ELSEWHERE, "queued", 200, 11, 3, 501, "away", None),
            (3, ELSEWHERE, "queued", 300, 13, 0, None, None, None),
            (4, "example.com", "queued", 400, 17, 0, None, None, moved),
            (5, ELSEWHERE, "failed", 500, 19, 1, 503, "no such domain", None),
            (6, ELSEWHERE, "queued", 600, 23, 0, None, None, None),
        ]
        found = [
            (
                row.id.int,
                row.destination,
                row.state,
                row.time,
                row.size,
                row.attempts,
                row.code,
                row.reason,
                row.old_moved,
            )
            for row in rows
        ]
        self.assertEqual(found, expected)
        for row in rows:
            sender = NOBODY if row.id.int == 6 else ALICE
            self.assertEqual((row.bucket, row.target), (bucket_of(row.destination), None))
            self.assertEqual(row.old_path, f"/ out {sender} {row.name}")
        self.assertEqual(len(self.execute("SELECT DISTINCT content FROM queue")), 5)

    def test_scheduled(self) -> None:
        """A message that its sender has scheduled is held until then; a retry that is due in years is not."""
        later = "2999-01-01T00:00Z"
        self.add_message(
            UUID(int=8), ALICE, "queued", f"800.29.{UUID(int=8)}", {"due": later, "accepted": later}
        )
        more = {"due": later, "attempts": 1, "code": 501, "reason": "away"}
        self.add_message(UUID(int=9), ALICE, "queued", f"900.31.{UUID(int=9)}", more)
        self.apply()
        rows = self.execute("SELECT id FROM queue WHERE send_time = due")
        self.assertEqual([row.id.int for row in rows], [8])
        with self.connection, self.connection.cursor() as cursor:
            txn = Transaction(cursor)
            self.assertEqual(queue.hasten(txn), 1)
            due = queue.list_due(txn, range(queue.BUCKETS), 10)
            self.assertIn(9, {message.id.int for message in due})
            self.assertNotIn(8, {message.id.int for message in due})

    def test_sums(self) -> None:
        """What a workspace has in the queue counts, and what it has otherwise counts as before."""
        self.apply()
        rows = self.execute(
            "SELECT used, files, last_update, queued, quota FROM mailboxes ORDER BY workspace"
        )
        self.assertEqual(
            [tuple(row) for row in rows], [(10, 2, 1, 11 + 13 + 17 + 19, 1000), (0, 0, 0, 0, 1000)]
        )

    def test_others(self) -> None:
        """Records, sessions and what was handed in are still there."""
        self.apply()
        for table in ("updates", "sessions", "submissions"):
            self.assertEqual(self.execute(f"SELECT workspace FROM {table}"), [(ALICE.uuid,)])
        self.assertEqual(self.execute("SELECT count(*) FROM queue_buckets WHERE process IS NULL"), [(256,)])

    def test_brought_over(self) -> None:
        """The next step waits until no content is where it was; then messages go on."""
        self.apply()
        for table, change in (
            ("contents", "old_path = NULL"),
            ("queue", "old_path = NULL"),
            ("queue", "old_moved = NULL"),
        ):
            with self.assertRaises((CheckViolation, SchemaError)):
                migrate(self.connection, schema.DIRECTORY)
            self.execute(f"UPDATE {table} SET {change}")
        migrate(self.connection, schema.DIRECTORY)
        with self.connection, self.connection.cursor() as cursor:
            txn = Transaction(cursor)
            due = queue.list_due(txn, range(queue.BUCKETS), 10)
            self.assertEqual({message.id.int for message in due}, {2, 3, 4, 6})
            self.assertEqual(queue.take(txn, due), {message.id for message in due})
            path = ServerPath.from_text(f"{HOME} {KEPT}")
            content = files.find_content(txn, path)
            self.assertEqual(content and (content.size, content.hash, content.data), (5, None, None))
