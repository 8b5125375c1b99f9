"""Numbered SQL files against a real PostgreSQL."""

from pathlib import Path

import psycopg2
from twisted.internet.defer import gatherResults
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SynchronousTestCase

from mensagod.storage import schema
from mensagod.storage.connections import connect
from mensagod.storage.migrations import (
    BadSteps,
    SchemaTooNew,
    Step,
    StepChanged,
    StepUnprepared,
    WrongEncoding,
    apply_all,
    migrate,
    pending,
    read_steps,
)
from mensagod.storage.rows import Transaction, one
from tests.databases import DatabaseTestCase, administer
from tests.storage.waiting import until_someone_waits

FIRST = "CREATE TABLE fruits (name text PRIMARY KEY); -- 100 %\n"
SECOND = "ALTER TABLE fruits ADD COLUMN taste text;\n"


def _names(steps: list[Step]) -> list[str]:
    return [step.file_name for step in steps]


class ReadStepsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.directory = Path(self.mktemp())
        self.directory.mkdir()

    def write(self, *names: str) -> None:
        for name in names:
            (self.directory / name).write_text("SELECT 1")

    def test_order(self) -> None:
        """Steps come in the order of their numbers; other files do not count."""
        self.write("0002_b.sql", "0001_a.sql", "__init__.py")
        self.assertEqual(_names(read_steps(self.directory)), ["0001_a.sql", "0002_b.sql"])

    def test_faults(self) -> None:
        """A gap, a number that is there twice, and a name of another form are refused."""
        for name in ("0003_c.sql", "0001_b.sql", "2_b.sql", "0002-b.sql", "0000_z.sql"):
            for path in self.directory.iterdir():
                path.unlink()
            self.write("0001_a.sql", name)
            self.assertRaises(BadSteps, read_steps, self.directory)

    def test_product(self) -> None:
        """The product's own steps are an unbroken row."""
        steps = read_steps(schema.DIRECTORY)
        self.assertEqual([step.version for step in steps], list(range(1, len(steps) + 1)))


class MigrateTests(DatabaseTestCase):
    def make_template(self) -> str:
        return "template1"

    async def prepare(self) -> None:
        self.directory = Path(self.mktemp())
        self.directory.mkdir()
        self.write("0001_fruits", FIRST)
        self.write("0002_taste", SECOND)
        self.connection = self.connect()

    def write(self, name: str, sql: str) -> None:
        (self.directory / f"{name}.sql").write_text(sql)

    def versions(self) -> list[tuple[int, str]]:
        with self.connection, self.connection.cursor() as cursor:
            cursor.execute("SELECT version, name FROM schema_versions ORDER BY version")
            return [(row[0], row[1]) for row in cursor.fetchall()]

    def test_applies_in_order(self) -> None:
        """All steps are applied and recorded, and are then no longer pending."""
        names = ["0001_fruits.sql", "0002_taste.sql"]
        self.assertEqual(_names(pending(self.connection, read_steps(self.directory))), names)
        self.assertEqual(_names(migrate(self.connection, self.directory)), names)
        self.assertEqual(pending(self.connection, read_steps(self.directory)), [])
        self.assertEqual(migrate(self.connection, self.directory), [])
        self.assertEqual(self.versions(), [(1, "fruits"), (2, "taste")])

    def test_later_step(self) -> None:
        """A step that is added later is the only one applied, and old rows survive it."""
        migrate(self.connection, self.directory)
        with self.connection, self.connection.cursor() as cursor:
            cursor.execute("INSERT INTO fruits VALUES ('plum', 'sweet')")
        self.write("0003_colour", "ALTER TABLE fruits ADD COLUMN colour text")
        self.assertEqual(_names(migrate(self.connection, self.directory)), ["0003_colour.sql"])
        with self.connection, self.connection.cursor() as cursor:
            cursor.execute("SELECT * FROM fruits")
            self.assertEqual(cursor.fetchall(), [("plum", "sweet", None)])

    def test_failed_step(self) -> None:
        """A step that fails leaves nothing of itself; those before it stay."""
        self.write("0003_wrong", "CREATE TABLE half (x integer); SELECT nonsense")
        with self.assertRaises(psycopg2.ProgrammingError):
            migrate(self.connection, self.directory)
        self.assertEqual(len(self.versions()), 2)
        with self.connection, self.connection.cursor() as cursor:
            cursor.execute("SELECT to_regclass('half')")
            self.assertEqual(cursor.fetchone(), (None,))

    def test_preparation(self) -> None:
        """What a step needs before is done in batches, each of which stays, and then the step is applied."""
        steps = self.steps_with_check()
        left = [3, 2, 1]

        def prepare(txn: Transaction) -> bool:
            txn.execute("SELECT txid_current() AS id")
            transactions.add(one(lambda row: int(row.id), txn))
            if not left:
                return False
            txn.execute("DELETE FROM fruits WHERE name = %s", (str(left.pop()),))
            if len(left) == 1 and not failures:
                failures.append(left)
                raise ZeroDivisionError
            return True

        transactions: set[int] = set()
        failures: list[object] = []
        self.assertRaises(ZeroDivisionError, apply_all, self.connection, steps, {3: prepare})
        self.assertEqual(self.fruits(), ["2", "3"])
        left.append(2)
        self.assertEqual(_names(apply_all(self.connection, steps, {3: prepare})), ["0003_none.sql"])
        self.assertEqual(self.fruits(), [])
        self.assertEqual(len(transactions), 5)
        self.assertEqual(apply_all(self.connection, steps, {3: prepare}), [])
        self.assertEqual(len(transactions), 5)

    def test_unprepared(self) -> None:
        """A step whose check finds that it was not prepared is refused, with its name and the cure."""
        steps = self.steps_with_check()
        error = self.assertRaises(StepUnprepared, apply_all, self.connection, steps)
        for word in ("0003_none.sql", "no_fruits", "start the server once"):
            self.assertIn(word, str(error))
        self.assertEqual(len(self.versions()), 2)

    def steps_with_check(self) -> list[Step]:
        """Give steps of which the last needs an empty table, and fill that."""
        migrate(self.connection, self.directory)
        with self.connection, self.connection.cursor() as cursor:
            cursor.execute("INSERT INTO fruits VALUES ('1'), ('2'), ('3')")
        self.write("0003_none", "ALTER TABLE fruits ADD CONSTRAINT no_fruits CHECK (false)")
        return read_steps(self.directory)

    def fruits(self) -> list[str]:
        with self.connection, self.connection.cursor() as cursor:
            cursor.execute("SELECT name FROM fruits ORDER BY name")
            return [row[0] for row in cursor.fetchall()]

    def test_encoding(self) -> None:
        """A database that cannot keep every text is refused, with the cure; so is one without an encoding."""
        for encoding in ("LATIN1", "SQL_ASCII"):
            name = f"{self.parameters['dbname']}_{encoding.lower()}"
            administer(f"CREATE DATABASE {name} ENCODING '{encoding}' LOCALE 'C' TEMPLATE template0")
            self.addCleanup(administer, f"DROP DATABASE {name} WITH (FORCE)")
            connection = connect({**self.parameters, "dbname": name})
            for use in (apply_all, pending):
                error = self.assertRaises(WrongEncoding, use, connection, read_steps(self.directory))
                self.assertIn(encoding, str(error))
                self.assertIn("ENCODING 'UTF8'", str(error))
            connection.close()

    def test_too_new(self) -> None:
        """A schema newer than the program is refused, with both versions."""
        migrate(self.connection, self.directory)
        (self.directory / "0002_taste.sql").unlink()
        for function in (apply_all, pending):
            with self.assertRaises(SchemaTooNew) as caught:
                function(self.connection, read_steps(self.directory))
            self.assertEqual((caught.exception.found, caught.exception.known), (2, 1))

    def test_changed(self) -> None:
        """A file that was changed after it had been applied is an error that names it."""
        migrate(self.connection, self.directory)
        self.write("0001_fruits", FIRST + "-- a late thought")
        with self.assertRaises(StepChanged) as caught:
            migrate(self.connection, self.directory)
        self.assertIn("0001_fruits.sql", str(caught.exception))

    async def test_two_at_once(self) -> None:
        """Of several processes at once each step is applied by one; the others find nothing to do."""

        def run() -> list[Step]:
            connection = connect(self.parameters)
            try:
                return migrate(connection, self.directory)
            finally:
                connection.close()

        results = await gatherResults([deferToThread(run) for _ in range(5)])
        applied = sorted(name for steps in results for name in _names(steps))
        self.assertEqual(applied, ["0001_fruits.sql", "0002_taste.sql"])
        self.assertEqual(len(self.versions()), 2)

    async def test_second_waits(self) -> None:
        """While one process applies a step, another waits for its end."""
        first = self.connect()
        with first.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", (0x6D656E7361676F,))
        second = deferToThread(migrate, self.connection, self.directory)
        await self.database.read(until_someone_waits)
        self.assertFalse(second.called)
        first.rollback()
        self.assertEqual(len(await second), 2)
