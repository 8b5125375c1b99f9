"""Mailboxes: quota and usage of a workspace, and the lock that orders its changes."""

from collections.abc import Collection

from attrs import frozen

from mensagod.storage import folders
from mensagod.storage.rows import Row, Transaction, many, maybe
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


def lock(txn: Transaction, workspace: WorkspaceID) -> Mailbox | None:
    """Lock a workspace's mailbox until the transaction ends; other changes of it wait."""
    txn.execute(_SELECT + " WHERE workspace = %s FOR UPDATE", (workspace.uuid,))
    return maybe(Mailbox.from_row, txn)


def find(txn: Transaction, workspaces: Collection[WorkspaceID]) -> dict[WorkspaceID, Mailbox]:
    """Give the mailboxes of workspaces as they are now, without locks."""
    txn.execute(_SELECT + " WHERE workspace = ANY(%s)", ([workspace.uuid for workspace in workspaces],))
    return dict(many(lambda row: (WorkspaceID(row.workspace), Mailbox.from_row(row)), txn))


@frozen
class Change:
    """What is to change in a mailbox; what a message adds to one column it may take from another.

    :ivar bytes: the growth of its live files.
    :ivar files: the growth of their number.
    :ivar updates: how many update records will be added.
    :ivar queued: the growth of its messages in the queue.
    """

    bytes: int = 0
    files: int = 0
    updates: int = 0
    queued: int = 0


_CHANGE = (
    "UPDATE mailboxes SET used = used + %(bytes)s, files = files + %(files)s,"
    " last_update = last_update + %(updates)s, queued = queued + %(queued)s"
    " WHERE workspace = %(workspace)s"
)
_HAS_ROOM = (
    " AND (quota = 0 OR %(bytes)s + %(queued)s <= 0 OR used + queued + %(bytes)s + %(queued)s <= quota)"
)
_UNLESS_LOCKED = " AND workspace = (SELECT workspace FROM mailboxes WHERE workspace = %(workspace)s FOR UPDATE SKIP LOCKED)"


def change(txn: Transaction, workspace: WorkspaceID, change: Change, *, wait: bool) -> int | None:
    """Change a mailbox, unless it would exceed its quota by that; it is locked until the transaction ends.

    Transactions that change several mailboxes do so in the order of the workspaces' IDs.

    :param wait: whether to wait for a lock; the transaction's ``lock_timeout`` bounds that.
    :returns: the number of its newest update record after the change; ``None`` if nothing was changed: there
        is no such mailbox, it has no room, or another transaction has locked it and ``wait`` is false.
    """
    _change(txn, _CHANGE + _HAS_ROOM + ("" if wait else _UNLESS_LOCKED), workspace, change)
    return maybe(lambda row: int(row.last_update), txn)


def change_locked(txn: Transaction, workspace: WorkspaceID, change: Change) -> int | None:
    """Change a mailbox that this transaction has locked, whatever its quota is.

    :returns: the number of its newest update record after the change; ``None`` if there is no such mailbox.
    """
    _change(txn, _CHANGE, workspace, change)
    return maybe(lambda row: int(row.last_update), txn)


def _change(txn: Transaction, sql: str, workspace: WorkspaceID, change: Change) -> None:
    txn.execute(
        sql + " RETURNING last_update",
        {
            "workspace": workspace.uuid,
            "bytes": change.bytes,
            "files": change.files,
            "updates": change.updates,
            "queued": change.queued,
        },
    )
