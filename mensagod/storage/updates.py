"""Update records: the changes in a workspace, for its devices (spec 04, *Update notification*)."""

from uuid import UUID

from attrs import frozen

from mensagod.storage.rows import Transaction, maybe, one
from mensagod.values.identity import DeviceID, WorkspaceID

MAX_REPLY = 1000
"""The most records in one answer to GETUPDATES."""

_END_OF_TIME = 253402300800
"""Unix seconds: the year 10000, which PostgreSQL can read as a time; no record is as late."""


@frozen
class Updates:
    """The result of a query for records.

    :ivar records: the first :data:`MAX_REPLY` of them, each as ``ID,TYPE,DATA,TIME,DEVICE`` (spec 04,
        *Update notification*); the database writes them, because there may be many.
    :ivar remaining: how many more there are.
    :ivar last: the number of the workspace's newest record.
    """

    records: list[str]
    remaining: int
    last: int


def last_number(txn: Transaction, workspace: WorkspaceID) -> int:
    """Give the number of the newest record; 0 if there never was one."""
    txn.execute("SELECT last_update FROM mailboxes WHERE workspace = %s", (workspace.uuid,))
    return maybe(lambda row: int(row.last_update), txn) or 0


def count_since(txn: Transaction, workspace: WorkspaceID, time: int) -> tuple[int, int]:
    """Count the records made at or after a Unix time; also give the number of the newest record."""
    # Numbers have no gaps, and times have the same order: only the first record is looked for.
    txn.execute(
        "SELECT last_update, coalesce(last_update - first.number + 1, 0) AS count FROM mailboxes"
        " LEFT JOIN LATERAL (SELECT number FROM updates WHERE updates.workspace = mailboxes.workspace"
        " AND time >= to_timestamp(%s) ORDER BY time, number LIMIT 1) AS first ON true"
        " WHERE workspace = %s",
        (min(time, _END_OF_TIME), workspace.uuid),
    )
    return one(lambda row: (row.count, row.last_update), txn)


def count_by_others(txn: Transaction, workspace: WorkspaceID, seen: int, device: DeviceID) -> tuple[int, int]:
    """Count the records after number ``seen`` by other devices; also give the number of the newest record."""
    txn.execute(
        "SELECT last_update, (SELECT count(*) FROM updates WHERE updates.workspace = mailboxes.workspace"
        " AND number > %s AND device <> %s) AS count FROM mailboxes WHERE workspace = %s",
        (seen, device.uuid, workspace.uuid),
    )
    return one(lambda row: (row.count, row.last_update), txn)


def list_since_time(txn: Transaction, workspace: WorkspaceID, time: int) -> Updates:
    """Give the records made at or after a Unix time, oldest first."""
    # Read before the records: a record that is added in between then counts as not seen.
    newest = last_number(txn, workspace)
    # Times have the same order as numbers, so the first record by time is the first by number.
    txn.execute(
        "SELECT number FROM updates WHERE workspace = %s AND time >= to_timestamp(%s)"
        " ORDER BY time, number LIMIT 1",
        (workspace.uuid, min(time, _END_OF_TIME)),
    )
    first = maybe(lambda row: int(row.number), txn)
    return Updates([], 0, newest) if first is None else _list_after(txn, workspace, first - 1)


def list_since_record(txn: Transaction, workspace: WorkspaceID, record_id: UUID) -> Updates | None:
    """Give the records after one of them, oldest first; ``None`` if there is no record with that ID."""
    txn.execute("SELECT number FROM updates WHERE workspace = %s AND id = %s", (workspace.uuid, record_id))
    number = maybe(lambda row: int(row.number), txn)
    return None if number is None else _list_after(txn, workspace, number)


def _list_after(txn: Transaction, workspace: WorkspaceID, number: int) -> Updates:
    # One statement reads one snapshot, so the newest number fits the records listed. Numbers have no gaps, so
    # their difference is the number of records that remain.
    txn.execute(
        "SELECT concat_ws(',', id, type, data, floor(extract(epoch FROM time))::bigint, device) AS record,"
        " number, last_update FROM updates JOIN mailboxes USING (workspace)"
        " WHERE workspace = %s AND number > %s ORDER BY number LIMIT %s",
        (workspace.uuid, number, MAX_REPLY),
    )
    rows = txn.fetchall()
    if not rows:
        return Updates([], 0, number)
    last = rows[-1]
    return Updates([row.record for row in rows], last.last_update - last.number, last.last_update)
