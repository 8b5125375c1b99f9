"""A PostgreSQL cluster of our own: made, started, waited for and stopped, in plain blocking code.

The command line uses it as it is; :mod:`mensagod.postgres.embedded` runs it in threads and watches it for a
running server (spec 06, *Database*, *Embedded*).
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
"""Seconds to wait for the server, which may have to recover from a crash first."""

SPARE_CONNECTIONS: Final = 20
"""Connections beyond the pool's: for hints, for the command line, for the superuser."""

_SPAWNS = 6
_POLL = 0.05


class Cluster:
    """The cluster of one directory, and its server.

    Who holds the lock of the directory owns the server: starts it, restarts it when it dies, and
    stops it in the end. One that survived the sudden death of its owner is taken over, and
    stopped like any other; one that a living process owns is used and left alone.

    All but :meth:`interrupt` is called by one thread at a time.

    :param path: ``TOP_DIR/postgresql``.
    :param binaries: ``database.embedded_binaries``, if it is set.
    :param account: whom to run as if we are root; we may become it later.
    :param pool_max: the connections to be had, to which some are added.
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
        """How to reach the database, in keywords of libpq; true before the start, too."""
        return self._directory.parameters()

    def start(self) -> None:
        """Make the cluster if there is none, start its server, and return once it answers; blocks.

        :raise EmbeddedError: it cannot be; the text says why and what helps.
        """
        try:
            self._set_up()
        except OSError as error:
            place = error.filename or self._directory.path
            raise EmbeddedError(
                f"{place}: {error.strerror or error}: {self._directory.path} and all in it must belong to"
                " the account that PostgreSQL runs as, on a disk with room"
            ) from error

    def is_alive(self) -> bool:
        """Tell whether the server runs; cheap."""
        return self._server.is_alive()

    def bring_up(self) -> None:
        """Wait until a server answers, and start one whenever there is none; blocks.

        :raise EmbeddedError: it does not start, or does not answer.
        """
        deadline = time.monotonic() + START_LIMIT
        spawns = 0
        while not self._interrupted.is_set():
            if self._answers():
                return
            if self._server.claim() and not self._server.is_there():
                if spawns == _SPAWNS:
                    raise EmbeddedError(self._directory.last_words("does not start"))
                # The processes of one that was killed need a moment to end.
                self._interrupted.wait(spawns * 0.2)
                self._spawn()
                spawns += 1
            if time.monotonic() > deadline:
                raise EmbeddedError(self._directory.last_words("does not answer"))
            self._interrupted.wait(_POLL)
        raise EmbeddedError("Stopped before PostgreSQL had started")

    def interrupt(self) -> None:
        """Let whoever waits for the server, or is going to, give up; for another thread."""
        self._interrupted.set()

    def resume(self) -> None:
        """Take back an interruption."""
        self._interrupted.clear()

    def stop(self) -> None:
        """Stop the server if it is ours: connections end at once, what was committed is on disk; blocks."""
        self._server.stop()

    def disown(self) -> None:
        """Leave the server running, for whoever starts the next one for the directory."""
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
