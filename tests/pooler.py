"""A real pgbouncer in transaction mode, between the tests and their PostgreSQL."""

import atexit
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import psycopg2
from attrs import frozen

from mensagod.process.accounts import give, service_account
from mensagod.storage.connections import connect
from tests.directories import scratch
from tests.guarding import guarded

PGBOUNCER = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
"""The program; Debian's package has that name, and .ci/run installs it."""

_PATIENCE_SECONDS = 30
_CONFIGURATION = """
[databases]
* = host={server} user=test
[pgbouncer]
unix_socket_dir = {place}
listen_port = 5432
auth_type = any
pool_mode = transaction
default_pool_size = {size}
max_client_conn = 500
"""


@frozen
class Pooler:
    """A running pgbouncer.

    :ivar place: its directory, and that of its socket.
    """

    place: Path
    guard: subprocess.Popen[bytes]

    @classmethod
    def start(cls, server: Path, size: int) -> "Pooler":
        """Start one, and wait until it listens; blocks.

        :param server: the directory of PostgreSQL's socket.
        :param size: the most connections to one database.
        """
        place = scratch("pooler")
        path = place / "pgbouncer.ini"
        path.write_text(_CONFIGURATION.format(server=server, place=place, size=size))
        account = service_account("nobody") if os.geteuid() == 0 else None
        if account is not None:
            give([place], account)
        arguments = {} if account is None else account.subprocess_arguments()
        pooler = cls(place, guarded([PGBOUNCER or "pgbouncer", str(path)], place, arguments, "TERM"))
        atexit.register(pooler.stop)
        pooler.wait()
        return pooler

    def parameters(self, name: str) -> dict[str, Any]:
        """Describe how to reach a database through it."""
        return {"host": str(self.place), "user": "test", "dbname": name}

    def ask(self, question: str) -> list[Any]:
        """Ask it about itself, for instance ``SHOW POOLS``."""
        connection = connect(self.parameters("pgbouncer"))
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(question)
                return cursor.fetchall()
        finally:
            connection.close()

    def wait(self) -> None:
        """Block until it listens."""
        for _ in range(_PATIENCE_SECONDS * 50):
            try:
                self.ask("SHOW VERSION")
            except psycopg2.OperationalError:
                try:
                    self.guard.wait(timeout=0.02)
                except subprocess.TimeoutExpired:
                    continue
                raise
            return
        raise TimeoutError((self.place / "log").read_text())

    def stop(self) -> None:
        """End it and remove its directory."""
        if self.guard.stdin is not None:
            self.guard.stdin.close()
        self.guard.wait(timeout=_PATIENCE_SECONDS)
        shutil.rmtree(self.place, ignore_errors=True)
