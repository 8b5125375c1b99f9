"""The embedded PostgreSQL, with the programs that this machine has."""

import os
import signal
import stat
import sys
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.utils import getProcessOutputAndValue
from twisted.python.filepath import FilePath
from twisted.trial.unittest import TestCase

from mensagod.postgres.binaries import EmbeddedError, NoBinaries, candidates
from mensagod.postgres.cluster import Cluster
from mensagod.postgres.embedded import EmbeddedPostgres
from mensagod.process.accounts import UnixAccount, service_account
from mensagod.storage.connections import connect
from tests.directories import scratch_of
from tests.waiting import until


class EmbeddedTestCase(TestCase):
    """A directory that the account of the server can reach."""

    timeout = 300

    def setUp(self) -> None:
        self.directory = scratch_of(self, "embedded") / "postgresql"
        self.account: UnixAccount | None = service_account("nobody") if os.geteuid() == 0 else None

    def make(self, binaries: str | None = None, directory: Path | None = None) -> EmbeddedPostgres:
        postgres = EmbeddedPostgres(reactor, Cluster(directory or self.directory, binaries, self.account))
        self.addCleanup(postgres.stop)
        return postgres

    def pid(self) -> int:
        return int((self.directory / "data" / "postmaster.pid").read_text().split("\n", 1)[0])


def execute(postgres: EmbeddedPostgres, sql: str) -> list[tuple[object, ...]]:
    connection = connect(postgres.connection)
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(sql)
            return [tuple(row) for row in cursor.fetchall()] if cursor.description else []
    finally:
        connection.close()


class LifeTests(EmbeddedTestCase):
    async def test_each_installation(self) -> None:
        """With each installation found here a cluster is made, and keeps its data over a restart."""
        installations = list(candidates())
        self.assertNotEqual(installations, [])
        for number, installation in enumerate(installations):
            postgres = self.make(str(installation), self.directory / str(number))
            self.assertEqual(await postgres.start(), postgres.connection)
            execute(postgres, "CREATE TABLE kept AS SELECT 'blue' AS colour")
            await postgres.stop()
            await postgres.start()
            self.assertEqual(execute(postgres, "SELECT colour FROM kept"), [("blue",)])
            await postgres.stop()

    async def test_closed(self) -> None:
        """There is no way in but a socket in a directory that others cannot enter."""
        postgres = self.make()
        await postgres.start()
        self.assertEqual(execute(postgres, "SHOW listen_addresses"), [("",)])
        self.assertEqual(execute(postgres, "SHOW server_encoding"), [("UTF8",)])
        socket_directory = Path(postgres.connection["host"])
        for directory in (self.directory, self.directory / "data", socket_directory):
            self.assertEqual(stat.S_IMODE(directory.stat().st_mode), 0o700)
            self.assertNotEqual(directory.stat().st_uid, 0)

    async def test_silent_log(self) -> None:
        """What a failed statement holds does not go into PostgreSQL's log."""
        postgres = self.make()
        await postgres.start()
        execute(postgres, "CREATE TABLE codes (code text PRIMARY KEY)")
        execute(postgres, "INSERT INTO codes VALUES ('very-secret')")
        with self.assertRaises(Exception):  # noqa: B017
            execute(postgres, "INSERT INTO codes VALUES ('very-secret')")
        log = (self.directory / "postgresql.log").read_text()
        self.assertIn("duplicate key", log)
        self.assertNotIn("very-secret", log)

    async def test_long_path(self) -> None:
        """A directory whose path is too long for a socket works all the same."""
        postgres = self.make(directory=self.directory / ("d" * 60) / ("e" * 60))
        await postgres.start()
        self.assertEqual(execute(postgres, "SELECT 1"), [(1,)])
        self.addCleanup(FilePath(postgres.connection["host"]).remove)
        await postgres.stop()

    async def test_killed(self) -> None:
        """A server that dies is started again, and what was committed is there."""
        postgres = self.make()
        await postgres.start()
        execute(postgres, "CREATE TABLE kept AS SELECT 'blue' AS colour")
        pid = self.pid()
        os.kill(pid, signal.SIGKILL)
        await until(lambda: self.answers(postgres) and self.pid() != pid)
        self.assertEqual(execute(postgres, "SELECT colour FROM kept"), [("blue",)])

    async def test_survivor(self) -> None:
        """A server that outlived its owner is taken over, and stopped in the end."""
        first = self.make()
        await first.start()
        pid = self.pid()
        self.bereave(first)
        second = self.make()
        await second.start()
        self.assertEqual(self.pid(), pid)
        await second.stop()
        self.assertFalse(self.answers(second))

    async def test_killed_survivor(self) -> None:
        """Owner and server dead at once, with a stale pid file: the next start recovers."""
        first = self.make()
        await first.start()
        execute(first, "CREATE TABLE kept AS SELECT 'blue' AS colour")
        pid = self.pid()
        self.bereave(first)
        os.kill(pid, signal.SIGKILL)
        second = self.make()
        await second.start()
        self.assertNotEqual(self.pid(), pid)
        self.assertEqual(execute(second, "SELECT colour FROM kept"), [("blue",)])

    async def test_guest(self) -> None:
        """A server that a living process owns is used, and left alone."""
        owner, guest = self.make(), self.make()
        await owner.start()
        pid = self.pid()
        await guest.start()
        self.assertEqual(execute(guest, "SELECT 1"), [(1,)])
        await guest.stop()
        self.assertEqual(self.pid(), pid)
        self.assertTrue(self.answers(owner))

    async def test_account(self) -> None:
        """As root or not, before root is given up and after: it starts, restarts and stops."""
        self.directory.mkdir()
        arguments = ["-m", "tests.postgres.embedded_account", str(self.directory)]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        out, err, code = await getProcessOutputAndValue(sys.executable, arguments, environment)
        who = "root" if self.account else "user"
        steps = [f"started by {who}", "root: False", "restarted"]
        steps += ["answers: False", "answers: True", "stopped"]
        self.assertEqual(out.decode().splitlines(), steps, err.decode())
        self.assertEqual(code, 0)

    def answers(self, postgres: EmbeddedPostgres) -> bool:
        try:
            execute(postgres, "SELECT 1")
        except Exception:
            return False
        return True

    def bereave(self, postgres: EmbeddedPostgres) -> None:
        """Forget the server as a process does that is killed: its lock goes, nothing is stopped."""
        postgres.disown()


class RefusalTests(EmbeddedTestCase):
    async def test_no_binaries(self) -> None:
        """A directory without the programs is refused, and named."""
        with self.assertRaises(NoBinaries) as caught:
            await self.make(str(self.directory)).start()
        self.assertIn(str(self.directory), str(caught.exception))

    async def test_other_major(self) -> None:
        """A cluster of a version that is not installed is refused, with what to install."""
        data = self.directory / "data"
        data.mkdir(parents=True)
        (data / "PG_VERSION").write_text("9\n")
        with self.assertRaises(NoBinaries) as caught:
            await self.make().start()
        self.assertIn("postgresql-9", str(caught.exception))

    async def test_damaged(self) -> None:
        """A cluster that PostgreSQL refuses ends the start, with the reason from its log."""
        postgres = self.make()
        await postgres.start()
        await postgres.stop()
        (self.directory / "data" / "global" / "pg_control").unlink()
        with self.assertRaises(EmbeddedError) as caught:
            await self.make().start()
        self.assertIn("pg_control", str(caught.exception))

    async def test_not_a_cluster(self) -> None:
        """A data directory with something else in it is refused and left as it is."""
        (self.directory / "data").mkdir(parents=True)
        (self.directory / "data" / "PG_VERSION").write_text("poetry")
        with self.assertRaises(EmbeddedError):
            await self.make().start()
        self.assertEqual((self.directory / "data" / "PG_VERSION").read_text(), "poetry")

    async def test_no_directory(self) -> None:
        """Where its directory cannot be had the text names it; a link in its place is not followed."""
        self.directory.parent.mkdir(parents=True, exist_ok=True)
        self.directory.write_text("a file")
        with self.assertRaisesRegex(EmbeddedError, f"{self.directory}.* belong to the account"):
            await self.make().start()
        self.directory.unlink()
        elsewhere = self.directory.with_name("elsewhere")
        elsewhere.mkdir(0o755)
        self.directory.symlink_to(elsewhere)
        with self.assertRaisesRegex(EmbeddedError, "symbolic link"):
            await self.make().start()
        self.assertEqual(list(elsewhere.iterdir()), [])
