"""A throw-away PostgreSQL for this process, and a fresh database for each test.

The cluster is started for the first test that needs it. A guard process ends and removes it
as soon as this process is gone, however it went.
"""

import atexit
import os
import shutil
import subprocess
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

import psycopg2
from attrs import frozen
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from mensagod.postgres.binaries import Binaries, find_binaries
from mensagod.process.accounts import UnixAccount, can_reach, give, service_account
from mensagod.storage import schema
from mensagod.storage.connections import Connection, connect
from mensagod.storage.database import Database
from mensagod.storage.migrations import migrate
from tests.directories import scratch
from tests.guarding import guarded
from tests.pooler import Pooler

BINARIES_VARIABLE = "MENSAGOD_TEST_POSTGRES_BINARIES"
POOLED = bool(os.environ.get("MENSAGOD_TEST_POOLER"))
"""Whether the tests reach their databases through a pgbouncer in transaction mode."""
TEMPLATE = "product_template"

_PATIENCE_SECONDS = 120
_INITDB = ["-U", "test", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync", "--no-instructions"]
_FAST = {
    "listen_addresses": "",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "autovacuum": "off",
    "max_connections": "60",
    "shared_buffers": "32MB",
    "wal_level": "minimal",
    "max_wal_senders": "0",
}
_NO_CHANGES: Mapping[str, str] = MappingProxyType({})


def wanted_binaries() -> Binaries:
    """Find the programs that the tests run with."""
    return find_binaries(os.environ.get(BINARIES_VARIABLE) or None)


@frozen
class Cluster:
    """A running throw-away PostgreSQL."""

    directory: Path
    guard: subprocess.Popen[bytes]

    @classmethod
    def start(
        cls, changes: Mapping[str, str] = _NO_CHANGES, variables: Mapping[str, str] = _NO_CHANGES
    ) -> "Cluster":
        """Make a cluster and wait until it answers; blocks for about a second.

        :param changes: settings that differ from those of most tests.
        :param variables: more variables for its environment.
        """
        directory = scratch("test")
        account = service_account("nobody") if os.geteuid() == 0 else None
        binaries = _runnable(wanted_binaries(), directory, account)
        arguments = {} if account is None else account.subprocess_arguments()
        if account is not None:
            # After the copy: the guard, too, runs as the account, and removes all this.
            give([directory], account)
        _initdb(binaries, directory, arguments)
        settings = {**_FAST, "unix_socket_directories": str(directory), **changes}
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        command = [binaries.program("postgres"), "-D", str(directory / "data")]
        guard = guarded([*command, *options], directory, arguments, variables=variables)
        cluster = cls(directory, guard)
        atexit.register(cluster.stop)
        cluster.wait()
        return cluster

    def parameters(self, name: str) -> dict[str, Any]:
        """Describe how to reach a database of the cluster."""
        return {"host": str(self.directory), "user": "test", "dbname": name}

    def wait(self) -> None:
        """Block until it accepts connections."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while True:
            try:
                connect(self.parameters("postgres")).close()
            except psycopg2.OperationalError:
                if time.monotonic() > deadline or self.guard.poll() is not None:
                    raise
                with suppress(subprocess.TimeoutExpired):
                    self.guard.wait(timeout=0.02)
            else:
                return

    def stop(self) -> None:
        """End the cluster and remove it."""
        if self.guard.stdin is not None:
            self.guard.stdin.close()
        try:
            self.guard.wait(timeout=_PATIENCE_SECONDS)
        finally:
            shutil.rmtree(self.directory, ignore_errors=True)


def _runnable(binaries: Binaries, directory: Path, account: UnixAccount | None) -> Binaries:
    """Copy an installation that the account cannot reach, in a checkout of root's for instance."""
    if account is None or can_reach(binaries.directory / "postgres", account) is None:
        return binaries
    shutil.copytree(binaries.directory.parent, directory / "programs", symlinks=True)
    return Binaries.at(directory / "programs" / binaries.directory.name)


def _initdb(binaries: Binaries, directory: Path, arguments: dict[str, Any]) -> None:
    subprocess.run(
        [binaries.program("initdb"), "-D", directory / "data", *_INITDB],
        check=True,
        capture_output=True,
        cwd="/",
        **arguments,
    )


@cache
def cluster() -> Cluster:
    """Give the cluster of this process, started for the first who asks."""
    return Cluster.start()


@cache
def pooler() -> Pooler:
    """Give the pgbouncer of this process, started for the first who asks."""
    return Pooler.start(cluster().directory, 10)


def parameters_of(name: str) -> dict[str, Any]:
    """Describe how tests reach a database of the cluster of this process."""
    return (pooler() if POOLED else cluster()).parameters(name)


@cache
def _administration() -> Connection:
    connection = connect(cluster().parameters("postgres"))
    connection.autocommit = True
    return connection


def administer(statement: str) -> None:
    """Run a statement as the owner of the cluster, outside of the databases of tests."""
    with _administration().cursor() as cursor:
        cursor.execute(statement)


@cache
def product_template() -> str:
    """Name a database that has the product's schema, made for the first who asks."""
    administer(f"CREATE DATABASE {TEMPLATE}")
    connection = connect(cluster().parameters(TEMPLATE))
    try:
        migrate(connection, schema.DIRECTORY)
    finally:
        connection.close()
    return TEMPLATE


class DatabaseTestCase(TestCase):
    """A test with a database of its own.

    :ivar database: a running service, which has reached the database.
    :cvar pool_max: the most connections of it.
    :cvar pooled: whether a pgbouncer is before the database; false for tests that are about PostgreSQL's own
        connections.
    """

    timeout = 300
    pooled = POOLED
    pool_max = 4
    database: Database

    def make_template(self) -> str:
        """Name the database that those of the tests are copies of."""
        return product_template()

    def setUp(self) -> Deferred[None]:  # type: ignore[override]
        return Deferred.fromCoroutine(self._set_up())

    async def _set_up(self) -> None:
        self.parameters = self.make_database()
        self.database = await self.make_service()
        await self.prepare()

    async def prepare(self) -> None:
        """Do what the test needs before it begins; ``self.database`` runs already."""

    def make_database(self) -> dict[str, Any]:
        """Make a fresh database, dropped after the test; say how to reach it."""
        template = self.make_template()
        name = f"test_{uuid.uuid4().hex}"
        administer(f"CREATE DATABASE {name} TEMPLATE {template}")
        self.addCleanup(administer, f"DROP DATABASE {name} WITH (FORCE)")
        return parameters_of(name) if self.pooled else cluster().parameters(name)

    def direct(self) -> dict[str, Any]:
        """Say how to reach the test's database without a pooler."""
        if self.pooled and self.parameters["host"] == str(pooler().place):
            return cluster().parameters(self.parameters["dbname"])
        return self.parameters

    async def make_service(self, change: Callable[[Database], None] | None = None) -> Database:
        """Start another service on the same database, stopped after the test."""
        database = Database(reactor, self.parameters, 1, self.pool_max)
        if change is not None:
            change(database)
        database.startService()
        self.addCleanup(database.stopService)
        await database.read(lambda txn: txn.execute("SELECT 1"))
        return database

    def connect(self) -> Connection:
        """Open a plain connection to the test's database, closed after the test."""
        connection = connect(self.direct())
        self.addCleanup(connection.close)
        return connection
