"""The transaction that an interaction gets, and functions that turn rows into values and check their number.

::

    def find_device(txn: Transaction, device: DeviceID) -> Device | None:
        txn.execute("SELECT id, workspace, status FROM devices WHERE id = %s", (device.uuid,))
        return maybe(Device.from_row, txn)
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias, TypeVar

import psycopg2.extensions
from attrs import define

Row: TypeAlias = Any
"""One row: a named tuple whose attributes are the columns of the statement."""

Parameters: TypeAlias = Sequence[Any] | Mapping[str, Any]

T = TypeVar("T")

SYNCHRONOUS: Final = "SET LOCAL synchronous_commit TO on; "
"""Goes before the first statement of a transaction whose commit is to be on disk when it is done.

In the same round trip as that statement, and for one transaction only, so that it works through a
transaction-mode pooler. Several statements in one text are one transaction, also where each text is committed
by itself (spec 06, *Database*).
"""

_LIMIT_LOCK_WAITS: Final = (
    "SET LOCAL lock_timeout TO '250ms'; SET LOCAL idle_in_transaction_session_timeout TO '10s'; "
)


class WrongRowCount(Exception):
    """A statement gave another number of rows than its caller expects: a bug."""

    def __init__(self, expected: str, count: int):
        super().__init__(f"Expected {expected}, but the statement gave {count}")
        self.count = count


@define
class Transaction:
    """A transaction. An interaction may use it until it returns, and in its own thread only.

    :param preface: SQL that is sent together with the first statement, and ends with a semicolon.
    """

    _cursor: psycopg2.extensions.cursor
    _preface: str = ""

    def execute(self, sql: str, parameters: Parameters | None = None) -> None:
        """Run one statement, with ``%s`` or ``%(name)s`` as placeholders of the parameters, if any."""
        preface, self._preface = self._preface, ""
        self._cursor.execute(preface + sql, parameters)

    def limit_lock_waits(self) -> None:
        """Let the transaction wait for a lock only a moment; call this before its first statement.

        Nor does it hold its own locks for long if this process is suspended: the database ends it then.

        A wait that takes longer raises :class:`mensagod.storage.attempts.Locked` from the database service.
        """
        self._preface += _LIMIT_LOCK_WAITS

    def fetchone(self) -> Row | None:
        """Give the next row; ``None`` after the last."""
        return self._cursor.fetchone()

    def fetchall(self) -> list[Row]:
        """Give all remaining rows."""
        return self._cursor.fetchall()

    @property
    def rowcount(self) -> int:
        """The number of rows that the last statement found or changed."""
        return self._cursor.rowcount


def one(from_row: Callable[[Row], T], txn: Transaction) -> T:
    """Make a value of the only row; any other number of rows raises :exc:`WrongRowCount`."""
    row = _only(txn, "exactly one row")
    if row is None:
        raise WrongRowCount("exactly one row", 0)
    return from_row(row)


def maybe(from_row: Callable[[Row], T], txn: Transaction) -> T | None:
    """Make a value of the only row, if there is one; more rows raise :exc:`WrongRowCount`."""
    row = _only(txn, "at most one row")
    return None if row is None else from_row(row)


def many(from_row: Callable[[Row], T], txn: Transaction) -> list[T]:
    """Make a value of each row, in the order of the statement."""
    return [from_row(row) for row in txn.fetchall()]


def none(txn: Transaction) -> None:
    """Check that the statement found and changed nothing; otherwise raise :exc:`WrongRowCount`."""
    if txn.rowcount != 0:
        raise WrongRowCount("no row", txn.rowcount)


def changed(txn: Transaction) -> bool:
    """Tell whether the statement changed a row; more than one raises :exc:`WrongRowCount`."""
    if txn.rowcount not in {0, 1}:
        raise WrongRowCount("at most one changed row", txn.rowcount)
    return txn.rowcount == 1


def _only(txn: Transaction, expected: str) -> Row | None:
    if txn.rowcount > 1:
        raise WrongRowCount(expected, txn.rowcount)
    return txn.fetchone()
