"""The service while the database refuses something for now, reads only, or has too few connections."""

from threading import Event

from twisted.internet import reactor
from twisted.internet.defer import Deferred, DeferredList, gatherResults
from twisted.internet.threads import deferToThread

from mensagod.status import Status
from mensagod.storage import commit_watch, database
from mensagod.storage.attempts import Locked
from mensagod.storage.availability import Writes
from mensagod.storage.database import CommitUnknown, Database, DatabaseUnavailable
from mensagod.storage.rows import Transaction, one
from mensagod.storage.strangers import Stranger, begin_step, end_step
from mensagod.storage.transactions import transaction
from tests.databases import administer
from tests.observing import events_of
from tests.postgres.test_embedded import EmbeddedTestCase, execute
from tests.storage.test_database import NumbersTestCase, add, backend, total
from tests.waiting import until

STATES = ("database_writ", "database_connections")


def refuse(txn: Transaction, code: str) -> None:
    """Have the database answer with a code."""
    txn.execute(f"DO $$ BEGIN RAISE EXCEPTION SQLSTATE '{code}'; END $$")


class NotNowTestCase(NumbersTestCase):
    pooled = False
    pool_max = 1

    def quickly(self) -> None:
        """Have services that start from now on look often."""
        for name, seconds in (("_TICK", 0.1), ("_SILENCE", 0.2)):
            self.patch(database, name, seconds)

    def set_for_new_sessions(self, setting: str) -> None:
        self.execute(f"ALTER DATABASE {self.parameters['dbname']} {setting}")

    def end_sessions(self) -> None:
        self.execute(
            "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


class RefusalTests(NotNowTestCase):
    async def test_not_now(self) -> None:
        """What the database refuses for now is 303, and the connection is good for the next call."""
        pid = await self.database.read(backend)
        for code in ("55P03", "57014", "25P02", "53100", "53300"):
            for method in (self.database.run, self.database.write, self.database.read):
                with self.assertRaises(DatabaseUnavailable) as caught:
                    await method(refuse, code)
                self.assertEqual(caught.exception.status, Status.SERVER_UNAVAILABLE)
        self.assertTrue(self.database.available)
        self.assertEqual(await self.database.read(backend), pid)

    async def test_replaced(self) -> None:
        """A connection on which the system failed is replaced."""
        for code in ("58000", "58030", "58P01"):
            pid = await self.database.read(backend)
            with self.assertRaises(DatabaseUnavailable):
                await self.database.run(refuse, code)
            self.assertNotEqual(await self.database.read(backend), pid)

    async def test_timeouts(self) -> None:
        """A lock or a statement that the server bounds is 303."""

        def bounded(txn: Transaction, name: str, statement: str) -> None:
            txn.execute(f"SET LOCAL {name} = 50")
            txn.execute(statement)

        with self.beside, self.beside.cursor() as cursor:
            cursor.execute("LOCK numbers")
            with self.assertRaises(DatabaseUnavailable):
                await self.database.run(bounded, "lock_timeout", "SELECT FROM numbers")
        with self.assertRaises(DatabaseUnavailable):
            await self.database.run(bounded, "statement_timeout", "SELECT pg_sleep(60)")

    async def test_locked(self) -> None:
        """A short wait for a lock that was in vain is told from all else, and nothing is tried again."""
        tries: list[int] = []

        def look(txn: Transaction) -> str:
            tries.append(1)
            txn.limit_lock_waits()
            txn.execute("SELECT count(*) FROM numbers")
            return settings(txn)

        def settings(txn: Transaction) -> str:
            names = ("lock_timeout", "synchronous_commit")
            txn.execute("SELECT current_setting(%s) || ' ' || current_setting(%s) AS both", names)
            return one(lambda row: str(row.both), txn)

        pid = await self.database.read(backend)
        with self.beside, self.beside.cursor() as cursor:
            cursor.execute("LOCK numbers")
            await self.assertFailure(self.database.run(look), Locked)
        self.assertEqual(len(tries), 1)
        self.assertEqual(await self.database.run(look), "250ms on")
        # The limit goes with its transaction, and the connection stays.
        self.assertEqual(await self.database.run(settings), "0 on")
        self.assertEqual(await self.database.read(backend), pid)
        self.assertTrue(self.database.available)

    async def test_suspended(self) -> None:
        """A process that is suspended in such a transaction does not hold its locks for long."""

        def limits(txn: Transaction, *, limited: bool) -> str:
            if limited:
                txn.limit_lock_waits()
            txn.execute(
                "SELECT current_setting('lock_timeout') || ' '"
                " || current_setting('idle_in_transaction_session_timeout') AS limits"
            )
            return one(lambda row: str(row.limits), txn)

        for limited, expected in ((False, "0 0"), (True, "250ms 10s"), (False, "0 0")):
            self.assertEqual(await self.database.run(limits, limited=limited), expected)

    async def test_not_locked(self) -> None:
        """Nothing else that is refused for now is taken for a lock."""
        for code in ("57014", "53300", "25006"):
            with self.assertRaises(DatabaseUnavailable) as caught:
                await self.database.run(refuse, code)
            self.assertNotIsInstance(caught.exception, Locked)


class ReadOnlyTests(NotNowTestCase):
    async def test_stale_session(self) -> None:
        """A session that only reads is replaced, and its interaction done on another one."""

        def become_reader(txn: Transaction) -> int:
            txn.execute("SET default_transaction_read_only = on")
            return backend(txn)

        for method in (self.database.run, self.database.write):
            pid = await self.database.run(become_reader)
            self.assertEqual(await self.database.read(backend), pid)
            await method(add, pid)
            self.assertNotEqual(await self.database.read(backend), pid)

    async def test_reader(self) -> None:
        """While the database only reads, writes are 303 at once, reads go on, and the log says so once."""
        self.quickly()
        service = await self.make_service()
        await service.run(add, 1)
        changes: list[bool] = []
        service.watch(changes.append)
        events = events_of(self, *STATES)
        self.set_for_new_sessions("SET default_transaction_read_only = on")
        self.end_sessions()
        for _ in range(3):
            for method in (service.run, service.write):
                with self.assertRaises(DatabaseUnavailable):
                    await method(add, 2)
            self.assertEqual(await service.read(total), 1)
        self.assertTrue(service.available)
        # A probe may be under way.
        running = set(service._running)
        refused = service.run(add, 2)
        self.assertTrue(refused.called)
        self.assertEqual(set(service._running) - running, set())
        await self.assertFailure(refused, DatabaseUnavailable)
        with self.beside, self.beside.cursor() as cursor:
            cursor.execute("SET TRANSACTION READ WRITE")
            cursor.execute(f"ALTER DATABASE {self.parameters['dbname']} RESET default_transaction_read_only")
        await until(lambda: service._availability.writes is Writes.DONE)
        await service.run(add, 2)
        self.assertEqual(await service.read(total), 3)
        self.assertEqual(events, ["database_writes_refused", "database_writable"])
        self.assertEqual(changes, [])

    async def test_noticed_without_calls(self) -> None:
        """That the database only reads is noticed by the service itself, also at the start."""
        self.quickly()
        self.set_for_new_sessions("SET default_transaction_read_only = on")
        service = await self.make_service()
        await until(lambda: service._availability.writes is Writes.REFUSED)
        self.set_for_new_sessions("RESET default_transaction_read_only")
        await until(lambda: service._availability.writes is Writes.DONE)
        await service.run(add, 1)


class SynchronousTests(NotNowTestCase):
    async def test_synchronous(self) -> None:
        """What is acknowledged is on disk, whatever the database says of all its sessions."""

        def setting(txn: Transaction) -> str:
            txn.execute("SELECT current_setting('synchronous_commit') AS setting")
            return one(lambda row: str(row.setting), txn)

        def settings(txn: Transaction) -> tuple[str, str]:
            add(txn, 1)
            return setting(txn), setting(txn)

        self.set_for_new_sessions("SET synchronous_commit = off")
        service = await self.make_service()
        self.assertEqual(await service.run(settings), ("on", "on"))
        self.assertEqual(await service.write(setting), "on")
        self.assertEqual(await service.read(setting), "off")
        with transaction(self.connect()) as txn:
            self.assertEqual(setting(txn), "on")

    async def test_parameters(self) -> None:
        """A statement with parameters, and what it gives and counts, is as ever."""

        def change(txn: Transaction) -> tuple[int, int]:
            txn.execute("UPDATE numbers SET number = %s WHERE number = 1 RETURNING number", (5,))
            return txn.rowcount, one(lambda row: int(row.number), txn)

        await self.database.write(add, 1)
        self.assertEqual(await self.database.write(change), (1, 5))


class ShortageTests(NotNowTestCase):
    pool_max = 6

    async def prepare(self) -> None:
        await super().prepare()
        self.quickly()
        role = self.parameters["dbname"]
        administer(f"CREATE ROLE {role} LOGIN CONNECTION LIMIT 2")
        self.addCleanup(administer, f"DROP ROLE {role}")
        self.addCleanup(self.execute, f"DROP OWNED BY {role}")
        self.execute(f"GRANT ALL ON numbers TO {role}")
        self.limited = Database(reactor, {**self.parameters, "user": role}, 1, self.pool_max)
        self.limited.startService()
        self.addCleanup(self.limited.stopService)
        await until(lambda: self.limited.available)
        self.changes: list[bool] = []
        self.limited.watch(self.changes.append)

    async def test_waited_for(self) -> None:
        """Calls wait for the connections that there are; the database does not count as away."""
        events = events_of(self, *STATES)

        def slowly(txn: Transaction, number: int) -> None:
            txn.execute("SELECT pg_sleep(0.02)")
            add(txn, number)

        await gatherResults([self.limited.run(slowly, number) for number in range(30)])
        self.assertEqual(await self.limited.read(total), sum(range(30)))
        self.assertEqual(self.changes, [])
        self.assertEqual(events, ["database_connections_short"])

    async def test_all_busy(self) -> None:
        """Nor does it while all connections that there are have much to do."""
        go_on = Event()
        self.addCleanup(go_on.set)
        calls = [self.limited.read(lambda _: go_on.wait(60)) for _ in range(4)]
        await until(lambda: len(self.limited._connections._lent) == 2)
        ticks: list[float] = []
        self.patch(self.limited._commits, "look", ticks.append)
        await until(lambda: len(ticks) > 5)
        self.assertTrue(self.limited.available)
        go_on.set()
        await gatherResults(calls)
        self.assertEqual(self.changes, [])

    async def test_over(self) -> None:
        """Once more can be had, they are opened, and the log says so."""
        events = events_of(self, *STATES)
        administer(f"ALTER ROLE {self.parameters['dbname']} CONNECTION LIMIT 1")
        self.end_sessions()
        await self.limited.read(total)
        go_on = Event()
        self.addCleanup(go_on.set)
        calls = [self.limited.read(lambda _: go_on.wait(60)) for _ in range(2)]
        await until(lambda: "database_connections_short" in events)
        administer(f"ALTER ROLE {self.parameters['dbname']} CONNECTION LIMIT -1")
        await until(lambda: "database_connections_enough" in events)
        go_on.set()
        await gatherResults(calls)
        self.assertEqual(events, ["database_connections_short", "database_connections_enough"])


class StrangersTests(NotNowTestCase):
    pool_max = 4

    async def test_half(self) -> None:
        """However much strangers ask for, half of the connections is left to those who have logged in."""
        go_on = Event()
        self.addCleanup(go_on.set)
        running: list[str] = []

        def block(_: Transaction, source: str) -> None:
            running.append(source)
            go_on.wait(60)

        calls = []
        for source in ("first", "second", "first", "third") * 5:
            step = begin_step(Stranger(source))
            calls.append(self.database.read(block, source))
            end_step(step)
        await until(lambda: len(running) == 2)
        self.assertEqual(await gatherResults([self.database.read(total) for _ in range(10)]), [0] * 10)
        self.assertEqual(sorted(running), ["first", "second"])
        go_on.set()
        await gatherResults(calls)
        self.assertEqual(len(running), 20)

    async def test_limit(self) -> None:
        """The wait for a turn counts: what waited too long is 303, and never begins."""
        service = Database(reactor, self.parameters, 1, 2, limit=0.3)
        service.startService()
        self.addCleanup(service.stopService)
        await until(lambda: service.available)
        go_on = Event()
        self.addCleanup(go_on.set)
        begun: list[Transaction] = []
        step = begin_step(Stranger("somewhere"))
        blocked = service.read(lambda _: go_on.wait(60))
        late = service.read(begun.append)
        end_step(step)
        await self.assertFailure(blocked, DatabaseUnavailable)
        await self.assertFailure(late, DatabaseUnavailable)
        go_on.set()
        await service.stopService()
        self.assertEqual(begun, [])


class OwnClusterTestCase(EmbeddedTestCase):
    """A PostgreSQL of the test's own, and a service that looks often."""

    def setUp(self) -> Deferred[None]:  # type: ignore[override]
        super().setUp()
        return Deferred.fromCoroutine(self._set_up())

    async def _set_up(self) -> None:
        self.patch(database, "_TICK", 0.1)
        self.patch(commit_watch, "SUSPICIOUS", 0.2)
        self.patch(commit_watch, "PATIENCE", 0.5)
        self.cluster = self.make()
        await self.cluster.start()
        self.execute("CREATE TABLE numbers (number integer PRIMARY KEY)")
        self.execute("CREATE TABLE schema_versions AS SELECT 1 AS version, now() AS applied")
        self.service = Database(reactor, self.cluster.connection, 1, 3, limit=3600)
        self.service.startService()
        self.addCleanup(self.service.stopService)
        await until(lambda: self.service.available)
        self.events = events_of(self, *STATES)

    def execute(self, sql: str) -> None:
        execute(self.cluster, sql)


class StandbyTests(OwnClusterTestCase):
    async def test_promoted(self) -> None:
        """A standby is read, and written to as soon as it is promoted."""
        await self.service.run(add, 1)
        await self.cluster.stop()
        (self.directory / "data" / "standby.signal").touch()
        await self.cluster.start()
        await until(lambda: self.service._availability.writes is Writes.REFUSED)
        self.assertEqual(await self.service.read(total), 1)
        for method in (self.service.run, self.service.write):
            await self.assertFailure(method(add, 2), DatabaseUnavailable)
        self.execute("SELECT pg_promote()")
        await until(lambda: self.service._availability.writes is Writes.DONE)
        await self.service.run(add, 2)
        self.assertEqual(self.events, ["database_writes_refused", "database_writable"])


class HangingCommitTests(OwnClusterTestCase):
    """Commits that wait for a standby that is not there."""

    def wait_for_standby(self, name: str) -> None:
        path = self.directory / "data" / "postgresql.auto.conf"
        path.write_text(f"synchronous_standby_names = '{name}'\n")
        self.execute("SELECT pg_reload_conf()")

    async def test_hanging(self) -> None:
        """Commits that hang are 303, as is every write until they end; reads go on; the log says it once."""
        self.wait_for_standby("nobody")
        await until(lambda: self.is_set("nobody"))
        calls = [self.service.run(add, number) for number in range(3)] + [self.service.write(add, 7)]
        outcomes = await DeferredList(calls, consumeErrors=True)
        for done, outcome in outcomes:
            self.assertFalse(done)
            self.assertIsInstance(getattr(outcome, "value", None), CommitUnknown | DatabaseUnavailable)
        for method in (self.service.run, self.service.write):
            refused = method(add, 9)
            self.assertTrue(refused.called)
            await self.assertFailure(refused, DatabaseUnavailable)
        await self.service.read(total)
        self.assertTrue(self.service.available)
        self.wait_for_standby("")
        await until(lambda: self.service._availability.writes is Writes.DONE)
        await self.service.run(add, 9)
        self.assertEqual(self.events, ["database_writes_hanging", "database_writable"])

    async def test_slow(self) -> None:
        """A statement that takes long, or waits for a lock, is no sign of it."""
        go_on = Event()
        self.addCleanup(go_on.set)
        begun = Event()

        def slow(txn: Transaction) -> None:
            add(txn, 1)
            begun.set()
            go_on.wait(60)

        slow_call = self.service.write(slow)
        await deferToThread(begun.wait, 60)
        tried: list[None] = []
        write = commit_watch.write_something
        self.patch(database, "write_something", lambda txn: tried.append(write(txn)))
        await until(lambda: len(tried) > 1)
        self.assertFalse(slow_call.called)
        go_on.set()
        await slow_call
        self.assertEqual(self.events, [])

    async def test_stop(self) -> None:
        """A service that stops does not wait for a commit that hangs."""
        self.wait_for_standby("nobody")
        await until(lambda: self.is_set("nobody"))
        call = self.service.write(add, 1)
        await self.assertFailure(call, CommitUnknown)
        await self.service.stopService()
        self.assertFalse(self.service.available)

    def is_set(self, name: str) -> bool:
        return execute(self.cluster, "SHOW synchronous_standby_names") == [(name,)]
