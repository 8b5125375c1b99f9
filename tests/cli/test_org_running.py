"""``mensagod org`` beside a server in a process of its own, with the embedded PostgreSQL."""

import signal
import stat
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from mensagod.config.listeners import parse_listener
from mensagod.crypto.sealing import SecretKey
from mensagod.installation.founding import found
from mensagod.organization.key_file import read_candidates, write_next
from mensagod.process import trusted_configuration
from mensagod.process.accounts import acting_as
from mensagod.process.trusted_configuration import load_guarded
from tests.accounts import IS_ROOT, account_with_own_group
from tests.cli.processes import Command
from tests.cli.running import run
from tests.installation.places import ENVIRONMENT, choose, fresh_database, make_directory, url_of

CHANGED = "the organization's keys have changed"


class RunningTestCase(SynchronousTestCase):
    def found(self, database_url: str | None) -> None:
        """Set a server up; without a database it has one of its own."""
        self.directory = make_directory(self)
        listen = (parse_listener("tcp:0:interface=127.0.0.1"),)
        own = {"database_url": database_url, "embedded": database_url is None}
        self.config = found(choose(self.directory, "", listen=listen, **own), ENVIRONMENT).config

    def start(self) -> Command:
        return Command.start(self, self.directory, "--config", str(self.config.path), "run")


class RunningTests(RunningTestCase):
    def org(self, *arguments: str) -> int:
        """Run a verb; give the index of the entry that is current now."""
        outcome = run("--config", self.config.path, "--json", "org", *arguments)
        self.assertEqual((outcome.status, outcome.err), (0, ""))
        index: int = outcome.document.get("index", 0)
        return index

    def test_running_and_stopped(self) -> None:
        """Each verb works beside a server that runs, which follows and goes on, and after its end."""
        self.found(None)
        server = self.start()
        server.line("listening on tcp:")
        self.assertEqual(self.org("rotate"), 2)
        server.line(CHANGED)
        self.assertEqual(self.org("revoke", "--yes"), 3)
        server.line(CHANGED)
        self.org("rekey")
        server.line(CHANGED)
        self.assertEqual(self.org("show"), 3)
        self.assertEqual(server.stop(signal.SIGTERM), 0)
        self.assertEqual(self.org("rotate"), 4)
        server = self.start()
        server.line("listening on tcp:")
        self.assertEqual(server.stop(), 0)


class RootsConfigurationTests(RunningTestCase):
    """A configuration of root's, which the account only reads."""

    def setUp(self) -> None:
        self.account = account_with_own_group()
        self.found(None)

    def found(self, database_url: str | None) -> None:
        self.directory = make_directory(self)
        listen = (parse_listener("tls:0:interface=127.0.0.1"),)
        choices = choose(self.directory, "", listen=listen, database_url=None, embedded=True)
        self.config = found(choices, {**ENVIRONMENT, "MENSAGOD_GLOBAL__USER": self.account.name}).config
        self.edit('#user = "mensagod"', f'user = "{self.account.name}"')

    def edit(self, old: str, new: str) -> None:
        """Change the configuration in place, as root's editor does."""
        text = self.config.path.read_text()
        self.assertEqual(text.count(f"\n{old}\n"), 1)
        self.config.path.write_text(text.replace(f"\n{old}\n", f"\n{new}\n"))

    def assert_roots(self, *names: str) -> None:
        """The files are root's; the account may read them, others may not."""
        for name in names:
            found = (self.directory / name).stat()
            self.assertEqual((found.st_uid, found.st_gid), (0, self.account.gid), name)
            self.assertEqual(stat.S_IMODE(found.st_mode), 0o640, name)

    def test_files(self) -> None:
        """What the server serves with is root's, what it writes is the account's."""
        self.assert_roots("serverconfig.toml", "organization.key", "tls.crt", "tls.key")
        self.assertEqual(self.directory.stat().st_uid, 0)
        self.assertEqual((self.directory / "data").stat().st_uid, self.account.uid)
        self.assertIsNone(load_guarded(self.config.path, {}).reader)

    def test_life(self) -> None:
        """No longer root, the server reads all of it again, and follows what root changes."""
        server = self.start()
        server.line("listening on tls:")
        status = Path(f"/proc/{server.process.pid}/status").read_text()
        self.assertIn(f"Uid:\t{self.account.uid}\t{self.account.uid}\t", status)
        server.process.send_signal(signal.SIGHUP)
        server.line("configuration and certificates read again")
        self.edit('#level = "info"', 'level = "debug"')
        server.process.send_signal(signal.SIGHUP)
        server.line("log.level has changed")
        self.assertEqual(run("--config", self.config.path, "org", "rekey").status, 0)
        self.assert_roots("organization.key")
        server.line(CHANGED)
        self.assertEqual(server.stop(), 0)
        lost = self.directory / "organization.key"
        lost.unlink()
        revoked = run("--config", self.config.path, "--yes", "org", "revoke", "--new-key")
        self.assertEqual(revoked.status, 0, revoked.err)
        self.assert_roots("organization.key")
        server = self.start()
        server.line("listening on tls:")
        self.assertEqual(server.stop(), 0)

    def test_account(self) -> None:
        """Who takes the account over reads what the server reads, and changes nothing of it."""
        key = self.directory / "organization.key"
        with acting_as(self.account):
            read_candidates(key)
            for path in (key, self.config.path, self.config.network.tls_key):
                self.assertRaises(PermissionError, path.write_bytes, b"")
                self.assertRaises(PermissionError, path.unlink)
            # Without root's rights to take back, as who is the account has none.
            self.patch(trusted_configuration, "_is_acting", lambda: False)
            self.assertRaises(PermissionError, write_next, key, SecretKey.generate())


class StartTests(RunningTestCase):
    def setUp(self) -> None:
        self.found(url_of(fresh_database(self)))

    def fault(self, status: int) -> str:
        """Start a server that cannot; give what it says."""
        server = self.start()
        _, err = server.rest()
        self.assertEqual(server.process.returncode, status, err)
        return err.splitlines()[-1]

    def test_missing_key(self) -> None:
        """A missing organization.key ends the start with a line which says what to do."""
        self.config.organization_key.unlink()
        fault = self.fault(2)
        self.assertTrue(
            fault.startswith(f"mensagod: {self.config.organization_key} is missing: restore"), fault
        )

    def test_wrong_key(self) -> None:
        """So does one that belongs to another database."""
        self.config.organization_key.write_text(f"{SecretKey.generate().secret}\n")
        self.assertTrue(self.fault(1).startswith("mensagod: organization.key does not decrypt"))


if not IS_ROOT:
    # Only root makes such files.
    del RootsConfigurationTests
