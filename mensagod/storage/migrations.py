"""The schema, brought to the program's version by numbered SQL files (spec 06, *Database*).

Each file, and the row that records it, are one transaction under a lock: of two
processes at once one applies, the other waits and finds nothing to do.
"""

import re
from collections.abc import Sequence
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Final

from attrs import frozen

from mensagod.storage import schema
from mensagod.storage.connections import Connection
from mensagod.storage.rows import Row, Transaction, many, one

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
    """The schema cannot be brought to the program's version."""


class BadSteps(SchemaError):
    """The numbered files are not an unbroken row from 0001."""


class SchemaTooNew(SchemaError):
    """The database was migrated by a newer program than this one.

    :ivar found: the version of the database.
    :ivar known: the newest version that the program knows.
    """

    def __init__(self, found: int, known: int):
        super().__init__(
            f"The database has schema version {found}, but this program knows"
            f" versions up to {known} only: use a newer mensagod"
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
    """A file was changed after it had been applied."""

    def __init__(self, step: "Step"):
        super().__init__(f"{step.file_name} is not the file that was applied to this database")
        self.step = step


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
        """Read a file whose name tells version and name, else raise :exc:`BadSteps`."""
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
    """Read all steps in order; :exc:`BadSteps` if a number is missing or there twice."""
    steps = [Step.from_file(path) for path in sorted(directory.glob("*.sql"))]
    for expected, step in enumerate(steps, start=1):
        if step.version != expected:
            fault = "there twice" if step.version < expected else f"without its {expected:04}"
            raise BadSteps(f"{step.file_name} is {fault}")
    return steps


@cache
def installed_steps() -> tuple[Step, ...]:
    """Give the steps of this program, read from disk the first time.

    Who is about to lose the right to read the program calls this before.
    """
    return tuple(read_steps(schema.DIRECTORY))


def migrate(connection: Connection, directory: Path) -> list[Step]:
    """Apply what is missing, and return it; blocks, for as long as the steps take.

    :param connection: one of our own (:func:`mensagod.storage.connections.connect`), not in a transaction.
    """
    return apply_all(connection, read_steps(directory))


def apply_all(connection: Connection, steps: Sequence[Step]) -> list[Step]:
    """Like :func:`migrate`, with steps that were read before."""
    applied = []
    while (step := _in_transaction(connection, steps)) is not None:
        applied.append(step)
    return applied


def pending(connection: Connection, steps: Sequence[Step]) -> list[Step]:
    """Tell what :func:`apply_all` would apply, and change nothing."""
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
    """Apply the first step that is missing, as an interaction; ``None`` if none is."""
    refuse_encoding(txn)
    # The lock ends with the transaction, so that it works through a pooler.
    txn.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
    missing = _missing(txn, steps)
    if not missing:
        return None
    step = missing[0]
    txn.execute(_VERSIONS_TABLE)
    txn.execute(step.sql)
    txn.execute(
        "INSERT INTO schema_versions (version, name, checksum) VALUES (%s, %s, %s)",
        (step.version, step.name, step.checksum),
    )
    return step


def _in_transaction(connection: Connection, steps: Sequence[Step]) -> Step | None:
    with connection, connection.cursor() as cursor:
        return apply_next(Transaction(cursor), steps)


def _missing(txn: Transaction, steps: Sequence[Step]) -> list[Step]:
    applied = _applied(txn)
    if applied and applied[-1].version > len(steps):
        raise SchemaTooNew(applied[-1].version, len(steps))
    for step, row in zip(steps, applied, strict=False):
        if (step.version, step.checksum) != (row.version, row.checksum):
            raise StepChanged(step)
    return list(steps[len(applied) :])


def _applied(txn: Transaction) -> list[_Applied]:
    txn.execute("SELECT to_regclass('schema_versions') IS NOT NULL AS is_there")
    if not one(lambda row: row.is_there, txn):
        return []
    txn.execute("SELECT version, checksum FROM schema_versions ORDER BY version")
    return many(_Applied.from_row, txn)
