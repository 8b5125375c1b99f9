"""Hints that something changed in a workspace, between the processes that share the database.

(spec 06, *Running many*)
"""

from collections.abc import Collection, Mapping
from typing import Final
from uuid import UUID

from mensagod.storage.rows import Transaction, many
from mensagod.values.identity import WorkspaceID

IDS_PER_PAYLOAD: Final = 200
"""How many workspaces one notification names: PostgreSQL takes less than 8000 bytes."""


def channel_of(process: UUID) -> str:
    """Name the channel that a process listens on; :func:`notify` names it in SQL."""
    return f"mensagod_{process.hex}"


def notify(txn: Transaction, process: UUID, workspaces: Collection[WorkspaceID]) -> None:
    """Notify the other processes that have sessions of these workspaces, each of its own.

    A payload is their IDs with spaces between. The statement has a transaction of its own, which does not
    wait for the disk: a hint may be lost.
    """
    txn.execute(
        "SET LOCAL synchronous_commit = off;"
        " WITH present AS ("
        "  SELECT DISTINCT process, workspace FROM sessions"
        "  WHERE workspace = ANY (%(workspaces)s) AND process <> %(process)s"
        " ), placed AS ("
        "  SELECT *, (row_number() OVER (PARTITION BY process) - 1) / %(most)s AS payload FROM present"
        " ) SELECT pg_notify("
        "  'mensagod_' || replace(process::text, '-', ''), string_agg(workspace::text, ' '))"
        " FROM placed GROUP BY process, payload",
        {
            "workspaces": [workspace.uuid for workspace in workspaces],
            "process": process,
            "most": IDS_PER_PAYLOAD,
        },
    )


def notify_self(txn: Transaction, process: UUID) -> None:
    """Notify a process itself, with an empty payload, so that it hears whether it hears."""
    txn.execute("SELECT pg_notify(%s, '')", (channel_of(process),))


def changed_beyond(txn: Transaction, seen: Mapping[WorkspaceID, int]) -> list[WorkspaceID]:
    """Give the workspaces that have update records after the number that goes with each."""
    txn.execute(
        "SELECT workspace FROM unnest(%s::uuid[], %s::bigint[]) AS known (workspace, seen)"
        " JOIN mailboxes USING (workspace) WHERE last_update > seen",
        ([workspace.uuid for workspace in seen], list(seen.values())),
    )
    return many(lambda row: WorkspaceID(row.workspace), txn)
