"""The directories of workspaces in the database."""

from attrs import frozen

from mensagod.storage.rows import Row, Transaction, maybe
from mensagod.values.identity import WorkspaceID
from mensagod.values.paths import ServerPath


@frozen
class Folder:
    """A directory that exists."""

    id: int
    workspace: WorkspaceID

    @classmethod
    def from_row(cls, row: Row) -> "Folder":
        """Make one from ``id`` and ``workspace``."""
        return cls(row.id, WorkspaceID(row.workspace))


def top_directories(workspace: WorkspaceID) -> tuple[ServerPath, ServerPath, ServerPath]:
    """Give the three directories that a workspace always has, the parent of the others first."""
    return (
        ServerPath.workspace_root(workspace),
        ServerPath.new_messages(workspace),
        ServerPath.settings(workspace),
    )


def ensure_top(txn: Transaction, workspace: WorkspaceID) -> None:
    """Create the three top directories of a workspace, except those that exist."""
    for path in top_directories(workspace):
        txn.execute(
            "INSERT INTO folders (workspace, path, parent)"
            " VALUES (%(workspace)s, %(path)s,"
            " (SELECT id FROM folders WHERE workspace = %(workspace)s AND path = %(parent)s))"
            " ON CONFLICT (workspace, path) DO NOTHING",
            {"workspace": workspace.uuid, "path": str(path), "parent": str(path.parent)},
        )


def find_folder(txn: Transaction, path: ServerPath) -> Folder | None:
    """Find the directory at ``path``; every directory is a workspace's."""
    if path.workspace is None:
        return None
    txn.execute(
        "SELECT id, workspace FROM folders WHERE workspace = %s AND path = %s",
        (path.workspace.uuid, str(path)),
    )
    return maybe(Folder.from_row, txn)
