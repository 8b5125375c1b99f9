"""Mailboxes: quota and usage of a workspace, and the lock that orders its changes."""

from collections.abc import Collection

from attrs import frozen

from mensagod.storage import folders
from mensagod.storage.rows import Row, Transaction, many, maybe
from mensagod.values.identity import WorkspaceID


@frozen
class Mailbox:
    """A workspace's row in ``mailboxes``, locked until the end of the transaction.

    :ivar quota: bytes that the workspace may use; 0 is no limit.
    :ivar used: bytes of its files.
    :ivar files: the number of its files.
    :ivar last_update: the number of its newest update record.
    """

    quota: int
    used: int
    files: int
    last_update: int

    @classmethod
    def from_row(cls, row: Row) -> "Mailbox":
        """Make one from all its columns."""
        return cls(row.quota, row.used, row.files, row.last_update)


def create(txn: Transaction, workspace: WorkspaceID, quota: int) -> None:
    """Create the mailbox of a new workspace, and its top directories."""
    txn.execute("INSERT INTO mailboxes (workspace, quota) VALUES (%s, %s)", (workspace.uuid, quota))
    folders.ensure_top(txn, workspace)


def lock(txn: Transaction, workspace: WorkspaceID) -> Mailbox | None:
    """Lock a workspace's mailbox until the transaction ends; other changes of it wait."""
    txn.execute(
        "SELECT quota, used, files, last_update FROM mailboxes WHERE workspace = %s FOR UPDATE",
        (workspace.uuid,),
    )
    return maybe(Mailbox.from_row, txn)


def lock_free(txn: Transaction, workspaces: Collection[WorkspaceID]) -> dict[WorkspaceID, Mailbox]:
    """Lock the mailboxes that are not locked by another transaction, without waiting for the others."""
    txn.execute(
        "SELECT workspace, quota, used, files, last_update FROM mailboxes WHERE workspace = ANY(%s)"
        " FOR UPDATE SKIP LOCKED",
        ([workspace.uuid for workspace in workspaces],),
    )
    return dict(many(lambda row: (WorkspaceID(row.workspace), Mailbox.from_row(row)), txn))


def list_missing(txn: Transaction, workspaces: Collection[WorkspaceID]) -> set[WorkspaceID]:
    """Give the workspaces that have no mailbox; a locked mailbox counts as one."""
    if not workspaces:
        return set()
    txn.execute(
        "SELECT workspace FROM mailboxes WHERE workspace = ANY(%s)",
        ([workspace.uuid for workspace in workspaces],),
    )
    return set(workspaces) - set(many(lambda row: WorkspaceID(row.workspace), txn))
