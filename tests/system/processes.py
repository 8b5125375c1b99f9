"""Servers as processes of their own, which a test can kill and start again."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import mensagod
from mensagod.process.accounts import give, service_account
from tests.delivery.mail import MailTestCase
from tests.directories import scratch_of
from tests.waiting import until

_TWISTD = "from twisted.scripts.twistd import run; run()"


class ServerProcess:
    """A server that runs as ``twistd``, with the configuration file of a directory.

    :param log: where its log goes; each start begins a new one.
    """

    def __init__(self, directory: Path, log: str = "log"):
        self._directory = directory
        self.log = directory / log
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The process that was started last."""
        assert self._process is not None
        return self._process

    @property
    def port(self) -> int:
        """Where it listens; 0 until it does."""
        found = re.search(r"listening on tcp:127\.0\.0\.1:(\d+)", self.log.read_text())
        return int(found[1]) if found else 0

    def start(self) -> None:
        """Start it; it listens a little later."""
        options = ["--nodaemon", "--pidfile=", "mensagod", "--config", "serverconfig.toml"]
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _TWISTD, *options],
                cwd=self._directory,
                env={**os.environ, "PYTHONPATH": str(Path(mensagod.__file__).parent.parent)},
                stdout=log,
                stderr=log,
            )

    async def listens(self) -> None:
        """Wait until it listens.

        :raises AssertionError: with its log, if it ends instead.
        """
        await until(lambda: self.port > 0 or self.process.poll() is not None)
        if not self.port:
            raise AssertionError(self.log.read_text())

    def kill(self) -> None:
        """Have no process left, whatever it is doing; nothing if there is none."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)


class ProcessTestCase(MailTestCase):
    """Server processes on one database and one store, and accounts for their clients."""

    def mktemp(self) -> str:
        """Name a place that every account can reach."""
        return str(scratch_of(self, "processes") / "home")

    async def prepare(self) -> None:
        await self.establish()
        self.write_configuration()
        if os.geteuid() == 0:
            give([self.directory], service_account("nobody"))

    def network_lines(self) -> list[str]:
        """Give the lines of the table ``network``."""
        return ['listen = ["tcp:0:interface=127.0.0.1"]']

    def write_configuration(self) -> None:
        """Write the configuration file of all processes."""
        reach: dict[str, Any] = self.parameters
        path = self.directory / "serverconfig.toml"
        path.write_text(
            "\n".join(
                [
                    "[global]",
                    'domain = "example.com"',
                    f'top_dir = "{self.directory}/data"',
                    'user = "nobody"',
                    "[network]",
                    *self.network_lines(),
                    "[database]",
                    f'host = "{reach["host"]}"',
                    f'name = "{reach["dbname"]}"',
                    f'user = "{reach["user"]}"',
                    "pool_max = 6",
                    "[security]",
                    "argon2_memory = 8192",
                    "argon2_time = 1",
                    "failure_delay_sec = 0",
                    "max_recipients_per_minute = 0",
                    "",
                ]
            )
        )
        path.chmod(0o600)

    def process(self, log: str = "log") -> ServerProcess:
        """Start a server process, killed after the test."""
        process = ServerProcess(self.directory, log)
        self.addCleanup(process.kill)
        process.start()
        return process
