"""Hints between two processes through a real PostgreSQL (spec 06, *Running many*)."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import cast
from uuid import UUID, uuid4

import psycopg2
from twisted.internet import reactor
from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher
from zope.interface import provider

from mensagod.sharing import pg_hints
from mensagod.sharing.hints import IHints, PollHints
from mensagod.sharing.listening import ListeningConnection
from mensagod.sharing.pg_hints import PgHints
from mensagod.storage import files, hints
from mensagod.storage.connections import Connection
from mensagod.storage.contents import Content
from mensagod.storage.files import Arrival
from mensagod.storage.rows import Transaction
from mensagod.threads.pool import IReactor, WorkerPool
from mensagod.values.identity import SERVER_DEVICE, WorkspaceID
from mensagod.values.paths import FileName
from tests.databases import DatabaseTestCase
from tests.sharing.hinting import ALICE, BOB, HintsContract
from tests.waiting import until

HERE, THERE = uuid4(), uuid4()


def settle(txn: Transaction, workspaces: Sequence[WorkspaceID]) -> None:
    """Make workspaces with their mailboxes."""
    ids = ([workspace.uuid for workspace in workspaces],)
    txn.execute(
        "INSERT INTO workspaces (id, domain, status, password_hash)"
        " SELECT unnest(%s::uuid[]), 'example.com', 'active', 'x'",
        ids,
    )
    txn.execute("INSERT INTO mailboxes (workspace, quota) SELECT unnest(%s::uuid[]), 0", ids)


def enter(txn: Transaction, process: UUID, workspaces: Sequence[WorkspaceID]) -> None:
    """Have a session of each workspace at a process."""
    txn.execute("INSERT INTO processes (id, name) VALUES (%s, 'x') ON CONFLICT DO NOTHING", (process,))
    txn.execute(
        "INSERT INTO sessions (id, process, workspace, device, address)"
        " SELECT gen_random_uuid(), %s, workspace, gen_random_uuid(), '192.0.2.1'"
        " FROM unnest(%s::uuid[]) AS workspace",
        (process, [workspace.uuid for workspace in workspaces]),
    )


def change(txn: Transaction, workspaces: Sequence[WorkspaceID]) -> None:
    """Make an update record in each workspace."""
    arrivals = [Arrival(workspace, FileName.make(1000, 1), Content.in_row(b"x")) for workspace in workspaces]
    assert files.place(txn, arrivals, SERVER_DEVICE, wait=True) == set(workspaces)


class StoredHintsTestCase(DatabaseTestCase):
    """Two processes, and what they hear."""

    async def prepare(self) -> None:
        self.heard_here: list[WorkspaceID | None] = []
        self.heard_there: list[WorkspaceID | None] = []
        self.settled: set[WorkspaceID] = set()

    async def settle(self, workspaces: Sequence[WorkspaceID]) -> None:
        """Make those of the workspaces that are not there yet."""
        fresh = [workspace for workspace in workspaces if workspace not in self.settled]
        self.settled.update(fresh)
        await self.database.run(settle, fresh)

    async def change(self, workspaces: Sequence[WorkspaceID]) -> None:
        await self.settle(workspaces)
        await self.database.run(change, workspaces)


class StoredPollHintsTests(StoredHintsTestCase, HintsContract):
    async def prepare(self) -> None:
        await super().prepare()
        self.seen: dict[WorkspaceID, int] = {}
        self.here = PollHints(reactor, self.database, dict)
        self.there = PollHints(reactor, self.database, lambda: self.seen)
        self.here.subscribe(self.heard_here.append)
        self.there.subscribe(self.heard_there.append)
        for each in (self.here, self.there):
            await each.start()
            self.addCleanup(each.stop)

    async def enter_there(self, workspaces: Sequence[WorkspaceID]) -> None:
        self.seen.update(dict.fromkeys(workspaces, 0))

    async def test_seen(self) -> None:
        """What the sessions know already is no news, nor is a workspace that is gone."""
        await self.change([ALICE, BOB])
        await self.database.run(change, [ALICE])
        gone = WorkspaceID.random()
        for seen, expected in (
            ({ALICE: 2, BOB: 1, gone: 0}, set()),
            ({ALICE: 1, BOB: 1}, {ALICE}),
            ({ALICE: 0, BOB: 0}, {ALICE, BOB}),
        ):
            self.assertEqual({*await self.database.read(hints.changed_beyond, seen)}, expected)


class StoredPgHintsTests(StoredHintsTestCase, HintsContract):
    pooled = False
    here: PgHints
    there: PgHints

    async def prepare(self) -> None:
        await super().prepare()
        self.lines: list[str] = []
        self.here, self.there = await self.listen(HERE), await self.listen(THERE)
        self.here.subscribe(self.heard_here.append)
        self.there.subscribe(self.heard_there.append)

        @provider(ILogObserver)
        def observe(event: LogEvent) -> None:
            self.lines.append(formatEvent(event))

        globalLogPublisher.addObserver(observe)
        self.addCleanup(globalLogPublisher.removeObserver, observe)

    async def listen(self, process: UUID) -> PgHints:
        threads = WorkerPool(cast(IReactor, reactor), "hints", 1)
        threads.startService()
        self.addCleanup(threads.stopService)
        made = PgHints(
            reactor=reactor,
            threads=threads,
            database=self.database,
            process=process,
            connect=lambda: ListeningConnection.open(self.parameters, process),
        )
        await made.start()
        self.addCleanup(made.stop)
        await until(lambda: self.is_ready(made))
        return made

    def is_ready(self, hints: IHints) -> bool:
        return isinstance(hints, PgHints) and hints._reader is not None

    async def enter_there(self, workspaces: Sequence[WorkspaceID]) -> None:
        await self.settle(workspaces)
        await self.database.run(enter, THERE, workspaces)

    def connection(self, process: PgHints) -> Connection:
        """Give the connection that a process listens through."""
        assert process._reader is not None
        return process._reader.connection._connection

    def execute(self, statement: str, *parameters: object) -> None:
        """Run a statement by a connection of its own."""
        connection = self.connect()
        with connection, connection.cursor() as cursor:
            cursor.execute(statement, parameters)

    async def heard_once(self) -> None:
        """Wait for a hint, and see that it is about Alice."""
        await until(lambda: self.heard_there != [])
        self.assertEqual(self.heard_there, [ALICE])
        self.heard_there.clear()

    async def test_together(self) -> None:
        """A workspace that changes again and again is heard of seldom."""
        await self.enter_there([ALICE])
        for _ in range(100):
            await self.hint(ALICE)
        await until(lambda: self.heard_there != [])
        self.assertLess(len(self.heard_there), 50)

    async def test_only_where_it_is(self) -> None:
        """A notification goes to the processes that have sessions, and not to who sends it."""
        await self.enter_there([ALICE])
        await self.database.run(enter, HERE, [ALICE])
        third = uuid4()
        heard: list[WorkspaceID | None] = []
        (await self.listen(third)).subscribe(heard.append)
        await self.hint(ALICE)
        await self.heard_once()
        self.assertEqual((self.heard_here, heard), ([ALICE], []))

    async def test_ended(self) -> None:
        """Connections that PostgreSQL ends are there again soon; the log tells of both once."""
        await self.enter_there([ALICE])
        for process in (self.here, self.there):
            pid = self.connection(process).info.backend_pid
            self.execute("SELECT pg_terminate_backend(%s)", pid)
            await until(lambda process=process: not self.is_ready(process))  # type: ignore[misc]
        self.heard_there.clear()
        await until(lambda: self.is_ready(self.here) and self.is_ready(self.there))
        self.assertEqual(self.heard_there, [None])
        self.heard_there.clear()
        await self.hint(ALICE)
        await self.heard_once()
        await until(lambda: not self.here._has_complained and not self.there._has_complained)
        told = [line for line in self.lines if "hints of other processes" in line]
        self.assertEqual(len(told), 4)
        self.assertEqual(len([line for line in told if "lost" in line]), 2)

    async def test_hangs(self) -> None:
        """A statement that gets no answer costs the connection, and nothing is held up by it."""
        self.patch(pg_hints, "STATEMENT_SECONDS", 0.2)
        await self.enter_there([ALICE])
        await self.change([ALICE])
        holder = self.connect()
        with holder.cursor() as cursor:
            cursor.execute("LOCK TABLE sessions")
        self.here.send(ALICE)
        await until(lambda: not self.is_ready(self.here))
        holder.rollback()
        await until(lambda: self.is_ready(self.here))
        await self.hint(ALICE)
        await self.heard_once()

    async def test_foreign_payloads(self) -> None:
        """Whatever others notify, only what is a workspace is heard."""
        channel = hints.channel_of(THERE)
        for payload in ("nonsense", "\u2603 1 ; '", "x" * 7999, f"{ALICE}"):
            self.execute("SELECT pg_notify(%s, %s)", channel, payload)
        await self.heard_once()

    async def test_no_waiting_for_the_disk(self) -> None:
        """A notification does not wait for the disk, and leaves the connection as it is."""
        connection = self.connection(self.here)
        self.assertTrue(connection.autocommit)
        self.here.send(ALICE)
        await until(lambda: self.here._coalescer._under_way is None and not self.here._coalescer._waiting)
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT reset_val = setting AS same FROM pg_settings WHERE name = 'synchronous_commit'"
            )
            self.assertEqual(cursor.fetchall(), [(True,)])


class ListeningConnectionTests(DatabaseTestCase):
    """One connection by itself."""

    pooled = False

    async def prepare(self) -> None:
        self.listening = ListeningConnection.open(self.parameters, HERE)
        self.addCleanup(self.listening.close)

    async def test_echo(self) -> None:
        """It hears what its process sends itself by another connection."""
        self.assertEqual(self.listening.take(), [])
        await self.database.write(hints.notify_self, HERE)
        heard: list[str] = []

        def has_heard() -> bool:
            heard.extend(self.listening.take())
            return heard != []

        await until(has_heard)
        self.assertEqual(heard, [""])

    def test_away(self) -> None:
        """What cannot be opened leaves nothing open."""
        before = len([*Path("/proc/self/fd").iterdir()])
        parameters = {**self.parameters, "dbname": "nosuch"}
        self.assertRaises(psycopg2.OperationalError, ListeningConnection.open, parameters, HERE)
        self.patch(ListeningConnection, "_listen", self.fail_to_listen)
        self.assertRaises(psycopg2.ProgrammingError, ListeningConnection.open, self.parameters, HERE)
        self.patch(os, "dup", self.fail_dup)
        self.assertRaises(OSError, ListeningConnection.open, self.parameters, HERE)
        self.assertEqual(len([*Path("/proc/self/fd").iterdir()]), before)

    @staticmethod
    def fail_to_listen(_: object) -> None:
        raise psycopg2.ProgrammingError

    @staticmethod
    def fail_dup(_: int) -> int:
        raise OSError

    def test_hang_up(self) -> None:
        """Who hangs up under it has its next use fail."""
        self.listening.hang_up()
        self.assertRaises(psycopg2.Error, self.listening.send, [ALICE])
        self.assertRaises(psycopg2.Error, self.listening.take)
