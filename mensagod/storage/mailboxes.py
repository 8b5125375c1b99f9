"""Mailboxes: quota and usage of a workspace, and the lock that orders its changes."""

from attrs import frozen

from mensagod.storage import folders
from mensagod.storage.rows import Row, Transaction, changed, maybe
from mensagod.values.identity import WorkspaceID


@frozen
class Mailbox:
    """A workspace's row in ``mailboxes``.

    :ivar quota: bytes that the workspace may use; 0 is no limit.
    :ivar used: bytes of its live files.
    :ivar queued: bytes of its messages in the queue.
    :ivar files: the number of its files.
    :ivar last_update: the number of its newest update record.
    """

    quota: int
    used: int
    queued: int
    files: int
    last_update: int

    def has_room(self, size: int) -> bool:
        """Tell whether so many bytes more fit into it."""
        return not self.quota or self.used + self.queued + size <= self.quota

    @classmethod
    def from_row(cls, row: Row) -> "Mailbox":
        """Make one from all its columns."""
        return cls(row.quota, row.used, row.queued, row.files, row.last_update)


_SELECT = "SELECT workspace, quota, used, queued, files, last_update FROM mailboxes"


def create(txn: Transaction, workspace: WorkspaceID, quota: int) -> None:
    """Create the mailbox of a new workspace, and its top directories."""
    txn.execute("INSERT INTO mailboxes (workspace, quota) VALUES (%s, %s)", (workspace.uuid, quota))
    folders.ensure_top(txn, workspace)


def find(txn: Transaction, workspace: WorkspaceID) -> Mailbox | None:
    """Give a workspace's mailbox as it is now, without a lock."""
    txn.execute(_SELECT + " WHERE workspace = %s", (workspace.uuid,))
    return maybe(Mailbox.from_row, txn)


def lock(txn: Transaction, workspace: WorkspaceID) -> Mailbox | None:
    """Lock a workspace's mailbox until the transaction ends; other changes of it wait."""
    txn.execute(_SELECT + " WHERE workspace = %s FOR UPDATE", (workspace.uuid,))
    return maybe(Mailbox.from_row, txn)


_COUNT_QUEUED = (
    "UPDATE mailboxes SET queued = queued + %(size)s WHERE workspace = %(workspace)s"
    " AND (quota = 0 OR used + queued + %(size)s <= quota)"
)
_UNLESS_LOCKED = (
    " AND workspace ="
    " (SELECT workspace FROM mailboxes WHERE workspace = %(workspace)s FOR UPDATE SKIP LOCKED)"
)


def count_queued(txn: Transaction, workspace: WorkspaceID, size: int, *, wait: bool) -> bool:
    """Count bytes that a workspace has in the queue from now on, and lock its mailbox.

    Transactions that do so for several workspaces do it in the order of their IDs.

    :param wait: whether to wait for a lock; the transaction's ``lock_timeout`` bounds that.
    :returns: whether they were counted; if not, there is no such mailbox, it has no room, or another
        transaction has locked it and ``wait`` is false.
    """
    txn.execute(
        _COUNT_QUEUED if wait else _COUNT_QUEUED + _UNLESS_LOCKED, {"workspace": workspace.uuid, "size": size}
    )
    return changed(txn)


def count_dequeued(txn: Transaction, workspace: WorkspaceID, size: int) -> None:
    """Count bytes no longer that a workspace had in the queue. Its mailbox is locked, or does not exist."""
    txn.execute(
        "UPDATE mailboxes SET queued = queued - %s WHERE workspace = %s",
        (size, workspace.uuid),
    )
