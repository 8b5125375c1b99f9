"""The product's own schema: each step keeps what earlier ones hold."""

from datetime import timedelta
from pathlib import Path
from uuid import UUID, uuid4

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.json import encode

from mensagod.storage import events, failures, lookups, schema, sends
from mensagod.storage.failures import Limit
from mensagod.storage.lookups import Allowance
from mensagod.storage.migrations import apply_all, migrate, read_steps
from mensagod.storage.rows import Transaction
from mensagod.values.identity import DeviceID, WorkspaceID
from tests.databases import DatabaseTestCase
from tests.keycards.cards import Organization, User


class StepTestCase(DatabaseTestCase):
    """Begins with an empty database, and the steps before the one that is tested."""

    steps_before = 1

    def make_template(self) -> str:
        return "template1"

    async def prepare(self) -> None:
        self.first = Path(self.mktemp())
        self.first.mkdir()
        for step in read_steps(schema.DIRECTORY)[: self.steps_before]:
            (self.first / step.file_name).write_bytes((schema.DIRECTORY / step.file_name).read_bytes())
        self.connection = self.connect()


class IdentityStepTests(StepTestCase):
    """0002: sizes of entries, changes, lookups and failures."""

    def insert(self, workspace: UUID, text: str) -> None:
        with self.connection, self.connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO workspaces (id, domain, status) VALUES (%s, 'example.com', 'preregistered')",
                (workspace,),
            )
            cursor.execute(
                "INSERT INTO keycard_entries (owner, workspace, number, text, hash, signed, expires)"
                " VALUES (%s, %s, 1, %s, 'x', now(), now())",
                (workspace, workspace, text),
            )

    def test_old_rows(self) -> None:
        """Entries of before are there byte for byte, and measured."""
        migrate(self.connection, self.first)
        workspace, text = uuid4(), 'Type:User\r\nName:Zoë "\\"\r\n'
        self.insert(workspace, text)
        migrate(self.connection, schema.DIRECTORY)
        with self.connection, self.connection.cursor() as cursor:
            cursor.execute("SELECT owner, number, text, size, escapes FROM keycard_entries")
            self.assertEqual(cursor.fetchall(), [(workspace, 1, text, len(text.encode()), 7)])
            cursor.execute("SELECT count(*) FROM names")
            self.assertEqual(cursor.fetchone(), (0,))

    def test_measures(self) -> None:
        """What the database counts is what JSON writes, for every entry that there can be."""
        migrate(self.connection, schema.DIRECTORY)
        user = User(Organization()).current

        @settings(max_examples=60, deadline=None)
        @given(st.text(st.characters(exclude_categories=["Cc", "Cs"]), max_size=40))
        def check(name: str) -> None:
            text = user.text.replace("User-ID:csimons", f'Name:x{name}"\\x')
            with self.connection, self.connection.cursor() as cursor:
                cursor.execute("DELETE FROM keycard_entries")
                cursor.execute("DELETE FROM workspaces")
            self.insert(uuid4(), text)
            with self.connection, self.connection.cursor() as cursor:
                cursor.execute("SELECT size + escapes FROM keycard_entries")
                self.assertEqual(cursor.fetchone(), (len(encode(text)) - 2,))

        check()


class ErasedKeysStepTests(StepTestCase):
    """0003: private keys that nothing is done with are erased."""

    steps_before = 2

    def test_old_rows(self) -> None:
        """Every row of before stays; only what signs, or opens still, keeps its private key."""
        migrate(self.connection, self.first)
        rows = [
            ("a", "signing", "current", None),
            ("b", "encryption", "current", None),
            ("c", "signing", "previous", 1),
            ("d", "encryption", "previous", 29),
            ("e", "encryption", "previous", 31),
            ("f", "signing", "revoked", 1),
            ("g", "encryption", "revoked", 1),
        ]
        with self.connection, self.connection.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO organization_keys (public, purpose, private, status, retired)"
                " VALUES (%s, %s, 'x', %s, now() - %s * interval '1 day')",
                rows,
            )
        migrate(self.connection, schema.DIRECTORY)
        with self.connection, self.connection.cursor() as cursor:
            cursor.execute("SELECT public, private FROM organization_keys ORDER BY public")
            self.assertEqual(
                dict(cursor.fetchall()), dict.fromkeys("abcdefg") | {"a": "x", "b": "x", "d": "x"}
            )


class FilesStepTests(StepTestCase):
    """0004: rules about files and the queue, and an index."""

    steps_before = 3

    def test_old_rows(self) -> None:
        """What is there obeys the rules already, and stays."""
        migrate(self.connection, self.first)
        workspace = uuid4()
        with self.connection, self.connection.cursor() as cursor:
            for statement in (
                "INSERT INTO workspaces (id, domain, status) VALUES (%s, 'example.com', 'preregistered')",
                "INSERT INTO folders (workspace, path) VALUES (%s, '/ wsp a')",
                "INSERT INTO folders (workspace, path, parent) SELECT %s, '/ wsp a new', id FROM folders",
                (
                    "INSERT INTO files (workspace, folder, name, time, size)"
                    " SELECT %s, id, 'x', 1, 2 FROM folders"
                ),
                (
                    "INSERT INTO queue"
                    " (id, sender, device, sender_domain, domain, name, size, state, due, lease, lease_until)"
                    " SELECT id, %s, id, '', '', state, 1, state, now(), id, now() FROM (SELECT"
                    " gen_random_uuid() AS id, unnest(ARRAY['pending', 'queued', 'failed']) AS state) AS made"
                ),
            ):
                cursor.execute(statement, (workspace,))
        # Later steps need names and paths that are real.
        apply_all(self.connection, read_steps(schema.DIRECTORY)[:4])
        with self.connection, self.connection.cursor() as cursor:
            for table, count in (("folders", 2), ("files", 2), ("queue", 3)):
                cursor.execute(f"SELECT count(*) FROM {table}")
                self.assertEqual(cursor.fetchone(), (count,))


class EventsStepTests(StepTestCase):
    """0005: the log of events in place of changed keycards."""

    steps_before = 4

    def test_old_rows(self) -> None:
        """Sessions and cards of before stay; changes that are known to nobody who starts now go."""
        migrate(self.connection, self.first)
        workspace = uuid4()
        with self.connection, self.connection.cursor() as cursor:
            for statement in (
                "INSERT INTO workspaces (id, domain, status) VALUES (%s, 'example.com', 'preregistered')",
                "INSERT INTO processes (id, name) VALUES (%s, 'x')",
                (
                    "INSERT INTO sessions (id, process, workspace, device, address)"
                    " SELECT gen_random_uuid(), id, id, id, '' FROM workspaces WHERE id = %s"
                ),
                (
                    "INSERT INTO keycard_entries (owner, workspace, number, text, hash, signed, expires)"
                    " SELECT id, id, 1, 'x', 'x', now(), now() FROM workspaces WHERE id = %s"
                ),
                "INSERT INTO keycard_changes (owner) VALUES (%s)",
            ):
                cursor.execute(statement, (workspace,))
        migrate(self.connection, schema.DIRECTORY)
        with self.connection, self.connection.cursor() as cursor:
            for table in ("processes", "sessions", "keycard_entries"):
                cursor.execute(f"SELECT count(*) FROM {table}")
                self.assertEqual(cursor.fetchone(), (1,))
            cursor.execute("SELECT to_regclass('keycard_changes')")
            self.assertEqual(cursor.fetchone(), (None,))
            self.assertEqual(events.read_after(Transaction(cursor), 0), events.Reading(0, ()))
            self.assertEqual(events.add(Transaction(cursor), events.CardChange(WorkspaceID(workspace))), 1)


class CountersStepTests(StepTestCase):
    """0006: counters in the place of lists of times."""

    steps_before = 5

    def fill(self, workspace: UUID) -> None:
        """Two sources, two devices: one of each with something that counts."""
        with self.connection, self.connection.cursor() as cursor:
            for statement in (
                "INSERT INTO workspaces (id, domain, status) VALUES (%s, 'example.com', 'preregistered')",
                (
                    "INSERT INTO devices (workspace, id, key, status)"
                    " VALUES (%s, gen_random_uuid(), 'x', 'pending')"
                ),
                (
                    "INSERT INTO devices (workspace, id, key, status, recent_sends) VALUES (%s,"
                    " '00000000-0000-0000-0000-000000000001', 'x', 'registered',"
                    " ARRAY[now() - interval '20 s', now() - interval '10 s'])"
                ),
            ):
                cursor.execute(statement, (workspace,))
            cursor.execute(
                "INSERT INTO failures (kind, source, recent, locked_until, expires) VALUES"
                " ('password', 'a', ARRAY[now() - interval '9 min', now()], NULL, now() + interval '1 h'),"
                " ('password', 'b', '{}', now() + interval '14 min', now() + interval '1 h')"
            )
            cursor.execute(
                "INSERT INTO lookups (source, recent, seen) VALUES"
                " ('a', array_fill(now() - interval '30 s', ARRAY[98]), now()), ('b', '{}', now())"
            )

    def test_old_rows(self) -> None:
        """What counted counts on, and lockouts last."""
        migrate(self.connection, self.first)
        workspace, device = WorkspaceID(uuid4()), DeviceID(UUID(int=1))
        self.fill(workspace.uuid)
        migrate(self.connection, schema.DIRECTORY)
        limit = Limit("password", 4, timedelta(minutes=15), timedelta(minutes=15))
        allowance = Allowance(100, 10, limit)
        with self.connection, self.connection.cursor() as cursor:
            txn = Transaction(cursor)
            self.assertIsNone(failures.note_failure(txn, limit, "a"))
            self.assertIsNotNone(failures.note_failure(txn, limit, "a"))
            self.assertIsNotNone(failures.find_lock(txn, limit, "b"))
            taken = [lookups.take_share(txn, source, allowance).lookups for source in "aaab"]
            self.assertEqual(taken, [1, 1, 0, 10])
            sends.note_send(txn, workspace, device, uuid4(), 3)
            with self.assertRaises(sends.TooManyMessages):
                sends.note_send(txn, workspace, device, uuid4(), 3)
            cursor.execute("SELECT count(*) FROM devices")
            self.assertEqual(cursor.fetchone(), (2,))
