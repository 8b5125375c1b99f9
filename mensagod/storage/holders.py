"""The workspaces that have a keycard."""

from attrs import frozen

from mensagod.storage.rows import Row, Transaction, many
from mensagod.values.identity import WorkspaceID


@frozen
class Holder:
    """A workspace with a keycard, and the text of its current entry."""

    workspace: WorkspaceID
    domain: str
    user_id: str | None
    text: str

    @classmethod
    def from_row(cls, row: Row) -> "Holder":
        """Make one from its columns."""
        return cls(WorkspaceID(row.owner), row.domain, row.user_id, row.text)


def holders_after(txn: Transaction, last: WorkspaceID, count: int) -> list[Holder]:
    """Give up to ``count`` workspaces with a keycard, ordered by ID, without archived ones.

    :param last: give the workspaces after this ID; the zero ID for the first ones.
    """
    txn.execute(
        "SELECT DISTINCT ON (entries.owner) entries.owner, workspaces.domain, names.user_id, entries.text"
        " FROM keycard_entries AS entries JOIN workspaces ON workspaces.id = entries.workspace"
        " LEFT JOIN names ON names.workspace = entries.workspace AND names.kind = 'current'"
        " WHERE entries.owner > %s AND workspaces.status <> 'archived'"
        " ORDER BY entries.owner, entries.number DESC LIMIT %s",
        (last.uuid, count),
    )
    return many(Holder.from_row, txn)
