"""Keycard entries as they were signed, byte for byte (spec 03)."""

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

    @classmethod
    def of(cls, entry: Entry) -> "StoredEntry":
        """Take a complete entry."""
        expires = datetime.combine(entry.expires, time(), UTC)
        return cls(entry.index, entry.text, str(entry.hash), entry.timestamp, expires)


@frozen
class Extent:
    """How much some entries of a card are, without their texts.

    :ivar first: the number of the first one.
    :ivar last: the number of the last one.
    :ivar size: bytes of all their texts.
    :ivar escapes: how many of their characters JSON writes with a backslash, see the schema.
    """

    first: int
    last: int
    size: int
    escapes: int

    @property
    def count(self) -> int:
        """How many entries they are; a card has no gaps."""
        return self.last - self.first + 1

    @classmethod
    def from_row(cls, row: Row) -> "Extent | None":
        """Make one from the columns of :func:`measure`; ``None`` of no entries."""
        return None if row.first is None else cls(row.first, row.last, row.size, row.escapes)


def add_entry(txn: Transaction, owner: WorkspaceID, entry: StoredEntry) -> None:
    """Append an entry, and have all processes forget the card that they know.

    The second of two with one number violates ``keycard_entries_pkey``. This adds an event, and so belongs at
    the end of a transaction, see :func:`mensagod.storage.events.add`.
    """
    workspace = None if owner == ORGANIZATION else owner.uuid
    txn.execute(
        "INSERT INTO keycard_entries (owner, workspace, number, text, hash, signed, expires)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s)",
        (owner.uuid, workspace, entry.number, entry.text, entry.hash, entry.signed, entry.expires),
    )
    events.add(txn, CardChange(owner))


def list_entries(txn: Transaction, owner: WorkspaceID, start: int, end: int | None) -> list[StoredEntry]:
    """Give the entries from number ``start`` to ``end``, in order, however many they are.

    :param start: 0 or less means the newest entry only.
    :param end: ``None`` means to the end.
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
    """Tell whether a card got ``count`` entries or more within ``window``; it looks at one of them."""
    txn.execute(
        "SELECT 1 FROM keycard_entries WHERE owner = %(owner)s AND created > now() - %(window)s"
        " AND number = (SELECT max(number) FROM keycard_entries WHERE owner = %(owner)s) - %(count)s + 1",
        {"owner": owner.uuid, "window": window, "count": count},
    )
    return txn.fetchone() is not None


def has_held(txn: Transaction, owner: WorkspaceID, keys: Iterable[CryptoString], count: int) -> bool:
    """Tell whether any of ``keys`` stands in the last ``count`` entries of a card."""
    txn.execute(
        "SELECT 1 FROM keycard_entries, unnest(%(keys)s::text[]) AS key WHERE owner = %(owner)s"
        " AND number > (SELECT max(number) FROM keycard_entries WHERE owner = %(owner)s) - %(count)s"
        " AND strpos(text, ':' || key || E'\\r\\n') > 0 LIMIT 1",
        {"owner": owner.uuid, "keys": [str(key) for key in keys], "count": count},
    )
    return txn.fetchone() is not None


def hold_organization(txn: Transaction) -> StoredEntry | None:
    """Give the organization's current entry, and keep it the current one until the transaction ends.

    Who adds another one takes the same lock, on the root entry, for itself alone.
    """
    txn.execute(
        "SELECT 1 FROM keycard_entries WHERE owner = %s AND number = 1 FOR SHARE", (ORGANIZATION.uuid,)
    )
    return current_entry(txn, ORGANIZATION)


def lock_organization(txn: Transaction) -> None:
    """Keep everybody else from changing the organization's card or keys until the transaction ends.

    All wait for the root entry, which never changes. Who only needs them to stay as they are takes
    :func:`hold_organization`.
    """
    txn.execute(
        "SELECT number FROM keycard_entries WHERE owner = %s AND number = 1 FOR UPDATE", (ORGANIZATION.uuid,)
    )
    one(lambda row: int(row.number), txn)


def read_card(txn: Transaction, owner: WorkspaceID) -> list[StoredEntry]:
    """Give all entries of a card, in order; none if they are more than :data:`CACHEABLE` bytes.

    Finding that out costs no more for a card of any length than for one of a thousand entries.
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
    """Tell how much the entries from number ``start`` to ``end`` are; ``None`` if there are none.

    :param end: ``None`` means to the end.
    """
    txn.execute(
        "SELECT min(number) AS first, max(number) AS last, sum(size)::bigint AS size,"
        " sum(escapes)::bigint AS escapes FROM keycard_entries WHERE owner = %s"
        " AND number BETWEEN %s AND %s",
        (owner.uuid, start, MAX_INTEGER if end is None else end),
    )
    return one(Extent.from_row, txn)


def list_texts(txn: Transaction, owner: WorkspaceID, first: int, last: int) -> list[str]:
    """Give the texts of some entries, in order."""
    txn.execute(
        "SELECT text FROM keycard_entries WHERE owner = %s AND number BETWEEN %s AND %s ORDER BY number",
        (owner.uuid, first, last),
    )
    return many(lambda row: row.text, txn)
