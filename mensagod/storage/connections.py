"""Connections of psycopg2 as the database service wants them.

All that is set here is set on the client's side: no session state of the database
is used, so that a transaction-mode pooler may stand between (spec 06, *Database*).
"""

import os
import socket
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, TypeAlias

import psycopg2
import psycopg2.extensions
import psycopg2.extras
from psycopg2.extensions import TRANSACTION_STATUS_UNKNOWN

from mensagod.errors import BadValue
from mensagod.storage.sqlstates import Meaning, meaning_of

Connection: TypeAlias = psycopg2.extensions.connection

Description: TypeAlias = str | Mapping[str, Any]
"""How to reach a database: a URL or DSN of libpq, or its keywords."""

_DEFAULTS: Mapping[str, Any] = {
    "application_name": "mensagod",
    "client_encoding": "utf8",
    "connect_timeout": 5,
    # A peer that vanished without a word is noticed in seconds, not in hours.
    "keepalives": 1,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 15000,
}
_TIMESTAMPTZ = 1184
_BYTEA = 17


def connection_parameters(description: Description) -> dict[str, Any]:
    """Make keywords for ``psycopg2.connect``; what ``description`` says itself stands.

    :raise BadValue: ``description`` is a text that libpq does not understand.
    """
    if not isinstance(description, str):
        return {**_DEFAULTS, **description}
    try:
        return {**_DEFAULTS, **psycopg2.extensions.parse_dsn(description)}
    except psycopg2.ProgrammingError:
        # libpq quotes the text, and the password with it.
        raise BadValue("The description of the database is not one that libpq understands") from None


def connect(description: Description) -> Connection:
    """Open a connection of one's own, outside of the pool; blocks, and is the caller's to close."""
    connection: Connection = psycopg2.connect(
        **connection_parameters(description), cursor_factory=psycopg2.extras.NamedTupleCursor
    )
    prepare(connection)
    return connection


def prepare(connection: Connection) -> None:
    """Give a new connection our isolation level and our types.

    ``uuid`` becomes :class:`uuid.UUID`, ``timestamptz`` an aware datetime in UTC
    whatever the zone of the session, ``bytea`` bytes.
    """
    connection.isolation_level = psycopg2.extensions.ISOLATION_LEVEL_READ_COMMITTED
    psycopg2.extras.register_uuid(conn_or_curs=connection)
    psycopg2.extensions.register_type(_UTC_DATETIME, connection)
    psycopg2.extensions.register_type(_BYTES, connection)


def is_lost(connection: Connection, error: psycopg2.Error) -> bool:
    """Tell from an error, and from what it left of the connection, whether that is gone.

    psycopg2 does not always note it: what fails while the peer dies can be an error of the
    base class, without a code, on a connection that counts as open.
    """
    if connection.closed or connection.info.transaction_status == TRANSACTION_STATUS_UNKNOWN:
        return True
    if error.pgcode is None:
        # Not from the server, and not a misuse of psycopg2, which has classes of its own.
        return type(error) in {psycopg2.DatabaseError, psycopg2.OperationalError}
    return meaning_of(error.pgcode) is Meaning.LOST


def hang_up(connection: Connection) -> None:
    """End a connection under a thread that waits for it, from another thread.

    The thread sees the end of the stream at once and gets an ordinary error of psycopg2,
    which a plain ``close`` from outside would not give it.
    """
    try:
        with socket.socket(fileno=os.dup(connection.fileno())) as stream:
            stream.shutdown(socket.SHUT_RDWR)
    except (psycopg2.Error, OSError):
        # It is gone already, which is what was wanted.
        return


def constraint_name(error: psycopg2.Error) -> str | None:
    """Name the constraint that a statement broke, or ``None`` if it was not about one."""
    return error.diag.constraint_name


def _utc_datetime(text: str | bytes | None, cursor: Any) -> datetime | None:
    local: datetime | None = psycopg2.extensions.PYDATETIMETZ(text, cursor)
    return None if local is None else local.astimezone(UTC)


def _bytes(text: str | bytes | None, cursor: Any) -> bytes | None:
    view = psycopg2.BINARY(text, cursor)
    return None if view is None else bytes(view)


_UTC_DATETIME = psycopg2.extensions.new_type((_TIMESTAMPTZ,), "UTC_DATETIME", _utc_datetime)
_BYTES = psycopg2.extensions.new_type((_BYTEA,), "BYTES", _bytes)
