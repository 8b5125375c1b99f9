"""``mensagod run``, in a process of its own."""

import signal
import socket

from twisted.trial.unittest import SynchronousTestCase

from mensagod.config.listeners import parse_listener
from mensagod.installation.founding import found
from tests.cli.processes import Command
from tests.installation.places import ENVIRONMENT, choose, fresh_database, make_directory, url_of


class RunTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.directory = make_directory(self)
        self.url = url_of(fresh_database(self))

    def found(self, listen: str) -> str:
        """Set a server up; give its configuration."""
        found(choose(self.directory, self.url, listen=(parse_listener(listen),)), ENVIRONMENT)
        return str(self.directory / "serverconfig.toml")

    def test_signals(self) -> None:
        """It logs where it listens, goes on after SIGHUP, and ends with status 0 at SIGTERM."""
        server = Command.start(self, self.directory, "--config", self.found("tcp:0"), "run")
        line = server.line("listening on tcp:")
        server.process.send_signal(signal.SIGHUP)
        server.line("read again")
        port = int(line.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
            self.assertIn(b"Mensago", connection.recv(4096))
        self.assertEqual(server.stop(), 0)

    def test_taken(self) -> None:
        """Where it cannot listen it fails with a line, which names the address."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            listen = f"tcp:{taken.getsockname()[1]}:interface=127.0.0.1"
            server = Command.start(self, self.directory, "run", "--json", "--config", self.found(listen))
            out, err = server.rest()
        self.assertEqual((server.process.returncode, out), (1, ""))
        self.assertTrue(err.splitlines()[-1].startswith(f"mensagod: cannot listen on {listen}"), err)
