"""The service while its database goes, hangs, and comes back."""

import contextlib
import os
import signal
import socket
from pathlib import Path
from threading import Event

from twisted.internet import reactor
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.threads import deferToThread
from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from twisted.python.monkey import MonkeyPatcher
from twisted.trial.unittest import TestCase
from zope.interface import implementer

from mensagod.errors import BadValue
from mensagod.status import Status
from mensagod.storage import database
from mensagod.storage.connections import connection_parameters
from mensagod.storage.database import CommitUnknown, Database, DatabaseUnavailable
from mensagod.storage.rows import Transaction, one
from tests.postgres.test_embedded import EmbeddedTestCase
from tests.waiting import until


def answer(txn: Transaction) -> int:
    txn.execute("SELECT 42 AS answer")
    return one(lambda row: int(row.answer), txn)


class AwayTests(EmbeddedTestCase):
    def setUp(self) -> Deferred[None]:  # type: ignore[override]
        super().setUp()
        return Deferred.fromCoroutine(self._set_up())

    async def _set_up(self) -> None:
        self.cluster = self.make()
        await self.cluster.start()
        self.service = self.add_service()
        self.changes: list[bool] = []
        self.service.watch(self.changes.append)
        self.events: list[str] = []

        @implementer(ILogObserver)
        def observe(event: LogEvent) -> None:
            if str(event.get("event")).startswith("database_"):
                self.events.append(event["event"])

        globalLogPublisher.addObserver(observe)
        self.addCleanup(globalLogPublisher.removeObserver, observe)

    def add_service(self, limit: float = 30.0) -> Database:
        service = Database(reactor, self.cluster.connection, 1, 3, limit=limit)
        service.startService()
        self.addCleanup(service.stopService)
        return service

    async def test_stop_and_start(self) -> None:
        """303 while the server is away, at once; then all is well without anybody's help."""
        self.assertEqual(await self.service.read(answer), 42)
        self.assertTrue(self.service.available)
        await self.cluster.stop()
        for _ in range(5):
            with self.assertRaises(DatabaseUnavailable) as caught:
                await self.service.run(answer)
            self.assertEqual(caught.exception.status, Status.SERVER_UNAVAILABLE)
        self.assertFalse(self.service.available)
        await self.cluster.start()
        await until(lambda: self.service.available)
        self.assertEqual(await self.service.run(answer), 42)
        self.assertEqual(self.changes, [True, False, True])
        self.assertEqual(self.events, ["database_available", "database_unavailable", "database_available"])

    async def test_idle(self) -> None:
        """Without any call, too, it is noticed that the server is gone and back."""
        await until(lambda: self.service.available)
        await self.cluster.stop()
        await until(lambda: not self.service.available)
        await self.cluster.start()
        await until(lambda: self.service.available)
        self.assertEqual(await self.service.read(answer), 42)

    async def test_start_without(self) -> None:
        """A service that starts before its database finds it later."""
        await self.cluster.stop()
        service = self.add_service()
        with self.assertRaises(DatabaseUnavailable):
            await service.read(answer)
        await self.cluster.start()
        await until(lambda: service.available)
        self.assertEqual(await service.read(answer), 42)

    async def test_frozen(self) -> None:
        """A server that stands still is noticed; its calls end within their limit."""
        service = self.add_service(limit=5.0)
        pid = await service.read(_backend)
        os.kill(pid, signal.SIGSTOP)
        self.addCleanup(_signal, pid, signal.SIGCONT)
        calls = [service.read(_backend) for _ in range(3)]
        outcomes = await DeferredList(calls, consumeErrors=True)
        for done, outcome in outcomes:
            self.assertTrue(done or isinstance(getattr(outcome, "value", None), DatabaseUnavailable))
        await until(lambda: service.available)
        self.assertNotEqual(await service.read(_backend), pid)

    def processes(self) -> list[int]:
        """Give the processes of the server, the parent of the others first."""
        children = Path(f"/proc/{self.pid()}/task/{self.pid()}/children").read_text()
        return [self.pid(), *map(int, children.split())]

    def hurry(self) -> None:
        """Have services that start from now on ask soon."""
        for name, seconds in (("_TICK", 0.1), ("_SILENCE", 0.2)):
            self.patch(database, name, seconds)

    def hang(self) -> MonkeyPatcher:
        """Have the whole server stand still, and services wait for a short time until it is restored."""
        for pid in self.processes():
            _signal(pid, signal.SIGSTOP)
            self.addCleanup(_signal, pid, signal.SIGCONT)
        patience: MonkeyPatcher = self.patch(database, "_PROBE_LIMIT", 0.5)
        return patience

    async def test_hung(self) -> None:
        """When the whole server stands still, what runs and what waits is given up at once."""
        self.hurry()
        service = self.add_service(limit=3600.0)
        begun = Event()

        def slow(txn: Transaction) -> None:
            begun.set()
            txn.execute("SELECT pg_sleep(3600)")

        await service.read(answer)
        calls = [service.run(slow) for _ in range(5)]
        await deferToThread(begun.wait, 30)
        patience = self.hang()
        for done, outcome in await DeferredList(calls, consumeErrors=True):
            self.assertFalse(done)
            self.assertIsInstance(getattr(outcome, "value", None), DatabaseUnavailable)
        self.assertFalse(service.available)
        patience.restore()
        for pid in self.processes():
            _signal(pid, signal.SIGCONT)
        await until(lambda: service.available)
        self.assertEqual(await service.read(answer), 42)

    async def test_hung_in_commit(self) -> None:
        """What becomes of a commit that a hung server was sent, nobody knows."""
        self.hurry()
        service = self.add_service(limit=3600.0)
        await service.read(answer)
        call = service.write(_sleep, 3600)
        while not await self.service.read(_sleeps):
            pass
        self.hang()
        with self.assertRaises(CommitUnknown):
            await call

    async def test_busy(self) -> None:
        """A server that lives is not taken for a hung one because all connections wait for it."""
        self.hurry()
        service = self.add_service()
        await service.read(answer)
        changes: list[bool] = []
        service.watch(changes.append)
        go_on = Event()
        self.addCleanup(go_on.set)
        calls = [service.read(lambda _: go_on.wait(60)) for _ in range(6)]
        for _ in range(5):
            # It answers again and again, while no call can.
            heard = service._availability.since
            await until(lambda: service._availability.since > heard)  # noqa: B023  within this turn only
        self.assertFalse(any(call.called for call in calls))
        go_on.set()
        await DeferredList(calls, fireOnOneErrback=True)
        self.assertEqual(changes, [])


class SilentTests(TestCase):
    timeout = 300

    async def test_never_answers(self) -> None:
        """A host that takes connections and says nothing gives 303 within the limit."""
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
            service = Database(
                reactor,
                f"postgresql://me:secret@127.0.0.1:{port}/mensago?connect_timeout=600&sslmode=disable",
                1,
                2,
                limit=0.5,
            )
            service.startService()
            with self.assertRaises(DatabaseUnavailable):
                await service.run(answer)
            self.assertFalse(service.available)
            # The threads that still wait for it go on.
            listener.close()
            await service.stopService()

    def test_description(self) -> None:
        """What libpq cannot read is refused, and the password is not repeated."""
        with self.assertRaises(BadValue) as caught:
            connection_parameters("postgresql://me:secret@[host/mensago")
        self.assertNotIn("secret", str(caught.exception))

    def test_url(self) -> None:
        """What the operator's URL says goes before our defaults."""
        parameters = connection_parameters("postgresql://me@host/name?connect_timeout=9")
        self.assertEqual(
            (parameters["user"], parameters["dbname"], parameters["connect_timeout"]), ("me", "name", "9")
        )
        self.assertEqual(connection_parameters({"host": "there"})["host"], "there")


def _sleep(txn: Transaction, seconds: float) -> None:
    txn.execute("SELECT pg_sleep(%s)", (seconds,))


def _sleeps(txn: Transaction) -> bool:
    """Tell whether somebody is in :func:`_sleep`."""
    txn.execute(
        "SELECT count(*) AS count FROM pg_stat_activity"
        " WHERE query LIKE 'SET LOCAL%; SELECT pg_sleep%' AND state = 'active'"
    )
    return one(lambda row: bool(row.count), txn)


def _signal(pid: int, what: signal.Signals) -> None:
    """Signal a process of the server, some of which come and go."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, what)


def _backend(txn: Transaction) -> int:
    txn.execute("SELECT pg_backend_pid() AS pid")
    return one(lambda row: int(row.pid), txn)
