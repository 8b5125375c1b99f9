"""``mensagod run`` with a content store that belongs to the database, or does not (spec 06, *Files*)."""

import shutil
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from twisted.trial.unittest import SynchronousTestCase

from mensagod.config.listeners import parse_listener
from mensagod.installation.founding import Founded, found
from mensagod.storage.installation import add_store, find_store
from mensagod.storage.rows import Transaction
from tests.cli.processes import Command
from tests.installation.places import (
    ENVIRONMENT,
    choose,
    execute,
    fresh_database,
    make_directory,
    url_of,
)


class StoreTests(SynchronousTestCase):
    """An installation whose server does not run yet."""

    def setUp(self) -> None:
        self.directory = make_directory(self)
        self.parameters = fresh_database(self)
        self.founded = self.found(self.directory, self.parameters)
        self.top_dir = self.founded.config.global_.top_dir
        self.known = self.recorded()

    def found(self, directory: Path, parameters: dict[str, Any]) -> Founded:
        listen = (parse_listener("tcp:0:interface=127.0.0.1"),)
        return found(choose(directory, url_of(parameters), listen=listen), ENVIRONMENT)

    def recorded(self) -> UUID | None:
        """Give the ID that the database knows."""
        return execute(self.parameters, find_store)

    def forget(self) -> None:
        """Have a database as it was before it knew a store."""
        execute(self.parameters, lambda txn: txn.execute("DELETE FROM installation"))

    def starts(self) -> None:
        """Check that the server starts, and that then store and database have the same ID."""
        server = Command.start(self, self.directory, "--config", self.directory / "serverconfig.toml", "run")
        server.line("listening on tcp:")
        self.assertEqual(server.stop(), 0)
        self.assertEqual((self.top_dir / "store-id").read_text(), f"{self.recorded()}\n")

    def refused(self, *words: object) -> None:
        """Check that the server does not start, and says why in one line."""
        server = Command.start(
            self, self.directory, "run", "--json", "--config", self.directory / "serverconfig.toml"
        )
        out, err = server.rest()
        self.assertEqual((server.process.returncode, out), (1, ""))
        self.assertNotIn("Traceback", err)
        for word in words:
            self.assertIn(str(word), err.splitlines()[-1])

    def test_restored(self) -> None:
        """A database that was put back to an earlier moment belongs to its store as before."""
        self.starts()
        self.starts()
        self.assertEqual(self.recorded(), self.known)

    def test_foreign_store(self) -> None:
        """A server does not start with the store of another installation; the line names both IDs."""
        other = make_directory(self)
        foreign = self.found(other, fresh_database(self)).config.global_.top_dir
        theirs = (foreign / "store-id").read_text().strip()
        aside = self.directory / "aside"
        self.top_dir.rename(aside)
        shutil.copytree(foreign, self.top_dir)
        for path in (self.top_dir, *self.top_dir.iterdir()):
            shutil.chown(path, aside.stat().st_uid, aside.stat().st_gid)
        before = sorted(self.top_dir.rglob("*"))
        self.refused(self.top_dir, theirs, self.known, "correct global.top_dir")
        self.assertEqual(sorted(self.top_dir.rglob("*")), before)
        self.assertEqual(self.recorded(), self.known)

    def test_unmounted(self) -> None:
        """Nor does it with a mount point whose disk is missing, and it writes nothing there."""
        disk = self.directory / "disk"
        self.top_dir.rename(disk)
        self.top_dir.mkdir(0o700)
        shutil.chown(self.top_dir, disk.stat().st_uid, disk.stat().st_gid)
        self.refused(f"{self.top_dir}/store-id is missing", self.known, "mount the disk")
        self.assertEqual(list(self.top_dir.iterdir()), [])
        self.top_dir.rmdir()
        disk.rename(self.top_dir)
        self.starts()

    def test_restored_too_early(self) -> None:
        """Nor with a database of a moment at which it did not know the store."""
        self.forget()
        self.refused(self.top_dir, self.known, "restore the database")
        self.assertIsNone(self.recorded())
        self.assertEqual((self.top_dir / "store-id").read_text(), f"{self.known}\n")

    def test_first_start(self) -> None:
        """At the first start of this version an installation without an ID gets one."""
        self.forget()
        (self.top_dir / "store-id").unlink()
        self.starts()
        self.assertNotEqual(self.recorded(), self.known)
        self.starts()

    def test_files_without_disk(self) -> None:
        """Unless the database has files, and there are none: then the disk is not mounted."""
        self.forget()
        (self.top_dir / "store-id").unlink()
        execute(self.parameters, add_content, self.founded.admin.uuid)
        self.refused(self.top_dir, "1 files and messages", "mount its disk")
        self.assertEqual(list(self.top_dir.iterdir()), [])
        self.assertIsNone(self.recorded())

    def test_crash(self) -> None:
        """A crash between the file and the row, or after both, keeps nobody from the next start."""
        (self.top_dir / "store-id").unlink()
        proposal = self.top_dir / "store-id.new"
        for is_recorded in (False, True):
            self.forget()
            (self.top_dir / "store-id").unlink(missing_ok=True)
            proposed = uuid4()
            proposal.write_text(f"{proposed}\n")
            shutil.chown(proposal, self.top_dir.stat().st_uid, self.top_dir.stat().st_gid)
            if is_recorded:
                execute(self.parameters, add_store, proposed)
            self.starts()
            self.assertEqual(self.recorded() == proposed, is_recorded)
            self.assertFalse(proposal.exists())

    def test_embedded(self) -> None:
        """Where the database is on the disk that is not mounted, no new database is made in its place."""
        self.directory = make_directory(self)
        choices = choose(self.directory, "", database_url=None, embedded=True)
        self.top_dir = found(choices, ENVIRONMENT).config.global_.top_dir
        disk = self.directory / "disk"
        self.top_dir.rename(disk)
        self.top_dir.mkdir(0o700)
        shutil.chown(self.top_dir, disk.stat().st_uid, disk.stat().st_gid)
        self.refused(self.top_dir, "postgresql", "whether its disk is mounted")
        self.assertEqual(list(self.top_dir.iterdir()), [])


def add_content(txn: Transaction, workspace: UUID) -> None:
    """Add a content that is in the store."""
    txn.execute(
        "INSERT INTO contents (workspace, key, day, size, hash) VALUES (%s, %s, '2026-01-01', 3, %s)",
        (workspace, uuid4(), bytes(32)),
    )
