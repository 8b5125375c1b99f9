"""``mensagod run``, in a process of its own."""

import signal
import socket
from pathlib import Path
from urllib.parse import quote

from twisted.trial.unittest import SynchronousTestCase

from mensagod.config.listeners import parse_listener
from mensagod.installation.founding import found
from tests.cli.processes import Command
from tests.installation.places import ENVIRONMENT, choose, fresh_database, make_directory


class RunTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.directory = make_directory(self)
        parameters = fresh_database(self)
        host = quote(parameters["host"], safe="")
        self.url = f"postgresql://test@/{parameters['dbname']}?host={host}"

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

    def test_bad_url(self) -> None:
        """A database.url that libpq does not understand is a fault of the configuration, told in a line."""
        path = Path(self.found("tcp:0"))
        path.write_text(path.read_text().replace("postgresql://test@", "postgresql//test:s3cret@"))
        server = Command.start(self, self.directory, "run", "--config", path)
        out, err = server.rest()
        self.assertEqual((server.process.returncode, out), (2, ""), err)
        self.assertIn("database.url = (not shown)", err.splitlines()[-1])
        self.assertNotIn("Traceback", err)
        self.assertNotIn("s3cret", err)
