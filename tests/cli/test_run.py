"""``mensagod run``, in a process of its own."""

import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import mensagod
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

    def refused(self) -> str:
        """Have it refuse to start; give the last line."""
        server = Command.start(
            self, self.directory, "run", "--json", "--config", self.directory / "serverconfig.toml"
        )
        out, err = server.rest()
        self.assertEqual((server.process.returncode, out), (1, ""))
        self.assertNotIn("Traceback", err)
        return err.splitlines()[-1]

    def test_store(self) -> None:
        """A directory for the store that cannot be used ends the start with a line that says so."""
        self.found("tcp:0")
        store = self.directory / "data"
        store.chmod(0o500)
        self.assertIn(f"mensagod: {store} (global.top_dir) cannot be used", self.refused())
        store.chmod(0o700)
        shutil.rmtree(store)
        self.assertIn("whether its disk is mounted", self.refused())

    def test_twistd(self) -> None:
        """What ends the start is one line without a traceback for those who use twistd, too."""
        self.found("tcp:0")
        shutil.rmtree(self.directory / "data")
        done = self.twistd("--nodaemon", "--pidfile=")
        self.assertEqual(done.returncode, 1, done.stdout)
        self.assertIn("whether its disk is mounted", done.stdout.splitlines()[-1])
        self.assertNotIn("Traceback", done.stdout + done.stderr)

    def test_daemon(self) -> None:
        """Where twistd makes a daemon of it, the terminal hears of that too."""
        self.found("tcp:0")
        shutil.rmtree(self.directory / "data")
        done = self.twistd("--pidfile=twistd.pid", "--logfile=twistd.log")
        self.assertEqual(done.returncode, 1, done.stdout)
        self.assertIn(f"{self.directory / 'data'}", done.stdout + done.stderr)

    def twistd(self, *options: str) -> "subprocess.CompletedProcess[str]":
        """Run the server with twistd."""
        program = "from twisted.scripts.twistd import run; run()"
        config = str(self.directory / "serverconfig.toml")
        return subprocess.run(
            [sys.executable, "-c", program, *options, "mensagod", "--config", config],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            cwd=self.directory,
            env={**os.environ, **ENVIRONMENT, "PYTHONPATH": str(Path(mensagod.__file__).parents[1])},
        )

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
