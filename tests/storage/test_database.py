"""Interactions against a real PostgreSQL."""

from collections.abc import Callable
from threading import Barrier, Event
from typing import Any

import psycopg2
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.internet.threads import deferToThread

from mensagod.status import Status
from mensagod.storage import attempts
from mensagod.storage.attempts import Attempt, Mode, SwallowedError
from mensagod.storage.connections import hang_up
from mensagod.storage.database import (
    CommitUnknown,
    Contention,
    Database,
    DatabaseUnavailable,
    constraint_name,
)
from mensagod.storage.pool import ConnectionPool
from mensagod.storage.rows import Transaction, one
from tests.databases import DatabaseTestCase
from tests.waiting import until


def add(txn: Transaction, number: int) -> None:
    txn.execute("INSERT INTO numbers (number) VALUES (%s)", (number,))


def total(txn: Transaction) -> int:
    txn.execute("SELECT coalesce(sum(number), 0) AS total FROM numbers")
    return one(lambda row: int(row.total), txn)


def backend(txn: Transaction) -> int:
    txn.execute("SELECT pg_backend_pid() AS pid")
    return one(lambda row: int(row.pid), txn)


class NumbersTestCase(DatabaseTestCase):
    """A database with a table of numbers, and a connection beside the service's."""

    async def prepare(self) -> None:
        self.beside = self.connect()
        self.execute("CREATE TABLE numbers (number integer CONSTRAINT numbers_pkey PRIMARY KEY)")

    def execute(self, sql: str) -> None:
        """Do something in another session, and commit it."""
        with self.beside, self.beside.cursor() as cursor:
            cursor.execute(sql)

    def terminate(self, pid: int) -> None:
        """Kill a session of the service, and wait until it is gone."""
        self.execute(f"SELECT pg_terminate_backend({pid}, 10000)")

    async def total(self) -> int:
        return await self.database.read(total)


class InteractionTests(NumbersTestCase):
    async def test_statement(self) -> None:
        """A change of one statement stands as soon as it is done, whatever comes after it."""

        def add_and_fail(txn: Transaction) -> None:
            add(txn, 5)
            raise ValueError("too late")

        await self.database.write(add, 1)
        with self.assertRaises(ValueError):
            await self.database.write(add_and_fail)
        self.assertEqual(await self.total(), 6)

    async def test_commit(self) -> None:
        """What an interaction writes stays; its arguments and its result pass through."""

        def add_both(txn: Transaction, first: int, *, second: int) -> str:
            add(txn, first)
            add(txn, second)
            return "done"

        self.assertEqual(await self.database.run(add_both, 7, second=8), "done")
        self.assertEqual(await self.total(), 15)

    async def test_rollback(self) -> None:
        """What an interaction raises comes out as it is, and nothing stays."""

        def fail(txn: Transaction) -> None:
            add(txn, 7)
            raise KeyError("mine")

        with self.assertRaises(KeyError):
            await self.database.run(fail)
        self.assertEqual(await self.total(), 0)

    async def test_constraint(self) -> None:
        """A broken constraint comes out as psycopg2's error, with the constraint's name."""
        await self.database.run(add, 7)
        with self.assertRaises(psycopg2.IntegrityError) as caught:
            await self.database.run(add, 7)
        self.assertEqual(constraint_name(caught.exception), "numbers_pkey")
        self.assertTrue(self.database.available)

    async def test_fault_of_ours(self) -> None:
        """Wrong SQL comes out as it is, and the connection is good for the next."""
        with self.assertRaises(psycopg2.ProgrammingError) as caught:
            await self.database.run(lambda txn: txn.execute("SELECT nonsense"))
        self.assertIsNone(constraint_name(caught.exception))
        self.assertEqual(await self.total(), 0)

    async def test_swallowed_error(self) -> None:
        """An interaction that goes on after an SQL error does not count as committed."""

        def swallow(txn: Transaction) -> None:
            add(txn, 1)
            try:
                add(txn, 1)
            except psycopg2.IntegrityError:
                return

        with self.assertRaises(SwallowedError):
            await self.database.run(swallow)

    async def test_read_committed(self) -> None:
        """The isolation level is READ COMMITTED, and set without session state."""

        def level(txn: Transaction) -> tuple[str, str]:
            txn.execute("SHOW transaction_isolation")
            now = txn.fetchall()[0][0]
            txn.execute("SHOW default_transaction_isolation")
            return now, txn.fetchall()[0][0]

        # Connections that a pooler has already would not have the setting.
        self.parameters = self.direct()
        name = self.parameters["dbname"]
        self.execute(f"ALTER DATABASE {name} SET default_transaction_isolation = 'serializable'")
        service = await self.make_service()
        self.assertEqual(await service.run(level), ("read committed", "serializable"))

    async def test_bounded(self) -> None:
        """No more connections than the pool's most are open, however many calls wait."""
        pids = await gatherResults([self.database.read(backend) for _ in range(100)])
        self.assertLessEqual(len(set(pids)), self.pool_max)

    async def test_cancelled(self) -> None:
        """A cancelled call does not begin; one that has begun goes on and its result is dropped."""
        begun, go_on = Event(), Event()

        def slow(txn: Transaction) -> None:
            begun.set()
            go_on.wait(30)
            add(txn, 1)

        blockers: list[Deferred[Any]] = [self.database.run(slow)]
        await deferToThread(begun.wait, 30)
        blockers += [self.database.read(lambda _: go_on.wait(30)) for _ in range(self.pool_max)]
        waiting = self.database.run(add, 10)
        blockers[0].cancel()
        waiting.cancel()
        await self.assertFailure(blockers.pop(0), CancelledError)
        await self.assertFailure(waiting, CancelledError)
        go_on.set()
        await gatherResults(blockers)
        await self.database.stopService()
        self.database.startService()
        self.assertEqual(await self.total(), 1)


class ConflictTests(NumbersTestCase):
    async def test_serialization_failure(self) -> None:
        """Of two transactions that cannot both be, one is tried again, and both are done."""
        await self.database.run(add, 1)
        barrier, tries = Barrier(2), []

        def raise_by_all(txn: Transaction) -> None:
            tries.append(1)
            txn.execute("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE")
            value = total(txn)
            if len(tries) <= 2:
                barrier.wait(30)
            txn.execute("UPDATE numbers SET number = %s", (value + 1,))

        await gatherResults([self.database.run(raise_by_all) for _ in range(2)])
        self.assertEqual(await self.total(), 3)
        self.assertGreater(len(tries), 2)

    async def test_deadlock(self) -> None:
        """The victim of a deadlock is tried again."""
        for number in (10, 20):
            await self.database.run(add, number)
        barrier, tries = Barrier(2), []

        def lock_both(txn: Transaction, first: int, second: int) -> None:
            tries.append(1)
            txn.execute("SELECT FROM numbers WHERE number = %s FOR UPDATE", (first,))
            if len(tries) <= 2:
                barrier.wait(30)
            txn.execute("SELECT FROM numbers WHERE number = %s FOR UPDATE", (second,))

        await gatherResults([self.database.run(lock_both, 10, 20), self.database.run(lock_both, 20, 10)])
        self.assertEqual(len(tries), 3)

    async def test_bounded_tries(self) -> None:
        """A transaction that never gets through is given up with 303."""

        def refuse(txn: Transaction) -> None:
            txn.execute("DO $$ BEGIN RAISE EXCEPTION SQLSTATE '40001'; END $$")

        with self.assertRaises(Contention) as caught:
            await self.database.run(refuse)
        self.assertEqual(caught.exception.status, Status.SERVER_UNAVAILABLE)
        self.assertTrue(self.database.available)


class LossTests(NumbersTestCase):
    pooled = False

    async def test_between(self) -> None:
        """A connection that was killed while it was idle is replaced unnoticed."""
        pids = set(await gatherResults([self.database.read(backend) for _ in range(20)]))
        for pid in pids:
            self.terminate(pid)
        await gatherResults([self.database.run(add, number) for number in (1, 2, 3, 4)])
        self.assertEqual(await self.total(), 10)

    async def test_within(self) -> None:
        """An interaction whose connection is killed in its middle runs again, once in effect."""
        tries = []

        def add_killed(txn: Transaction) -> None:
            add(txn, 5)
            tries.append(backend(txn))
            if len(tries) == 1:
                self.terminate(tries[0])
            add(txn, 6)

        await self.database.run(add_killed)
        self.assertEqual(len(tries), 2)
        self.assertEqual(await self.total(), 11)

    async def test_read_within(self) -> None:
        """The same holds for reading."""
        tries = []

        def read_killed(txn: Transaction) -> int:
            tries.append(backend(txn))
            if len(tries) == 1:
                self.terminate(tries[0])
            return total(txn)

        self.assertEqual(await self.database.read(read_killed), 0)
        self.assertEqual(len(tries), 2)

    async def test_swallowed_loss(self) -> None:
        """A loss that an interaction hides from us is noticed all the same."""
        tries = []

        def hide(txn: Transaction) -> None:
            tries.append(backend(txn))
            if len(tries) == 1:
                self.terminate(tries[0])
            try:
                add(txn, 1)
            except psycopg2.Error:
                return

        await self.database.run(hide)
        self.assertEqual(await self.total(), 1)

    async def test_during_commit(self) -> None:
        """A loss during the commit is not tried again: nobody knows what came of it."""
        tries = []

        def commit_killed(txn: Transaction) -> None:
            tries.append(1)
            add(txn, 1)
            self.terminate(backend(txn))

        with self.assertRaises(CommitUnknown) as caught:
            await self.database.run(commit_killed)
        self.assertEqual(caught.exception.status, Status.SERVER_UNAVAILABLE)
        self.assertEqual(len(tries), 1)
        await self.database.run(add, 2)

    async def test_during_statement(self) -> None:
        """Nor is one during a statement that commits by itself."""
        tries = []

        def add_killed(txn: Transaction) -> None:
            tries.append(1)
            self.terminate(backend(txn))
            add(txn, 1)

        with self.assertRaises(CommitUnknown):
            await self.database.write(add_killed)
        self.assertEqual(len(tries), 1)
        await self.database.run(add, 2)

    async def test_always(self) -> None:
        """An interaction that loses each connection is given up."""

        def add_killed(txn: Transaction) -> None:
            self.terminate(backend(txn))
            add(txn, 1)

        with self.assertRaises(DatabaseUnavailable):
            await self.database.run(add_killed)
        self.assertEqual(await self.total(), 0)


class LimitTests(NumbersTestCase):
    async def test_slow_statement(self) -> None:
        """A call that takes too long fails with 303; its thread and connection come free."""
        service = self.add_service()
        pid = await service.read(backend)
        await self.calm(service)
        (call,) = await self.begun(service.run)
        service._end_waiting()
        await self.assertFailure(call, DatabaseUnavailable)
        self.assertNotEqual(await service.read(backend), pid)

    async def test_queue(self) -> None:
        """The wait for a thread counts, and what waited too long never begins."""
        service = self.add_service(limit=0.3)
        go_on = Event()
        begun: list[Transaction] = []
        blocked = service.read(lambda _: go_on.wait(30))
        late = service.read(begun.append)
        await self.assertFailure(blocked, DatabaseUnavailable)
        await self.assertFailure(late, DatabaseUnavailable)
        go_on.set()
        await service.stopService()
        self.assertEqual(begun, [])

    async def test_slow_commit(self) -> None:
        """Of a commit that takes too long nobody knows, however fast its thread sees that it is given up."""
        service = self.add_service()
        await self.calm(service)

        def slowly(connection: Any) -> None:
            hang_up(connection)
            Event().wait(0.2)  # the thread goes on before the caller is told

        self.patch(attempts, "hang_up", slowly)
        (call,) = await self.begun(service.write)
        service._end_waiting()
        await self.assertFailure(call, CommitUnknown)

    async def test_late_result(self) -> None:
        """What is given up once it is committed is not said to be undone."""
        for mode in (Mode.TRANSACTION, Mode.STATEMENT):
            attempt = Attempt(self.pool(), Event(), lambda txn: add(txn, 5), mode)
            await deferToThread(attempt.perform)
            self.assertIsInstance(attempt.abandon(), CommitUnknown)
            self.execute("DELETE FROM numbers")

    async def test_after_statement(self) -> None:
        """Nor is a change that fails once it is done."""

        def fail(txn: Transaction) -> None:
            add(txn, 7)
            raise LookupError

        attempt = Attempt(self.pool(), Event(), fail, Mode.STATEMENT)
        await self.assertFailure(deferToThread(attempt.perform), LookupError)
        self.assertIsInstance(attempt.abandon(), CommitUnknown)

    async def test_refused(self) -> None:
        """What the database refused is undone."""
        await self.database.run(add, 1)
        for mode in (Mode.TRANSACTION, Mode.STATEMENT):
            attempt = Attempt(self.pool(), Event(), lambda txn: add(txn, 1), mode)
            await self.assertFailure(deferToThread(attempt.perform), psycopg2.IntegrityError)
            self.assertIs(type(attempt.abandon()), DatabaseUnavailable)

    def pool(self) -> ConnectionPool:
        """Make a pool, for attempts that are performed by hand."""
        pool = ConnectionPool(self.parameters)
        self.addCleanup(pool.close)
        return pool

    async def test_stop(self) -> None:
        """A service that stops lets interactions end."""
        service = self.add_service()
        begun = Event()

        def slow(txn: Transaction) -> None:
            begun.set()
            txn.execute("SELECT pg_sleep(0.2)")
            add(txn, 3)

        running = service.run(slow)
        await deferToThread(begun.wait, 30)
        await service.stopService()
        self.assertTrue(running.called)
        await running
        self.assertEqual(await self.total(), 3)
        with self.assertRaises(DatabaseUnavailable):
            await service.read(total)
        self.assertFalse(service.available)

    async def test_stop_is_bounded(self) -> None:
        """A service that stops ends an interaction that goes on for too long."""
        service = self.add_service(grace=0.1)
        await service.read(total)
        running = self.assertFailure(
            service.run(lambda txn: txn.execute("SELECT pg_sleep(60)")), DatabaseUnavailable
        )
        await service.stopService()
        await running

    async def calm(self, service: Database) -> None:
        """Have nothing under way but what the test begins: no question whether the database lives."""
        service._watch.stopService()
        await until(lambda: service.available and not service._running)

    async def begun(self, method: Callable[..., Deferred[None]]) -> tuple[Deferred[None]]:
        """Begin a statement that takes very long, in a tuple, as it is not waited for."""
        begun = Event()

        def sleep(txn: Transaction) -> None:
            begun.set()
            txn.execute("SELECT pg_sleep(3600)")

        call = method(sleep)
        await deferToThread(begun.wait, 60)
        return (call,)

    def add_service(self, *, limit: float = 30.0, grace: float = 10.0) -> Database:
        service = Database(reactor, self.parameters, 1, 1, limit=limit, grace=grace)
        service.startService()
        self.addCleanup(service.stopService)
        return service
