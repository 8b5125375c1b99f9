"""``mensagod org`` beside a server in a process of its own, with the embedded PostgreSQL."""

import signal

from twisted.trial.unittest import SynchronousTestCase

from mensagod.config.listeners import parse_listener
from mensagod.crypto.sealing import SecretKey
from mensagod.installation.founding import found
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
        self.assertTrue(fault.startswith(f"mensagod: {self.config.organization_key} is missing: put"), fault)

    def test_wrong_key(self) -> None:
        """So does one that belongs to another database."""
        self.config.organization_key.write_text(f"{SecretKey.generate().secret}\n")
        self.assertTrue(self.fault(1).startswith("mensagod: organization.key does not open"))
