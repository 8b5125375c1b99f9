"""An embedded PostgreSQL cluster: create, start, wait for and stop it, in blocking code.

The command line uses this module directly. For a running server, :mod:`mensagod.postgres.embedded` runs it in
threads and monitors the cluster (spec 06, *Database*, *Embedded*).
"""

import threading
import time
from pathlib import Path
from typing import Any, Final

import psycopg2
from psycopg2 import sql

from mensagod.postgres.binaries import Binaries, EmbeddedError
from mensagod.postgres.directory import DATABASE, ClusterDirectory
from mensagod.postgres.server_process import ServerProcess
from mensagod.process.accounts import UnixAccount
from mensagod.storage.connections import connect

START_LIMIT: Final = 600.0
"""The most seconds to wait for the server, which may have to recover from a crash first."""

SPARE_CONNECTIONS: Final = 20
"""Connections in addition to the pool's: for hints, for the command line, for the superuser."""

_SPAWNS = 6
_POLL = 0.05


class Cluster:
    """The cluster of one directory, and its server.

    The process that holds the lock of the directory owns the server: it starts the server, restarts it when
    it dies, and stops it in the end. A server whose owner was killed is taken over. A server that another
    living process owns is used, but not stopped.

    Methods other than :meth:`interrupt` must be called by one thread at a time.

    :param path: ``TOP_DIR/postgresql``.
    :param binaries: ``database.embedded_binaries``, if it is set.
    :param account: the account to run PostgreSQL as if this process is root; the process may become it later.
    :param pool_max: the size of the connection pool; :data:`SPARE_CONNECTIONS` are added to it.
    """

    def __init__(
        self,
        path: Path,
        binaries: str | None = None,
        account: UnixAccount | None = None,
        pool_max: int = 10,
    ):
        self._configured = binaries
        self._max_connections = pool_max + SPARE_CONNECTIONS
        self._directory = ClusterDirectory(path, account)
        self._server = ServerProcess(self._directory)
        self._binaries: Binaries | None = None
        self._interrupted = threading.Event()

    @property
    def connection(self) -> dict[str, Any]:
        """The connection parameters of the database for libpq; valid before the start, too."""
        return self._directory.parameters()

    def start(self) -> None:
        """Create the cluster if it does not exist, start its server, and wait until it answers; blocks.

        :raise EmbeddedError: if that fails; the text says why and what to do.
        """
        try:
            self._set_up()
        except OSError as error:
            place = error.filename or self._directory.path
            raise EmbeddedError(
                f"{place}: {error.strerror or error}: check that {self._directory.path} and all in it belong"
                " to the account that PostgreSQL runs as, and that the disk is not full"
            ) from error

    def is_alive(self) -> bool:
        """Tell whether the server process exists; cheap."""
        return self._server.is_alive()

    def bring_up(self) -> None:
        """Wait until the server answers; start it if it does not run. Blocks.

        :raise EmbeddedError: if it does not start, or does not answer.
        """
        deadline = time.monotonic() + START_LIMIT
        spawns = 0
        while not self._interrupted.is_set():
            if self._answers():
                return
            if self._server.claim() and not self._server.is_there():
                if spawns == _SPAWNS:
                    raise EmbeddedError(self._directory.last_words("does not start"))
                # The processes of a server that was killed need a moment to end.
                self._interrupted.wait(spawns * 0.2)
                self._spawn()
                spawns += 1
            if time.monotonic() > deadline:
                raise EmbeddedError(self._directory.last_words("does not answer"))
            self._interrupted.wait(_POLL)
        raise EmbeddedError("The start of PostgreSQL was interrupted")

    def interrupt(self) -> None:
        """Make present and later calls that wait for the server fail, from another thread."""
        self._interrupted.set()

    def resume(self) -> None:
        """Undo :meth:`interrupt`."""
        self._interrupted.clear()

    def stop(self) -> None:
        """Stop the server, if this process owns it: close connections, keep committed data; blocks."""
        self._server.stop()

    def disown(self) -> None:
        """Leave the server running; the next process that uses the directory takes it over."""
        self._server.disown()

    def _set_up(self) -> None:
        self._directory.make_directories()
        self._binaries = self._directory.find_binaries(self._configured)
        if self._server.claim():
            self._directory.initialize(self._binaries)
        self.bring_up()
        self._make_database()

    def _spawn(self) -> None:
        if self._binaries is not None:
            self._server.spawn(self._binaries, self._max_connections)

    def _answers(self) -> bool:
        try:
            connect(self._directory.parameters("postgres")).close()
        except psycopg2.OperationalError:
            return False
        return True

    def _make_database(self) -> None:
        connection = connect(self._directory.parameters("postgres"))
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute("SELECT FROM pg_database WHERE datname = %s", (DATABASE,))
                if cursor.rowcount == 0:
                    cursor.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(DATABASE)))
        finally:
            connection.close()
