"""What the schema itself makes sure of (spec 06, *Database*)."""

import re
from typing import Any
from uuid import UUID

import psycopg2
from psycopg2 import errors
from twisted.trial.unittest import SynchronousTestCase

from mensagod.storage import schema
from mensagod.storage.connections import Connection
from mensagod.storage.migrations import read_steps
from mensagod.storage.queue import BUCKETS
from tests.databases import DatabaseTestCase

A, B, C, D = (UUID(int=number) for number in (1, 2, 11, 12))
ZERO = UUID(int=0)
FILE = "1.2.99999999-9999-4999-8999-999999999999"


class ConstraintTests(DatabaseTestCase):
    """Nothing that must be unique or consistent is left to Python."""

    async def prepare(self) -> None:
        self.connection: Connection = self.connect()
        self.connection.autocommit = True
        for workspace in (A, B):
            self.insert("workspaces", id=workspace, domain="example.com", status="active", password_hash="x")

    def execute(self, sql: str, parameters: Any = ()) -> None:
        with self.connection.cursor() as cursor:
            cursor.execute(sql, parameters)

    def insert(self, table: str, **values: Any) -> None:
        places = ", ".join(["%s"] * len(values))
        self.execute(f"INSERT INTO {table} ({', '.join(values)}) VALUES ({places})", tuple(values.values()))

    def assert_refused(self, error: type[psycopg2.Error], table: str, **values: Any) -> None:
        with self.assertRaises(error):
            self.insert(table, **values)

    def test_workspaces(self) -> None:
        """An ID once, none for the server, a known state, a password in those states that have one."""
        row = {"id": UUID(int=3), "domain": "example.com", "status": "active", "password_hash": "x"}
        self.assert_refused(errors.UniqueViolation, "workspaces", **{**row, "id": A})
        for wrong in (
            {"id": ZERO},
            {"status": "deleted"},
            {"password_hash": None},
            {"status": "preregistered"},
            {"status": "archived"},
        ):
            self.assert_refused(errors.CheckViolation, "workspaces", **{**row, **wrong})
        self.insert("workspaces", **row)

    def test_names(self) -> None:
        """A name once in a domain, whatever it is to whom; one current name for a workspace."""
        row = {
            "domain": "example.com",
            "user_id": "alice",
            "workspace": A,
            "kind": "current",
            "unicode": "15",
        }
        self.insert("names", **row)
        for kind in ("current", "former", "alias"):
            for workspace in (A, B):
                self.assert_refused(
                    errors.UniqueViolation, "names", **{**row, "workspace": workspace, "kind": kind}
                )
        self.assert_refused(errors.UniqueViolation, "names", **{**row, "user_id": "second"})
        self.assert_refused(errors.CheckViolation, "names", **{**row, "user_id": "other", "kind": "nick"})
        self.assert_refused(
            errors.ForeignKeyViolation, "names", **{**row, "user_id": "x", "workspace": UUID(int=9)}
        )
        for kind in ("former", "alias"):
            self.insert("names", **{**row, "user_id": kind, "kind": kind})
        self.insert("names", **{**row, "domain": "example.net", "workspace": B})

    def test_preregistrations_and_mailboxes(self) -> None:
        """One of each for a workspace; no negative numbers."""
        self.insert("preregistrations", workspace=A, code_hash="x")
        self.assert_refused(errors.UniqueViolation, "preregistrations", workspace=A, code_hash="y")
        self.insert("mailboxes", workspace=A, quota=0)
        self.assert_refused(errors.UniqueViolation, "mailboxes", workspace=A, quota=1)
        for column in ("quota", "used", "queued", "files", "last_update"):
            self.assert_refused(
                errors.CheckViolation, "mailboxes", **{"workspace": B, "quota": 0, column: -1}
            )

    def test_devices(self) -> None:
        """A device once in a workspace, in a known state."""
        row = {"workspace": A, "id": UUID(int=5), "key": "k", "status": "pending"}
        self.insert("devices", **row)
        self.assert_refused(errors.UniqueViolation, "devices", **row)
        self.assert_refused(errors.CheckViolation, "devices", **{**row, "workspace": B, "status": "lost"})
        self.insert("devices", **{**row, "workspace": B})

    def add_folder(self, workspace: UUID, path: str) -> int:
        self.insert("folders", workspace=workspace, path=path)
        with self.connection.cursor() as cursor:
            cursor.execute("SELECT id FROM folders WHERE workspace = %s AND path = %s", (workspace, path))
            ((folder,),) = cursor.fetchall()
        return int(folder)

    def test_files(self) -> None:
        """A path once; a file once in a directory, which it has, and a content, all of one workspace."""
        folder = self.add_folder(A, "/ wsp a")
        self.assert_refused(errors.UniqueViolation, "folders", workspace=A, path="/ wsp a")
        self.insert("contents", workspace=A, key=C, size=2, data=b"ab")
        self.insert("contents", workspace=B, key=D, size=2, data=b"ab")
        row = {"folder": folder, "name": FILE, "workspace": A, "time": 1, "size": 2, "content": C}
        self.insert("files", **row)
        self.assert_refused(errors.UniqueViolation, "files", **row)
        self.assert_refused(errors.CheckViolation, "files", **{**row, "name": "x", "size": -1})
        for wrong in ({"folder": 999}, {"workspace": B}, {"content": D}):
            self.assert_refused(errors.ForeignKeyViolation, "files", **{**row, "name": "x", **wrong})
        self.assert_refused(errors.NotNullViolation, "files", **{**row, "name": "x", "content": None})
        self.assert_refused(errors.ForeignKeyViolation, "folders", workspace=B, path="/ wsp b", parent=folder)
        with self.assertRaises(errors.ForeignKeyViolation):
            self.execute("DELETE FROM contents WHERE workspace = %s", (A,))
        self.execute("DELETE FROM folders")
        self.execute("DELETE FROM contents")

    def test_contents(self) -> None:
        """A key once in a workspace; the bytes are in the row or in the store, of the size that is said."""
        stored = {"workspace": A, "key": C, "size": 2, "day": "2030-01-01", "hash": b"x" * 32}
        self.insert("contents", **stored)
        self.assert_refused(errors.UniqueViolation, "contents", **stored)
        self.insert("contents", **{**stored, "key": D, "hash": None})
        inline = {"workspace": B, "key": C, "size": 2, "data": b"ab", "hash": b"x" * 32}
        self.insert("contents", **inline)
        for right, wrong in (
            (stored, {"size": -1}),
            (stored, {"hash": b"x" * 31}),
            (stored, {"uses": 0}),
            (stored, {"day": None}),
            (stored, {"data": b"ab"}),
            (inline, {"size": 3}),
        ):
            self.assert_refused(errors.CheckViolation, "contents", **{**right, "key": UUID(int=9), **wrong})

    def test_idle_contents(self) -> None:
        """A key is written once, and once in the garbage, also of a workspace that is gone."""
        gone = UUID(int=9)
        for table, rest in (("writings", {"until": "2030-01-01"}), ("garbage", {})):
            row = {"workspace": gone, "key": C, "day": "2030-01-01", **rest}
            self.insert(table, **row)
            self.assert_refused(errors.UniqueViolation, table, **row)
            self.assert_refused(errors.NotNullViolation, table, **{**row, "key": D, "day": None})

    def test_updates(self) -> None:
        """A number and an ID once in a workspace, a known type."""
        row = {
            "workspace": A,
            "number": 1,
            "id": UUID(int=7),
            "type": "CREATE",
            "data": "/",
            "time": "2030-01-01",
            "device": ZERO,
        }
        self.assert_refused(errors.ForeignKeyViolation, "updates", **row)
        for workspace in (A, B):
            self.insert("mailboxes", workspace=workspace, quota=0)
        self.insert("updates", **row)
        self.assert_refused(errors.UniqueViolation, "updates", **{**row, "id": UUID(int=8)})
        self.assert_refused(errors.UniqueViolation, "updates", **{**row, "number": 2})
        self.assert_refused(errors.CheckViolation, "updates", **{**row, "workspace": B, "type": "TOUCH"})

    def test_organization_keys(self) -> None:
        """One current key for a purpose; what is not current says since when, and has no key to sign with."""
        row = {"public": "a", "purpose": "signing", "private": "x", "status": "current"}
        self.insert("organization_keys", **row)
        self.assert_refused(errors.UniqueViolation, "organization_keys", **{**row, "public": "b"})
        retired = {"retired": "2030-01-01"}
        for wrong in (
            {"purpose": "sealing"},
            {"status": "lost"},
            {"status": "previous", "private": None},
            {"status": "previous", **retired},
            {"status": "revoked", **retired},
            {"status": "revoked", "purpose": "encryption", **retired},
            {"purpose": "encryption", "private": None},
        ):
            self.assert_refused(errors.CheckViolation, "organization_keys", **{**row, "public": "b", **wrong})
        for public, right in (
            ("c", {"status": "previous", "private": None}),
            ("d", {"status": "revoked", "private": None}),
            ("e", {"status": "previous", "purpose": "encryption"}),
        ):
            self.insert("organization_keys", **{**row, "public": public, **right, **retired})
        self.insert("organization_keys", **{**row, "public": "b", "purpose": "encryption"})

    def test_keycards(self) -> None:
        """An index once for an owner, from 1 on; the owner exists, or is the organization."""
        row = {
            "owner": A,
            "workspace": A,
            "number": 1,
            "text": "t",
            "hash": "h",
            "signed": "2030-01-01",
            "expires": "2031-01-01",
        }
        self.insert("keycard_entries", **row)
        self.assert_refused(errors.UniqueViolation, "keycard_entries", **row)
        for wrong in ({"number": 0}, {"workspace": B}, {"workspace": None}, {"owner": ZERO}):
            self.assert_refused(errors.CheckViolation, "keycard_entries", **{**row, "number": 2, **wrong})
        self.assert_refused(
            errors.ForeignKeyViolation,
            "keycard_entries",
            **{**row, "owner": UUID(int=9), "workspace": UUID(int=9)},
        )
        self.insert("keycard_entries", **{**row, "owner": ZERO, "workspace": None})

    def test_queue(self) -> None:
        """A message once in its bucket, in a known state, with its bytes in the row or in the store."""
        row = {
            "bucket": 7,
            "id": C,
            "destination": "example.org",
            "sender": A,
            "device": ZERO,
            "sender_domain": "example.com",
            "domain": "example.org",
            "name": FILE,
            "time": 1,
            "size": 2,
            "content": C,
            "data": b"ab",
            "due": "2030-01-01",
            "accepted": "2030-01-01",
        }
        self.insert("queue", **row)
        self.assert_refused(errors.UniqueViolation, "queue", **row)
        row = {**row, "id": D}
        for wrong in (
            {"bucket": -1},
            {"bucket": 256},
            {"state": "done"},
            {"state": "pending"},
            {"size": -1},
            {"size": 3},
            {"time": -1},
            {"attempts": -1},
            {"data": None},
            {"day": "2030-01-01"},
            {"hash": b"x"},
        ):
            self.assert_refused(errors.CheckViolation, "queue", **{**row, **wrong})
        self.insert(
            "queue", **{**row, "data": None, "day": "2030-01-01", "hash": b"x" * 32, "state": "failed"}
        )

    def test_buckets(self) -> None:
        """All buckets are there from the beginning, and there are no others."""
        with self.connection.cursor() as cursor:
            cursor.execute("SELECT bucket, process FROM queue_buckets ORDER BY bucket")
            self.assertEqual(cursor.fetchall(), [(bucket, None) for bucket in range(BUCKETS)])
        for bucket in (-1, BUCKETS):
            self.assert_refused(errors.CheckViolation, "queue_buckets", bucket=bucket)
        self.insert("queue_workers", process=A, until="2030-01-01")
        self.assert_refused(errors.UniqueViolation, "queue_workers", process=A, until="2031-01-01")

    def test_installation(self) -> None:
        """There is one installation."""
        self.insert("installation", store=A)
        self.assert_refused(errors.UniqueViolation, "installation", store=B)
        self.assert_refused(errors.CheckViolation, "installation", id=2, store=B)

    def test_sessions(self) -> None:
        """A session once in its workspace, and it ends with that."""
        row = {"id": A, "process": A, "workspace": A, "device": A, "address": ""}
        self.insert("sessions", **row)
        self.assert_refused(errors.UniqueViolation, "sessions", **row)
        self.assert_refused(errors.ForeignKeyViolation, "sessions", **{**row, "workspace": UUID(int=9)})
        self.execute("DELETE FROM workspaces WHERE id = %s", (A,))
        with self.connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM sessions")
            self.assertEqual(cursor.fetchone(), (0,))


class CommentTests(SynchronousTestCase):
    """The schema explains itself."""

    def test_every_table_is_explained(self) -> None:
        """Tables have a comment before them or begin with one, columns and functions one before them."""
        for step in read_steps(schema.DIRECTORY):
            lines = (schema.DIRECTORY / step.file_name).read_text().splitlines()
            is_function = False
            for number, line in enumerate(lines):
                if line.startswith("CREATE FUNCTION"):
                    self.assertTrue(lines[number - 1].startswith("--"), line)
                    is_function = True
                elif is_function:
                    is_function = not line.startswith("END")
                elif line.startswith("CREATE TABLE"):
                    around = (lines[number - 1], lines[number + 1])
                    self.assertTrue(any(near.strip().startswith("--") for near in around), line)
                elif re.match(
                    r" {4}[a-z_]+ +(uuid|text|bigint|integer|smallint|date|timestamptz|bytea)", line
                ):
                    self.assertTrue(lines[number - 1].strip().startswith("--"), line)
