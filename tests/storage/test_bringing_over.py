"""The contents of an earlier version are brought over to the content store (spec 06, *Files*)."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from twisted.logger import capturedLogs, formatEvent
from twisted.python.filepath import FilePath
from twisted.trial.unittest import SynchronousTestCase

from mensagod.contents.file_store import FileStore
from mensagod.contents.interfaces import WrongStore
from mensagod.contents.keys import ContentKey
from mensagod.storage import bringing_over
from mensagod.storage.bringing_over import VERSION, BringingOver, NotBroughtOver
from mensagod.storage.connections import connect
from mensagod.storage.migrations import StepUnprepared, apply_all, installed_steps
from tests.contents.contract import digest, get
from tests.directories import scratch_of
from tests.installation.places import fresh_database
from tests.storage.old_installation import OldInstallation, migrate_to_old

INLINE = 8192
ROOT = Path(__file__).parents[2]

FILES = int(os.environ.get("MENSAGOD_TEST_OLD_FILES", "300"))
"""How many files the installation has that is brought over while it is killed."""


class BringingOverTestCase(SynchronousTestCase):
    """A database and a directory of an earlier version."""

    def setUp(self) -> None:
        self.parameters = fresh_database(self)
        self.connection = connect(self.parameters)
        self.addCleanup(self.connection.close)
        self.top_dir = scratch_of(self, "old")
        self.old = OldInstallation(self.connection, self.top_dir)
        self.store = FileStore(FilePath(str(self.top_dir)))

    def migrate(self, inline: int = INLINE, store: FileStore | None = None) -> None:
        """Bring everything over."""
        preparation = BringingOver(store or self.store, inline, lambda: 0.0)
        apply_all(self.connection, installed_steps(), {VERSION: preparation})

    def rows(self, sql: str, *parameters: object) -> list[Any]:
        with self.connection, self.connection.cursor() as cursor:
            cursor.execute(sql, parameters)
            return cursor.fetchall()

    def contents(self) -> dict[tuple[UUID, str], Any]:
        """Give the contents of files and messages, by owner and name."""
        rows = self.rows(
            "SELECT files.workspace, name, contents.key AS content, day, contents.size, hash, data, uses"
            " FROM files JOIN contents ON contents.workspace = files.workspace AND key = files.content"
            " UNION ALL SELECT sender, name, content, day, size, hash, data, 1 FROM queue"
        )
        return {(row.workspace, row.name): row for row in rows}

    def usage(self) -> list[Any]:
        return self.rows(
            "SELECT workspace, quota, used, files, last_update FROM mailboxes ORDER BY workspace"
        )

    def on_disk(self) -> set[Path]:
        return {path for path in self.top_dir.rglob("*") if path.is_file()}

    def assert_brought_over(self, inline: int = INLINE) -> None:
        """Check that every content can be read, and nothing else is there."""
        found = self.contents()
        old = {(content.owner, content.name): content for content in (*self.old.files, *self.old.messages)}
        self.assertEqual(set(found), set(old))
        stored: set[UUID] = set()
        for name, row in found.items():
            content = old[name].content
            self.assertEqual((row.size, row.hash, row.uses), (len(content), digest(content), 1))
            self.assertEqual(row.data is not None, inline > 0 and row.size <= inline)
            if row.data is not None:
                self.assertEqual(row.data, content)
            else:
                stored.add(row.content)
                self.assertEqual(get(self.store, ContentKey(row.day, row.content), row.size), content)
        listed = [key for day in self.store.list_days() for key in self.store.list_day(day, None, 10**6)]
        self.assertEqual(sorted(listed), sorted(stored))
        parts = {path for path in self.on_disk() if path.is_relative_to(self.top_dir / "content")}
        forgotten = {self.old.place(content.path) for content in self.old.forgotten}
        self.assertEqual(self.on_disk() - parts, {*forgotten, self.top_dir / "store-id"})
        ids = self.rows("SELECT store FROM installation")
        self.assertEqual([row.store for row in ids], [self.store.read_id()])


class WholeTests(BringingOverTestCase):
    """Everything is brought over at once."""

    def test_all(self) -> None:
        """Files and messages keep their contents, usage and counts are as before, the old tree is gone."""
        self.old.make(3, 40, 24)
        before = self.usage()
        queued = sum(content.size for content in self.old.messages if content.owner.int)
        with capturedLogs() as events:
            self.migrate()
        log = [formatEvent(event) for event in events]
        self.assert_brought_over()
        self.assertEqual(self.usage(), before)
        self.assertEqual(self.rows("SELECT sum(queued) FROM mailboxes"), [(queued,)])
        self.assertEqual(len(self.old.forgotten), 4)
        self.assertFalse((self.top_dir / "wsp").exists())
        [line] = [line for line in log if "belong to nothing" in line]
        self.assertIn(f"4 files below {self.top_dir}/out", line)
        self.assertEqual(len([line for line in log if "left" in line]), 1)

    def test_bytes(self) -> None:
        """A batch ends early after many bytes."""
        self.old.make(2, 30, 12)
        self.patch(bringing_over, "BATCH_BYTES", 30_000)
        self.migrate()
        self.assert_brought_over()

    def test_nothing_inline(self) -> None:
        """Where the configuration wants no contents in rows, there are none."""
        self.old.make(2, 20, 12)
        self.migrate(0)
        self.assert_brought_over(0)

    def test_progress(self) -> None:
        """Every few seconds the log says how many are left."""
        self.old.make(1, 20, 6)
        self.patch(bringing_over, "BATCH", 4)
        times = iter(range(0, 1000, 3))
        preparation = BringingOver(self.store, INLINE, lambda: float(next(times)))
        with capturedLogs() as events:
            apply_all(self.connection, installed_steps(), {VERSION: preparation})
        log = [formatEvent(event) for event in events]
        left = [int(line.split(" left")[0].rpartition(" ")[2]) for line in log if " left" in line]
        self.assertGreater(len(left), 3)
        self.assertEqual(left, sorted(left, reverse=True))
        self.assert_brought_over()

    def test_empty(self) -> None:
        """A database without files has nothing to bring over, and its store gets no ID by that."""
        migrate_to_old(self.connection)
        self.migrate()
        self.assertEqual(list(self.top_dir.iterdir()), [])
        self.assertEqual(self.rows("SELECT store FROM installation"), [])

    def test_nobody_prepares(self) -> None:
        """Without the preparation the step is refused while something is left, and says what to do."""
        self.old.make(1, 3, 0)
        error = self.assertRaises(StepUnprepared, apply_all, self.connection, installed_steps())
        self.assertIn("0009_brought_over.sql", str(error))
        self.assertIn("start the server", str(error))
        self.assertEqual(self.rows("SELECT max(version) FROM schema_versions"), [(8,)])
        self.migrate()
        self.assert_brought_over()

    def test_no_links(self) -> None:
        """Where the file system has no hard links, the files are copied."""
        self.old.make(1, 12, 6)

        def refuse(*args: object, **kwargs: object) -> None:
            raise PermissionError(1, "Operation not permitted")

        self.patch(os, "link", refuse)
        self.migrate(0)
        self.assert_brought_over(0)

    def test_several_at_once(self) -> None:
        """Several processes that start together take turns."""
        self.old.make(2, 60, 12)
        self.patch(bringing_over, "BATCH", 5)

        def run(_: int) -> None:
            connection = connect(self.parameters)
            try:
                preparation = BringingOver(FileStore(self.store.root), INLINE)
                apply_all(connection, installed_steps(), {VERSION: preparation})
            finally:
                connection.close()

        with ThreadPoolExecutor(4) as pool:
            self.assertEqual(list(pool.map(run, range(4))), [None] * 4)
        self.assert_brought_over()


class DamageTests(BringingOverTestCase):
    """Files that are lost, or cannot be brought over."""

    def lose(self, damage: Callable[[Path], object]) -> None:
        """Damage the files of two files and of a message, and migrate; they are without content then."""
        self.old.make(2, 30, 12)
        lost = [self.old.files[2], self.old.files[9], self.old.messages[2]]
        for content in lost:
            damage(self.old.place(content.path))
        with capturedLogs() as events:
            self.migrate()
        lines = [line for event in events if "is lost" in (line := formatEvent(event))]
        self.assertEqual(len(lines), len(lost))
        found = self.contents()
        for content in lost:
            row = found[content.owner, content.name]
            self.assertEqual((row.hash, row.data), (None, None))
            self.assertIsNone(self.store.head(ContentKey(row.day, row.content)))
            self.assertTrue(any(str(self.old.place(content.path)) in line for line in lines))

    def test_missing(self) -> None:
        """A missing file is named in the log with its whole path, and the start goes on."""
        self.lose(Path.unlink)
        self.assertFalse((self.top_dir / "wsp").exists())

    def test_lost_directory(self) -> None:
        """So are all files of a directory that is missing, each by itself."""
        self.old.make(2, 20, 6)
        lost = self.old.files[0].owner
        shutil.rmtree(self.top_dir / "wsp" / str(lost))
        with capturedLogs() as events:
            self.migrate()
        lines = [line for event in events if "is lost" in (line := formatEvent(event))]
        self.assertGreaterEqual(len(lines), 10)
        hashes = {row.workspace: row.hash for row in self.rows("SELECT workspace, hash FROM contents")}
        self.assertIsNone(hashes[lost])
        self.assertEqual(len([found for found in hashes.values() if found]), 1)

    def test_other_size(self) -> None:
        """So is one of another size than it should have; it stays where it is."""
        self.lose(lambda path: path.write_bytes(b"too long, and torn"))
        self.assertEqual(
            len([path for path in self.on_disk() if path.is_relative_to(self.top_dir / "wsp")]), 3
        )

    def test_unreadable(self) -> None:
        """A file that is there and cannot be read ends the start with a sentence; nothing is lost then."""
        self.old.make(1, 10, 0)
        path = self.old.place(self.old.files[4].path)
        content = path.read_bytes()
        path.unlink()
        for bad in (path.mkdir, lambda: path.symlink_to("/etc/passwd")):
            bad()
            error = self.assertRaises(NotBroughtOver, self.migrate)
            self.assertIn(str(path), str(error))
            path.unlink() if path.is_symlink() else path.rmdir()
        path.write_bytes(content)
        self.migrate()
        self.assert_brought_over()

    def test_full_disk(self) -> None:
        """So does a disk that is full, for a file that gets a second name, and for one that is copied."""
        self.old.make(1, 10, 0)
        for verb, at in (("link", 2), ("write", 3)):
            self.break_at(verb, at)
            error = self.assertRaises(NotBroughtOver, self.migrate)
            self.assertIn("No space left", str(error))
        self.migrate()
        self.assert_brought_over()

    def break_at(self, verb: str, at: int) -> None:
        """Have a function of ``os`` fail at its ``at``-th call."""
        real, calls = getattr(os, verb), 0

        def fill(*args: Any, **kwargs: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == at:
                raise OSError(28, "No space left on device")
            return real(*args, **kwargs)

        self.patch(os, verb, fill)


class StoreTests(BringingOverTestCase):
    """Only the right store is worked with."""

    def test_unmounted(self) -> None:
        """Where the old tree is not there, its disk is not mounted: nothing is written or lost."""
        self.old.make(1, 6, 0)
        empty = scratch_of(self, "empty")
        store = FileStore(FilePath(str(empty)))
        error = self.assertRaises(WrongStore, self.migrate, INLINE, store)
        self.assertIn(str(empty), str(error))
        self.assertIn("6 files and messages", str(error))
        self.assertIn("mount", str(error))
        self.assertEqual(list(empty.iterdir()), [])
        self.migrate()
        self.assert_brought_over()

    def test_foreign(self) -> None:
        """A store with an ID is not that of a database without one."""
        self.old.make(1, 6, 0)
        other = uuid4()
        (self.top_dir / "store-id").write_text(f"{other}\n")
        error = self.assertRaises(WrongStore, self.migrate)
        self.assertIn(str(other), str(error))
        self.assertIn(str(self.top_dir), str(error))
        self.assertTrue(all(self.old.place(content.path).exists() for content in self.old.files))

    def test_other_disk_meanwhile(self) -> None:
        """A store that becomes another one on the way ends the start as such."""
        self.old.make(1, 6, 0)

        def refuse(*args: object, **kwargs: object) -> None:
            raise WrongStore("another disk")

        self.patch(self.store, "adopt", refuse)
        self.assertRaises(WrongStore, self.migrate)

    def test_other_disk_later(self) -> None:
        """What was begun with one store is not continued with another."""
        self.old.make(1, 12, 0)
        self.patch(bringing_over, "BATCH", 2)
        self.assertEqual(interrupt(self, 60), -signal.SIGKILL)
        (self.top_dir / "store-id").rename(self.top_dir / "aside")
        self.assertRaises(WrongStore, self.migrate)
        (self.top_dir / "aside").rename(self.top_dir / "store-id")
        self.migrate()
        self.assert_brought_over()


def interrupt(test: BringingOverTestCase, steps: int) -> int:
    """Migrate in another process, which is killed after some steps; give its exit status."""
    settings = {
        "top_dir": str(test.top_dir),
        "database": test.parameters,
        "inline_bytes": INLINE,
        "steps": steps,
    }
    command = [sys.executable, "-m", "tests.storage.interrupted_migration", json.dumps(settings)]
    return subprocess.run(command, cwd=ROOT, check=False).returncode


class KilledTests(BringingOverTestCase):
    """A process is killed on the way, again and again."""

    timeout = 3600

    def test_killed(self) -> None:
        """Whatever it was doing, the next goes on, and in the end nothing is lost or left over."""
        self.old.make(max(3, FILES // 100), FILES, FILES // 2)
        before = self.usage()
        steps = (1, 12, 30, 31, 32, 47, 75, 150, 260, 401)
        for count in steps:
            self.assertEqual(interrupt(self, count), -signal.SIGKILL)
        self.assertEqual(interrupt(self, 10**9), 0)
        self.assert_brought_over()
        self.assertEqual(self.usage(), before)

    def test_every_step(self) -> None:
        """A process that never gets far brings a few files over in the end, at whatever step it is killed."""
        self.old.make(1, 4, 6)
        steps = 8
        while (status := interrupt(self, steps)) == -signal.SIGKILL:
            steps += 7
        self.assertEqual(status, 0)
        self.assert_brought_over()
