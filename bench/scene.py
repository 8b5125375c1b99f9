"""The processes of a run: the installation with its server, the limits, and the load generators."""

import json
import os
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep
from typing import Any

from attrs import frozen

from bench.machine import OTHER_CPU, SERVER_CPU
from bench.processes import Child, end, running, start
from bench.wire import open_socket
from mensagod.storage.connections import connect

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
class Scene:
    """An installation with its running server.

    :ivar description: the data that ``bench.installation`` printed.
    :ivar description_file: a file with the same data, for the load generators.
    :ivar pid: the process ID of the server.
    """

    directory: Path
    description: dict[str, Any]
    description_file: Path
    pid: int
    tcp: int
    tls: int

    def load(self, kind: str, port: int, connections: int) -> Any:
        """Run a load generator."""
        return running(
            ["bench.load", kind, str(port), str(connections), str(self.description_file)], OTHER_CPU
        )

    def limit(self, name: str, *arguments: str) -> Any:
        """Run the program of a limit."""
        return running([f"bench.limits.{name}", *arguments], SERVER_CPU)

    def queue_length(self) -> int:
        """Give the number of messages that are not delivered yet."""
        connection = connect(self.description["database"])
        try:
            with connection.cursor() as cursor:
                cursor.execute("SELECT count(*) FROM queue")
                row = cursor.fetchone()
        finally:
            connection.close()
        return int(row[0]) if row else 0

    def wait_delivered(self) -> None:
        """Wait until all messages are delivered."""
        deadline = monotonic() + START_SECONDS
        while self.queue_length() and monotonic() < deadline:
            sleep(0.05)


@contextmanager
def installation() -> Iterator[Scene]:
    """Make an installation and run its server; stop and remove both at the end."""
    # Not in /tmp: that may be in memory, where fsync costs nothing.
    with tempfile.TemporaryDirectory(prefix="mensagod-bench-", dir="/var/tmp") as name:
        directory = Path(name)
        directory.chmod(0o755)
        site = directory / "site"
        site.mkdir()
        tcp, tls = _free_port(), _free_port()
        with running(["bench.installation", str(site), str(tcp), str(tls)], OTHER_CPU) as database:
            yield from _serve(directory, database, tcp, tls)


def _serve(directory: Path, database: Child, tcp: int, tls: int) -> Iterator[Scene]:
    description_file = directory / "description.json"
    description_file.write_text(json.dumps(database.ready))
    config = str(directory / "site" / "serverconfig.toml")
    log = directory / "server.log"
    server = start(["-c", TWISTD, "-n", "--pidfile=", "mensagod", "--config", config], SERVER_CPU, log)
    try:
        _wait_ready(server, tcp, log)
        yield Scene(directory, database.ready, description_file, server.pid, tcp, tls)
    finally:
        end(server, terminate=True)


def _wait_ready(server: subprocess.Popen[str], port: int, log: Path) -> None:
    deadline = monotonic() + START_SECONDS
    while True:
        try:
            open_socket(port).close()
        except OSError:
            if monotonic() > deadline or server.poll() is not None:
                raise RuntimeError(log.read_text()) from None
            sleep(0.1)
        else:
            return


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def raise_file_limit() -> None:
    """Raise the soft limit of open files to the hard limit, for many connections."""
    import resource  # noqa: PLC0415

    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def data_directory(scene: Scene) -> Path:
    """Make a directory on the same disk as the store, for the files of a limit."""
    path = scene.directory / "limit"
    os.makedirs(path, exist_ok=True)
    return path
