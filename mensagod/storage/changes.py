"""Which cards changed lately, for processes that keep cards in memory (spec 03, *The server's duties*)."""

from attrs import frozen

from mensagod.storage.rows import Row, Transaction, many
from mensagod.values.identity import WorkspaceID

KEEP_SECONDS = 3600
"""How long a change is remembered: who has not looked for that long knows nothing for sure."""


@frozen
class Changes:
    """What changed since a process last looked.

    :ivar horizon: where to go on. All changes before it were complete and are known, so that none is missed
        whose transaction took longer than others.
    :ivar owners: whose cards changed; some perhaps once more.
    """

    horizon: int
    owners: frozenset[WorkspaceID]


def list_changes(txn: Transaction, horizon: int) -> Changes:
    """Give what changed in transactions from ``horizon`` on; 0 to begin with."""
    txn.execute(
        "SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint AS horizon, owner"
        " FROM (SELECT) AS always LEFT JOIN keycard_changes ON xid >= (%s::bigint)::text::xid8",
        (horizon,),
    )
    rows: list[Row] = many(lambda row: row, txn)
    owners = frozenset(WorkspaceID(row.owner) for row in rows if row.owner is not None)
    return Changes(rows[0].horizon, owners)


def forget_old(txn: Transaction) -> None:
    """Remove the changes that every process knows."""
    txn.execute("DELETE FROM keycard_changes WHERE at < now() - %s * interval '1 second'", (KEEP_SECONDS,))
