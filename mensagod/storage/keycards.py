"""Keycard entries in the database, byte for byte as they were signed (spec 03)."""

from collections.abc import Iterable
from datetime import UTC, datetime, time, timedelta

from attrs import frozen

from mensagod.crypto.cryptostring import CryptoString
from mensagod.keycards.entries import Entry
from mensagod.storage import events
from mensagod.storage.events import CardChange
from mensagod.storage.rows import Row, Transaction, many, maybe, one
from mensagod.values.identity import SERVER_WORKSPACE, WorkspaceID
from mensagod.values.times import MAX_INTEGER

ORGANIZATION = SERVER_WORKSPACE
"""The owner of the organization's keycard."""


CACHEABLE = 64 * 1024
"""The largest card that :func:`read_card` gives, in bytes."""

_MOST_ENTRIES = CACHEABLE // 64  # no entry is shorter


@frozen
class StoredEntry:
    """An entry, and the values of it that are columns of their own."""

    number: int
    text: str
    hash: str
    signed: datetime
    expires: datetime

    @classmethod
    def from_row(cls, row: Row) -> "StoredEntry":
        """Make one from its columns."""
        return cls(row.number, row.text, row.hash, row.signed, row.expires)

    @classmethod
    def of(cls, entry: Entry) -> "StoredEntry":
        """Make one from a complete entry."""
        expires = datetime.combine(entry.expires, time(), UTC)
        return cls(entry.index, entry.text, str(entry.hash), entry.timestamp, expires)


@frozen
class Extent:
    """The extent of a range of entries of a card, without their texts.

    :ivar first: the number of the first entry.
    :ivar last: the number of the last entry.
    :ivar size: the bytes of all their texts.
    :ivar escapes: how many of their characters JSON escapes with a backslash, see the schema.
    """

    first: int
    last: int
    size: int
    escapes: int

    @property
    def count(self) -> int:
        """The number of entries; a card has no gaps."""
        return self.last - self.first + 1

    @classmethod
    def from_row(cls, row: Row) -> "Extent | None":
        """Make one from the columns of :func:`measure`; ``None`` of no entries."""
        return None if row.first is None else cls(row.first, row.last, row.size, row.escapes)


def add_entry(txn: Transaction, owner: WorkspaceID, entry: StoredEntry) -> None:
    """Add an entry to a card, and an event by which all processes drop the card from their caches.

    If there is an entry with this number, ``keycard_entries_pkey`` is violated. Call this at the end of a
    transaction, see :func:`mensagod.storage.events.add`.
    """
    workspace = None if owner == ORGANIZATION else owner.uuid
    txn.execute(
        "INSERT INTO keycard_entries (owner, workspace, number, text, hash, signed, expires)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s)",
        (owner.uuid, workspace, entry.number, entry.text, entry.hash, entry.signed, entry.expires),
    )
    events.add(txn, CardChange(owner))


def list_entries(txn: Transaction, owner: WorkspaceID, start: int, end: int | None) -> list[StoredEntry]:
    """Give the entries from number ``start`` to ``end``, in order, without a limit.

    :param start: 0 or less means the newest entry only.
    :param end: ``None`` means the last entry.
    """
    if start <= 0:
        newest = current_entry(txn, owner)
        return [] if newest is None else [newest]
    txn.execute(
        "SELECT number, text, hash, signed, expires FROM keycard_entries WHERE owner = %s"
        " AND number >= %s AND (%s IS NULL OR number <= %s) ORDER BY number",
        (owner.uuid, start, end, end),
    )
    return many(StoredEntry.from_row, txn)


def current_entry(txn: Transaction, owner: WorkspaceID) -> StoredEntry | None:
    """Give the newest entry of a card, if it has any."""
    txn.execute(
        "SELECT number, text, hash, signed, expires FROM keycard_entries WHERE owner = %s"
        " ORDER BY number DESC LIMIT 1",
        (owner.uuid,),
    )
    return maybe(StoredEntry.from_row, txn)


def has_grown(txn: Transaction, owner: WorkspaceID, count: int, window: timedelta) -> bool:
    """Tell whether ``count`` or more entries were added to a card within ``window``; reads one row only.

    An entry whose time lies further ahead than that was added before the clock was set back, and does not
    count.
    """
    txn.execute(
        "SELECT 1 FROM keycard_entries WHERE owner = %(owner)s"
        " AND created > now() - %(window)s AND created < now() + %(window)s"
        " AND number = (SELECT max(number) FROM keycard_entries WHERE owner = %(owner)s) - %(count)s + 1",
        {"owner": owner.uuid, "window": window, "count": count},
    )
    return txn.fetchone() is not None


def has_held(txn: Transaction, owner: WorkspaceID, keys: Iterable[CryptoString], count: int) -> bool:
    """Tell whether the last ``count`` entries of a card contain any of ``keys``."""
    txn.execute(
        "SELECT 1 FROM keycard_entries, unnest(%(keys)s::text[]) AS key WHERE owner = %(owner)s"
        " AND number > (SELECT max(number) FROM keycard_entries WHERE owner = %(owner)s) - %(count)s"
        " AND strpos(text, ':' || key || E'\\r\\n') > 0 LIMIT 1",
        {"owner": owner.uuid, "keys": [str(key) for key in keys], "count": count},
    )
    return txn.fetchone() is not None


def hold_organization(txn: Transaction) -> StoredEntry | None:
    """Give the organization's current entry, and prevent another one until the transaction ends.

    This takes a shared lock on the root entry; :func:`lock_organization` takes the exclusive one.
    """
    txn.execute(
        "SELECT 1 FROM keycard_entries WHERE owner = %s AND number = 1 FOR SHARE", (ORGANIZATION.uuid,)
    )
    return current_entry(txn, ORGANIZATION)


def lock_organization(txn: Transaction) -> None:
    """Lock the organization's card and keys against changes by others until the transaction ends.

    The lock is an exclusive one on the row of the root entry, which never changes. To prevent changes without
    making one, use :func:`hold_organization`.
    """
    txn.execute(
        "SELECT number FROM keycard_entries WHERE owner = %s AND number = 1 FOR UPDATE", (ORGANIZATION.uuid,)
    )
    one(lambda row: int(row.number), txn)


def read_card(txn: Transaction, owner: WorkspaceID) -> list[StoredEntry]:
    """Give all entries of a card, in order; none if they have more than :data:`CACHEABLE` bytes.

    The cost is bounded: at most about a thousand entries are read, however long the card is.
    """
    txn.execute(
        "SELECT number, text, hash, signed, expires FROM keycard_entries WHERE owner = %(owner)s"
        " AND NOT EXISTS (SELECT FROM keycard_entries WHERE owner = %(owner)s AND number > %(count)s)"
        " AND (SELECT sum(size) FROM keycard_entries WHERE owner = %(owner)s AND number <= %(count)s)"
        " <= %(most)s AND number <= %(count)s ORDER BY number",
        {"owner": owner.uuid, "most": CACHEABLE, "count": _MOST_ENTRIES},
    )
    return many(StoredEntry.from_row, txn)


def measure(txn: Transaction, owner: WorkspaceID, start: int, end: int | None) -> Extent | None:
    """Give the extent of the entries from number ``start`` to ``end``; ``None`` if there are none.

    :param end: ``None`` means the last entry.
    """
    txn.execute(
        "SELECT min(number) AS first, max(number) AS last, sum(size)::bigint AS size,"
        " sum(escapes)::bigint AS escapes FROM keycard_entries WHERE owner = %s"
        " AND number BETWEEN %s AND %s",
        (owner.uuid, start, MAX_INTEGER if end is None else end),
    )
    return one(Extent.from_row, txn)


def list_texts(txn: Transaction, owner: WorkspaceID, first: int, last: int) -> list[str]:
    """Give the texts of the entries from number ``first`` to ``last``, in order."""
    txn.execute(
        "SELECT text FROM keycard_entries WHERE owner = %s AND number BETWEEN %s AND %s ORDER BY number",
        (owner.uuid, first, last),
    )
    return many(lambda row: row.text, txn)
