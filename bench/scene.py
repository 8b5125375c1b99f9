"""The processes of a run: the installation, its servers, the limits, and the load generators."""

import json
import os
import socket
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from time import monotonic, sleep
from typing import Any

from attrs import frozen

from bench.cpu import Meter
from bench.installation import CONFIG, environment, listeners
from bench.machine import OTHER_CPU, SERVER_CPU
from bench.people import settle
from bench.processes import end, running, start
from bench.wire import open_socket

START_SECONDS = 60
TWISTD = """
from attrs import evolve
from mensagod.operations import lookups
from twisted.scripts.twistd import run
# Allow thousands of lookups; they are counted by tens, as always.
lookups.ALLOWANCE = evolve(lookups.ALLOWANCE, per_minute=10**9)
run()
"""


@frozen
class Server:
    """A running server process."""

    pid: int
    tcp: int
    tls: int


@frozen
class Site:
    """An installation whose database runs.

    :ivar made: the data that ``bench.installation`` printed, and those that :mod:`bench.people` added.
    """

    directory: Path
    made: dict[str, Any]

    @property
    def description_file(self) -> Path:
        """A file with all data that the load generators need."""
        return self.directory / "description.json"

    @property
    def limit_directory(self) -> Path:
        """A directory on the same disk as the store, for the files of a limit."""
        path = self.directory / "limit"
        path.mkdir(exist_ok=True)
        return path

    def meter(self, *servers: Server) -> Meter:
        """Give what reads the CPU time of servers and of the database."""
        return Meter([server.pid for server in servers], self.made["postmaster"])

    @contextmanager
    def serving(self, count: int = 1, cpu: int | None = SERVER_CPU) -> Iterator[list[Server]]:
        """Run server processes on a core or, for ``None``, on any."""
        with ExitStack() as stack:
            yield [stack.enter_context(self._server(number, cpu)) for number in range(count)]

    @contextmanager
    def _server(self, number: int, cpu: int | None) -> Iterator[Server]:
        tcp, tls = _free_port(), _free_port()
        log = self.directory / f"server{number}.log"
        config = str(self.directory / "site" / CONFIG)
        process = start(
            ["-c", TWISTD, "-n", "--pidfile=", "mensagod", "--config", config],
            cpu,
            log,
            environment(NETWORK__LISTEN=listeners(tcp, tls)),
        )
        try:
            deadline = monotonic() + START_SECONDS
            while not _answers(tcp):
                if monotonic() > deadline or process.poll() is not None:
                    raise RuntimeError(log.read_text())
                sleep(0.1)
            yield Server(process.pid, tcp, tls)
        finally:
            end(process, terminate=True)


@frozen
class Scene:
    """An installation with one running server."""

    site: Site
    server: Server

    @property
    def description_file(self) -> str:
        """The file with all data that the load generators need."""
        return str(self.site.description_file)

    @property
    def meter(self) -> Meter:
        """Reads the CPU time of the server and of the database."""
        return self.site.meter(self.server)

    def load(self, kind: str, port: int, connections: int) -> Any:
        """Run a load generator."""
        return running(["bench.load", kind, str(port), str(connections), self.description_file], OTHER_CPU)

    def limit(self, name: str, *arguments: str) -> Any:
        """Run the program of a limit."""
        return running([f"bench.limits.{name}", *arguments], SERVER_CPU)


@contextmanager
def installation() -> Iterator[Site]:
    """Make an installation with users, and run its database; stop and remove all at the end."""
    # Not in /tmp: that may be in memory, where fsync costs nothing.
    with tempfile.TemporaryDirectory(prefix="mensagod-bench-", dir="/var/tmp") as name:
        directory = Path(name)
        directory.chmod(0o755)
        (directory / "site").mkdir()
        with running(["bench.installation", str(directory / "site")], OTHER_CPU) as database:
            empty = Site(directory, database.ready)
            # This server is not measured: the memory of one that has served nobody is a figure, too.
            with empty.serving() as [server]:
                site = Site(directory, settle(server.tcp, empty.made))
            site.description_file.write_text(json.dumps(site.made))
            yield site


def raise_file_limit() -> None:
    """Raise the soft limit of open files to the hard limit, for many connections."""
    import resource  # noqa: PLC0415

    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def file_to_stream(site: Site) -> Path:
    """Make a file for the limit of DOWNLOAD, of the size of the server's."""
    path = site.limit_directory / "stream"
    path.write_bytes(os.urandom(site.made["download_size"]))
    return path


def _answers(port: int) -> bool:
    try:
        open_socket(port).close()
    except OSError:
        return False
    return True


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
