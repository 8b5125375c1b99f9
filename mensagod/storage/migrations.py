"""Migrations of the schema by numbered SQL files (spec 06, *Database*).

Each file is applied and recorded in one transaction, under a lock. If two processes migrate at the same time,
one applies the files; the other waits, and then finds nothing to do.

A step may need work of the program before it is applied, more than fits into one transaction. Its
*preparation* does that work in batches, each in a transaction under the same lock, so that several processes
take turns, and interrupted work is continued. The step checks by a constraint that nothing is left.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from hashlib import sha256
from pathlib import Path
from types import MappingProxyType
from typing import Final, TypeAlias

import psycopg2.errors
from attrs import frozen

from mensagod.storage import schema
from mensagod.storage.connections import Connection, constraint_name
from mensagod.storage.rows import SYNCHRONOUS, Row, Transaction, many, one

Preparation: TypeAlias = Callable[[Transaction], bool]
"""An interaction that does a batch of what a step needs before it is applied; tells whether there was any."""

_NAME = re.compile(r"([0-9]{4})_([a-z0-9_]+)\.sql")
_LOCK: Final = 0x6D656E7361676F
"""The advisory lock's number: the bytes of ``mensago``."""

_VERSIONS_TABLE = """
CREATE TABLE IF NOT EXISTS schema_versions (
    version integer PRIMARY KEY,
    name text NOT NULL,
    checksum text NOT NULL,
    applied timestamptz NOT NULL DEFAULT now()
)"""


class SchemaError(Exception):
    """The schema cannot be migrated to the version of this program."""


class BadSteps(SchemaError):
    """The files are not numbered without gaps from 0001."""


class SchemaTooNew(SchemaError):
    """The database was migrated by a newer version of mensagod.

    :ivar found: the version of the database.
    :ivar known: the newest version that the program knows.
    """

    def __init__(self, found: int, known: int):
        super().__init__(
            f"The database has schema version {found}, but this version of mensagod supports only versions up"
            f" to {known}: install a newer mensagod"
        )
        self.found = found
        self.known = known


class WrongEncoding(SchemaError):
    """The database does not keep all texts as they are."""

    def __init__(self, encoding: str):
        super().__init__(
            f"The encoding of the database is {encoding}, but must be UTF8: make it anew with CREATE DATABASE"
            " ... ENCODING 'UTF8' LOCALE 'C' TEMPLATE template0"
        )


class StepChanged(SchemaError):
    """A file differs from the one that was applied to the database."""

    def __init__(self, step: "Step"):
        super().__init__(
            f"The schema file {step.file_name} differs from the one that was applied to this database:"
            " install an unmodified mensagod"
        )
        self.step = step


class StepUnprepared(SchemaError):
    """The data of the database do not allow a step yet.

    :ivar constraint: what the step would break.
    """

    def __init__(self, step: "Step", constraint: str | None):
        super().__init__(
            f"The schema step {step.file_name} cannot be applied yet ({constraint}): start the server once,"
            " which brings over what is left of an earlier version"
        )
        self.step = step
        self.constraint = constraint


@frozen
class Step:
    """One numbered file of the schema."""

    version: int
    name: str
    sql: str
    checksum: str

    @property
    def file_name(self) -> str:
        """The file it was read from."""
        return f"{self.version:04}_{self.name}.sql"

    @classmethod
    def from_file(cls, path: Path) -> "Step":
        """Read a file; raise :exc:`BadSteps` if its name is not like ``0001_name.sql``."""
        match = _NAME.fullmatch(path.name)
        if match is None:
            raise BadSteps(f"{path.name} is not named like 0001_name.sql")
        content = path.read_bytes()
        return cls(int(match[1]), match[2], content.decode("utf-8"), sha256(content).hexdigest())


@frozen
class _Applied:
    version: int
    checksum: str

    @classmethod
    def from_row(cls, row: Row) -> "_Applied":
        return cls(row.version, row.checksum)


def read_steps(directory: Path) -> list[Step]:
    """Read all steps in order; :exc:`BadSteps` if a number is missing or used twice."""
    steps = [Step.from_file(path) for path in sorted(directory.glob("*.sql"))]
    for expected, step in enumerate(steps, start=1):
        if step.version != expected:
            fault = "has a number twice" if step.version < expected else f"comes without {expected:04}"
            raise BadSteps(f"{step.file_name} {fault}")
    return steps


@cache
def installed_steps() -> tuple[Step, ...]:
    """Give the steps of this program; the first call reads them from disk.

    A process calls this before it gives up the rights to read the program's files.
    """
    return tuple(read_steps(schema.DIRECTORY))


def migrate(connection: Connection, directory: Path) -> list[Step]:
    """Apply the missing steps in ``directory``, and return them; blocks while they run.

    :param connection: from :func:`mensagod.storage.connections.connect`, not in a transaction.
    """
    return apply_all(connection, read_steps(directory))


def apply_all(
    connection: Connection,
    steps: Sequence[Step],
    preparations: Mapping[int, Preparation] = MappingProxyType({}),
) -> list[Step]:
    """Apply the missing ones of some steps, and return them; blocks while they run.

    :param preparations: by the version of the step that needs it.
    """
    applied = []
    while (turn := _in_transaction(connection, steps, preparations)) is not None:
        applied += turn
    return applied


def pending(connection: Connection, steps: Sequence[Step]) -> list[Step]:
    """Give the steps that :func:`apply_all` would apply, without applying them."""
    with connection, connection.cursor() as cursor:
        txn = Transaction(cursor)
        refuse_encoding(txn)
        return _missing(txn, steps)


def refuse_encoding(txn: Transaction) -> None:
    """Make sure that the database can keep every text.

    :raises WrongEncoding: if it cannot, or does not know what it keeps.
    """
    txn.execute("SELECT current_setting('server_encoding') AS encoding")
    encoding = one(lambda row: str(row.encoding), txn)
    if encoding != "UTF8":
        raise WrongEncoding(encoding)


def apply_next(txn: Transaction, steps: Sequence[Step]) -> Step | None:
    """Apply the first missing step, as an interaction, and return it; ``None`` if none is missing.

    :raises StepUnprepared: if it needs a preparation.
    """
    step = _find_next(txn, steps)
    if step is not None:
        _apply(txn, step)
    return step


def _in_transaction(
    connection: Connection, steps: Sequence[Step], preparations: Mapping[int, Preparation]
) -> list[Step] | None:
    """Prepare or apply the first missing step, and return what was applied; ``None`` if none is missing."""
    with connection, connection.cursor() as cursor:
        txn = Transaction(cursor, SYNCHRONOUS)
        step = _find_next(txn, steps)
        if step is None:
            return None
        prepare = preparations.get(step.version)
        if prepare is not None and prepare(txn):
            return []
        _apply(txn, step)
        return [step]


def _find_next(txn: Transaction, steps: Sequence[Step]) -> Step | None:
    """Give the first missing step, under the lock of migrations."""
    refuse_encoding(txn)
    # A lock of the transaction, because one of the session does not work through a pooler.
    txn.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
    missing = _missing(txn, steps)
    return missing[0] if missing else None


def _apply(txn: Transaction, step: Step) -> None:
    txn.execute(_VERSIONS_TABLE)
    try:
        txn.execute(step.sql)
    except psycopg2.errors.CheckViolation as error:
        raise StepUnprepared(step, constraint_name(error)) from error
    txn.execute(
        "INSERT INTO schema_versions (version, name, checksum) VALUES (%s, %s, %s)",
        (step.version, step.name, step.checksum),
    )


def _missing(txn: Transaction, steps: Sequence[Step]) -> list[Step]:
    applied = _applied(txn)
    if applied and applied[-1].version > len(steps):
        raise SchemaTooNew(applied[-1].version, len(steps))
    for step, row in zip(steps, applied, strict=False):
        if (step.version, step.checksum) != (row.version, row.checksum):
            raise StepChanged(step)
    return list(steps[len(applied) :])


def _applied(txn: Transaction) -> list[_Applied]:
    txn.execute("SELECT to_regclass('schema_versions') IS NOT NULL AS has_table")
    if not one(lambda row: row.has_table, txn):
        return []
    txn.execute("SELECT version, checksum FROM schema_versions ORDER BY version")
    return many(_Applied.from_row, txn)
