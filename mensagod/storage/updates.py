"""Update records: what changed in a workspace, for its devices (spec 04, *Update notification*)."""

from collections.abc import Sequence
from uuid import UUID, uuid4

from attrs import frozen

from mensagod.storage.rows import Row, Transaction, WrongRowCount, maybe, one
from mensagod.values.identity import DeviceID, WorkspaceID

MAX_REPLY = 1000
"""How many records one reply of GETUPDATES holds at most."""

_END_OF_TIME = 253402300800
"""Unix seconds that PostgreSQL can still read as a time; no record is as late."""


@frozen
class Update:
    """One record.

    :ivar time: Unix seconds.
    """

    id: UUID
    type: str
    data: str
    time: int
    device: DeviceID

    @classmethod
    def from_row(cls, row: Row) -> "Update":
        """Make one from its columns."""
        return cls(row.id, row.type, row.data, row.time, DeviceID(row.device))

    def __str__(self) -> str:
        return f"{self.id},{self.type},{self.data},{self.time},{self.device}"


@frozen
class Updates:
    """What a device asked for: the first records, how many there are behind them, and the newest number."""

    records: list[Update]
    remaining: int
    last: int


@frozen
class NewUpdate:
    """Something that happened in a workspace, of which no record is made yet.

    :ivar kind: a type of record (spec 04, *Update notification*), and
    :ivar data: what was changed, in the form of that type.
    """

    workspace: WorkspaceID
    kind: str
    data: str


def record(txn: Transaction, changes: Sequence[NewUpdate], device: DeviceID) -> None:
    """Note changes that a device made. The locks on the mailboxes give the records of each their order.

    The time is taken under these locks too (so it is asked of ``counted``), and is never before that of the
    last record, also while the clock is: who goes on from a time would miss the new one.
    """
    txn.execute(
        "WITH new AS ("
        "  SELECT *, row_number() OVER (PARTITION BY workspace ORDER BY place) AS nth"
        "  FROM unnest(%s::uuid[], %s::uuid[], %s::text[], %s::text[])"
        "  WITH ORDINALITY AS new (workspace, id, type, data, place)"
        "), counted AS ("
        "  UPDATE mailboxes SET last_update = last_update + total FROM ("
        "    SELECT workspace, count(*) AS total FROM new GROUP BY workspace) AS added"
        "  WHERE mailboxes.workspace = added.workspace"
        "  RETURNING mailboxes.workspace, last_update - total AS before"
        ") INSERT INTO updates (workspace, number, id, type, data, time, device)"
        " SELECT workspace, before + nth, id, type, data, greatest("
        "  (SELECT clock_timestamp() FROM counted LIMIT 1),"
        "  (SELECT time FROM updates AS past"
        "   WHERE past.workspace = counted.workspace AND past.number = before)), %s"
        " FROM new JOIN counted USING (workspace)",
        (
            [change.workspace.uuid for change in changes],
            [uuid4() for _ in changes],
            [change.kind for change in changes],
            [change.data for change in changes],
            device.uuid,
        ),
    )
    if txn.rowcount != len(changes):
        raise WrongRowCount("a record for each change", txn.rowcount)


def last_number(txn: Transaction, workspace: WorkspaceID) -> int:
    """Give the number of the newest record; 0 if there never was one."""
    txn.execute("SELECT last_update FROM mailboxes WHERE workspace = %s", (workspace.uuid,))
    return maybe(lambda row: int(row.last_update), txn) or 0


def count_since(txn: Transaction, workspace: WorkspaceID, time: int) -> tuple[int, int]:
    """Count the records made at or after a Unix time; also give the newest number."""
    txn.execute(
        "SELECT last_update, (SELECT count(*) FROM updates WHERE updates.workspace = mailboxes.workspace"
        " AND time >= to_timestamp(%s)) AS count FROM mailboxes WHERE workspace = %s",
        (min(time, _END_OF_TIME), workspace.uuid),
    )
    return one(lambda row: (row.count, row.last_update), txn)


def count_by_others(txn: Transaction, workspace: WorkspaceID, seen: int, device: DeviceID) -> tuple[int, int]:
    """Count the records after number ``seen`` that other devices made; also give the newest number."""
    txn.execute(
        "SELECT last_update, (SELECT count(*) FROM updates WHERE updates.workspace = mailboxes.workspace"
        " AND number > %s AND device <> %s) AS count FROM mailboxes WHERE workspace = %s",
        (seen, device.uuid, workspace.uuid),
    )
    return one(lambda row: (row.count, row.last_update), txn)


def list_since_time(txn: Transaction, workspace: WorkspaceID, time: int) -> Updates:
    """Give the records made at or after a Unix time, oldest first."""
    # Asked before the records are: what is made in between counts as not seen rather than as seen.
    newest = last_number(txn, workspace)
    # Times follow the numbers, so that the first by time is the first by number.
    txn.execute(
        "SELECT number FROM updates WHERE workspace = %s AND time >= to_timestamp(%s)"
        " ORDER BY time, number LIMIT 1",
        (workspace.uuid, min(time, _END_OF_TIME)),
    )
    first = maybe(lambda row: int(row.number), txn)
    return Updates([], 0, newest) if first is None else _list_after(txn, workspace, first - 1)


def list_since_record(txn: Transaction, workspace: WorkspaceID, record_id: UUID) -> Updates | None:
    """Give the records that came after one of them, oldest first; ``None`` if that one is not there."""
    txn.execute("SELECT number FROM updates WHERE workspace = %s AND id = %s", (workspace.uuid, record_id))
    number = maybe(lambda row: int(row.number), txn)
    return None if number is None else _list_after(txn, workspace, number)


def _list_after(txn: Transaction, workspace: WorkspaceID, number: int) -> Updates:
    # One statement sees one moment: the newest number belongs to the records listed. No number is left out,
    # so that it tells how many come after them.
    txn.execute(
        "SELECT id, type, data, floor(extract(epoch FROM time))::bigint AS time, device, number, last_update"
        " FROM updates JOIN mailboxes USING (workspace)"
        " WHERE workspace = %s AND number > %s ORDER BY number LIMIT %s",
        (workspace.uuid, number, MAX_REPLY),
    )
    rows = txn.fetchall()
    if not rows:
        return Updates([], 0, number)
    last = rows[-1]
    return Updates([Update.from_row(row) for row in rows], last.last_update - last.number, last.last_update)
