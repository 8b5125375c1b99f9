"""A PostgreSQL with a synchronous standby, and a name that leads to one of the two."""

import os
import shlex
import shutil
import time
from pathlib import Path
from typing import Any

from mensagod.process.accounts import give, service_account
from mensagod.storage.connections import Connection, connect
from tests.directories import scratch
from tests.guarding import guarded
from tests.system.crashing import CrashingCluster

SOCKET = ".s.PGSQL.5432"
_PATIENCE_SECONDS = 60
_SETTINGS = {"wal_level": "replica", "max_wal_senders": "4"}


def _administer(host: Path, statement: str) -> list[Any]:
    """Run a statement as the owner of a cluster; give what it returns."""
    connection: Connection = connect({"host": str(host), "user": "test", "dbname": "postgres"})
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []
    finally:
        connection.close()


class ReplicatedCluster:
    """A primary, its standby, and the directory whose socket leads to the one that serves.

    Connections stay with the cluster that they were made to, as behind a name or an address that moves.

    :ivar name: that directory.
    """

    def __init__(self) -> None:
        self.primary = CrashingCluster(_SETTINGS)
        self.standby = scratch("standby")
        self.name = scratch("name")
        self.primary.stop()
        account = service_account("nobody") if os.geteuid() == 0 else None
        shutil.copytree(self.primary.data, self.standby / "data")
        (self.standby / "data" / "standby.signal").touch()
        if account is not None:
            give([self.standby], account)
        self.primary.start()
        arguments = {} if account is None else account.subprocess_arguments()
        self._guard = guarded(self._command(), self.standby, arguments)
        self._wait_until(
            self.primary_directory, "SELECT count(*) = 1 FROM pg_stat_replication WHERE state = 'streaming'"
        )
        # Not sooner: commits would wait for it.
        _administer(self.primary_directory, "ALTER SYSTEM SET synchronous_standby_names = '*'")
        _administer(self.primary_directory, "SELECT pg_reload_conf()")
        self._wait_until(
            self.primary_directory, "SELECT count(*) = 1 FROM pg_stat_replication WHERE sync_state = 'sync'"
        )
        self.name.chmod(0o755)
        self.lead_to(self.primary_directory)

    @property
    def primary_directory(self) -> Path:
        """The directory of the primary's socket."""
        return self.primary.cluster.directory

    @property
    def parameters(self) -> dict[str, Any]:
        """How to reach the one that serves."""
        return {"host": str(self.name), "user": "test", "dbname": "postgres"}

    def lead_to(self, directory: Path) -> None:
        """Lead new connections to a cluster."""
        link = self.name / "next"
        link.symlink_to(directory / SOCKET)
        link.rename(self.name / SOCKET)

    def promote(self) -> None:
        """Make the standby a primary."""
        _administer(self.standby, "SELECT pg_promote()")
        self._wait_until(self.standby, "SELECT NOT pg_is_in_recovery()")

    def remove(self) -> None:
        """End both and remove all."""
        assert self._guard.stdin is not None
        self._guard.stdin.close()
        self._guard.wait(_PATIENCE_SECONDS)
        self.primary.remove()
        shutil.rmtree(self.name)

    def _command(self) -> list[str]:
        """Give the command of the standby: that of the primary, with another place."""
        program, *options = shlex.split((self.primary.data / "postmaster.opts").read_text())
        moved = [option.replace(str(self.primary_directory), str(self.standby)) for option in options]
        return [program, *moved, "-c", f"primary_conninfo=host={self.primary_directory} user=test"]

    def _wait_until(self, host: Path, question: str) -> None:
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while _administer(host, question) != [(True,)]:
            if time.monotonic() > deadline:
                raise TimeoutError(question)
            time.sleep(0.05)
