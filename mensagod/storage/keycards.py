"""Keycard entries as they were signed, byte for byte (spec 03)."""

from datetime import datetime

from attrs import frozen

from mensagod.identity import SERVER_WORKSPACE, WorkspaceID
from mensagod.storage.rows import Row, Transaction, many, one

ORGANIZATION = SERVER_WORKSPACE
"""The owner of the organization's keycard."""

_ORGANIZATION = (ORGANIZATION.uuid,)


@frozen
class StoredEntry:
    """An entry and what is looked up of it without reading it."""

    number: int
    text: str
    hash: str
    signed: datetime
    expires: datetime

    @classmethod
    def from_row(cls, row: Row) -> "StoredEntry":
        """Make one from its columns."""
        return cls(row.number, row.text, row.hash, row.signed, row.expires)


def add_entry(txn: Transaction, owner: WorkspaceID, entry: StoredEntry) -> None:
    """Append an entry; the second of two with one number violates ``keycard_entries_pkey``."""
    workspace = None if owner == ORGANIZATION else owner.uuid
    txn.execute(
        "INSERT INTO keycard_entries (owner, workspace, number, text, hash, signed, expires)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s)",
        (owner.uuid, workspace, entry.number, entry.text, entry.hash, entry.signed, entry.expires),
    )


def list_entries(txn: Transaction, owner: WorkspaceID, start: int, end: int | None) -> list[StoredEntry]:
    """Give the entries from number ``start`` to ``end``, in order.

    :param start: 0 or less means the newest entry only.
    :param end: ``None`` means to the end.
    """
    if start <= 0:
        txn.execute(
            "SELECT number, text, hash, signed, expires FROM keycard_entries WHERE owner = %s"
            " ORDER BY number DESC LIMIT 1",
            (owner.uuid,),
        )
    else:
        txn.execute(
            "SELECT number, text, hash, signed, expires FROM keycard_entries WHERE owner = %s"
            " AND number >= %s AND (%s IS NULL OR number <= %s) ORDER BY number",
            (owner.uuid, start, end, end),
        )
    return many(StoredEntry.from_row, txn)


def lock_organization(txn: Transaction) -> None:
    """Keep everybody else from changing the organization's keycard or keys until the transaction ends.

    The root entry is what all wait for: it never changes, and is there as long as the organization.
    """
    txn.execute(
        "SELECT number FROM keycard_entries WHERE owner = %s AND number = 1 FOR UPDATE", _ORGANIZATION
    )
    one(lambda row: int(row.number), txn)


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
    """Give up to ``count`` workspaces with a keycard, in the order of their IDs, without archived ones.

    :param last: the ID that they come after; zero to begin with.
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
