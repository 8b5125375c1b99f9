"""Connections to the database of a configuration, for commands that run without a server (spec 06)."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg2
from psycopg2 import sql

from mensagod.config import Config
from mensagod.errors import BadValue
from mensagod.installation.faults import BadChoice, InstallationFault
from mensagod.postgres.access import describe_database, embedded_cluster
from mensagod.postgres.binaries import EmbeddedError
from mensagod.process.accounts import UnixAccount, acting_as
from mensagod.storage.connections import Connection, Description, connect
from mensagod.storage.rows import Row, Transaction, many, one

_SHOWN = 3
_FILLED = frozenset({"schema_versions", "queue_buckets"})
"""Tables that have rows from the beginning."""


@contextmanager
def open_database(config: Config, account: UnixAccount | None) -> Iterator[Connection]:
    """Connect to the database until the context ends; start and stop the embedded PostgreSQL for that.

    :param account: the account that PostgreSQL runs as if this process is root.
    :raises BadChoice: if libpq cannot parse ``database.url``.
    :raises InstallationFault: if PostgreSQL cannot be reached or started.
    """
    if not config.database.embedded:
        with connected(describe_database(config)) as connection:
            yield connection
        return
    cluster = embedded_cluster(config, account)
    # Root acts as the account, which owns the files: it could have placed symbolic links or wrong PIDs there.
    try:
        try:
            with acting_as(account):
                cluster.start()
        except EmbeddedError as error:
            raise InstallationFault(one_line(error)) from error
        with connected(cluster.connection) as connection:
            yield connection
    finally:
        with acting_as(account):
            cluster.stop()


@contextmanager
def connected(description: Description) -> Iterator[Connection]:
    """Connect to a running database until the context ends.

    :raises BadChoice: if libpq cannot parse the description.
    :raises InstallationFault: if the database cannot be reached.
    """
    try:
        connection = connect(description)
    except psycopg2.OperationalError as error:
        raise InstallationFault(f"The database cannot be reached: {one_line(error)}") from error
    except BadValue as error:
        raise BadChoice(str(error)) from error
    try:
        yield connection
    finally:
        connection.close()


def refuse_data(connection: Connection, txn: Transaction) -> None:
    """Check that a database has no tables, or only the empty tables of mensagod.

    :raises InstallationFault: if it has others.
    """
    txn.execute(
        "SELECT nspname, relname FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace"
        " WHERE relkind IN ('r', 'p', 'f') AND nspname <> 'information_schema' AND nspname NOT LIKE 'pg\\_%'"
        " ORDER BY nspname, relname"
    )
    tables: list[Row] = many(lambda row: row, txn)
    if not tables:
        return
    names = [table.relname for table in tables]
    if "schema_versions" not in names:
        raise InstallationFault(
            f"The database contains tables of another program ({_listed(names)}): use an empty database"
        )
    full = [table.relname for table in tables if _has_rows(connection, txn, table)]
    if full:
        raise InstallationFault(
            f"The database already contains data of a Mensago server ({_listed(full)}): use an empty database"
        )


def _has_rows(connection: Connection, txn: Transaction, table: Row) -> bool:
    if table.relname in _FILLED:
        return False
    query = sql.SQL("SELECT EXISTS (SELECT FROM {}) AS has_rows")
    txn.execute(query.format(sql.Identifier(table.nspname, table.relname)).as_string(connection))
    return one(lambda row: bool(row.has_rows), txn)


def one_line(error: BaseException) -> str:
    """Give the text of an error on one line."""
    return " ".join(str(error).split())


def _listed(names: list[str]) -> str:
    more = ", ..." if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
