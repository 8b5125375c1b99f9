"""Contents in the database: the bytes of files, in a row or by their key in the store (spec 06, *Files*).

A content in the store has a row in one table at a time, which moves in the transactions that change what the
content is: in ``writings`` while its bytes are written, in ``queue`` while it is a message on its way, in
``contents`` while files have it, in ``garbage`` from then on until it is erased.
"""

from collections.abc import Sequence
from datetime import date, datetime
from hashlib import blake2b
from typing import Final
from uuid import UUID, uuid4

from attrs import field, frozen

from mensagod.contents.keys import ContentKey
from mensagod.storage.rows import Row, Transaction, many, one
from mensagod.values.identity import SERVER_WORKSPACE, WorkspaceID

WRITING_SECONDS: Final = 600
"""How many seconds the bytes of a content may take from :func:`begin_writing` until they are accepted."""


@frozen
class Content:
    """A content, with its bytes if they stand in its row.

    :ivar hash: its BLAKE2b-256; ``None`` if its bytes were lost before contents had keys.
    :ivar day: the day of its key in the store; ``None`` if its bytes stand in its row.
    :ivar data: its bytes; ``None`` if they are in the store.
    """

    id: UUID
    size: int
    hash: bytes | None
    day: date | None = None
    data: bytes | None = field(default=None, repr=False)

    @classmethod
    def in_row(cls, data: bytes) -> "Content":
        """Make a new content whose bytes stand in its row."""
        return cls(uuid4(), len(data), blake2b(data, digest_size=32).digest(), data=data)

    @classmethod
    def from_row(cls, row: Row) -> "Content":
        """Make one from the columns ``content``, ``size``, ``hash``, ``day`` and ``data``."""
        return cls(row.content, row.size, row.hash, row.day, row.data)

    @property
    def key(self) -> ContentKey | None:
        """Its key in the store, if its bytes are there."""
        return None if self.day is None else ContentKey(self.day, self.id)


@frozen
class Owned:
    """A content in the store, and whose it is."""

    workspace: WorkspaceID
    key: ContentKey

    @classmethod
    def from_row(cls, row: Row) -> "Owned":
        """Make one from ``workspace``, ``key`` and ``day``."""
        return cls(WorkspaceID(row.workspace), ContentKey(row.day, row.key))


def begin_writing(txn: Transaction, workspace: WorkspaceID) -> ContentKey:
    """Give a new key, under which bytes may be written to the store."""
    # The commit does not wait for the disk: if a crash of PostgreSQL takes the row, the content is found as
    # one that no row knows.
    txn.execute(
        "SET LOCAL synchronous_commit TO off; INSERT INTO writings (workspace, until)"
        " VALUES (%s, now() + %s * interval '1 second') RETURNING key, day",
        (workspace.uuid, WRITING_SECONDS),
    )
    return one(lambda row: ContentKey(row.day, row.key), txn)


def end_writings(txn: Transaction, written: Sequence[Owned]) -> set[UUID]:
    """Remove the rows of contents that are whole, in the transaction that gives them their new rows.

    :returns: the keys of those that had rows; the others took too long, and must not be used.
    """
    txn.execute(
        "DELETE FROM writings USING unnest(%s::uuid[], %s::uuid[]) AS written (workspace, key)"
        " WHERE writings.workspace = written.workspace AND writings.key = written.key RETURNING writings.key",
        _columns(written)[:2],
    )
    return set(many(lambda row: row.key, txn))


def withdraw_writing(txn: Transaction, written: Owned) -> None:
    """Remove the row of a content whose bytes the store has removed already."""
    txn.execute(
        "DELETE FROM writings WHERE workspace = %s AND key = %s", (written.workspace.uuid, written.key.id)
    )


def discard_writings(txn: Transaction, written: Sequence[Owned]) -> None:
    """Make contents garbage that were written and are not used."""
    ended = end_writings(txn, written)
    add_garbage(txn, [content for content in written if content.key.id in ended])


def list_dead_writings(txn: Transaction, most: int) -> list[Owned]:
    """Give contents whose writers count as dead.

    A time that lies further ahead than a writer gets was written under another clock, and is over.
    """
    txn.execute(
        "SELECT workspace, key, day FROM writings"
        " WHERE until NOT BETWEEN now() AND now() + 2 * %s * interval '1 second' LIMIT %s",
        (WRITING_SECONDS, most),
    )
    return many(Owned.from_row, txn)


def add_garbage(txn: Transaction, contents: Sequence[Owned]) -> None:
    """Remember contents that no row needs any more."""
    txn.execute(
        "INSERT INTO garbage (workspace, key, day) SELECT workspace, key, day"
        " FROM unnest(%s::uuid[], %s::uuid[], %s::date[]) AS unused (workspace, key, day)"
        " ON CONFLICT (workspace, key) DO NOTHING",
        _columns(contents),
    )


@frozen
class OldGarbage:
    """The hours in which contents became garbage that is old enough to be erased.

    :ivar now: what the database's clock says.
    :ivar hours: the beginnings of the hours, in order.
    """

    now: datetime
    hours: tuple[datetime, ...]


def date_garbage_anew(txn: Transaction) -> int:
    """Let contents be garbage since now whose time cannot be right; give their number.

    Their time lies ahead, or before the day of their key: a clock was wrong (spec 06, *Clocks lie*).
    """
    txn.execute(
        "UPDATE garbage SET since = now()"
        " WHERE since > now() + interval '1 hour' OR since < (day - 1)::timestamp AT TIME ZONE 'UTC'"
    )
    return txn.rowcount


def find_old_garbage(txn: Transaction, hours: int) -> OldGarbage:
    """Find out when contents became garbage that nothing has needed for so many hours."""
    txn.execute(
        "SELECT now() AS now, array_agg(hour ORDER BY hour) AS hours FROM (SELECT DISTINCT"
        " date_trunc('hour', since AT TIME ZONE 'UTC') AT TIME ZONE 'UTC' AS hour"
        " FROM garbage WHERE since <= now() - %s * interval '1 hour') AS old",
        (hours,),
    )
    return one(lambda row: OldGarbage(row.now, tuple(row.hours or ())), txn)


def list_garbage(txn: Transaction, hours: int, begin: datetime, most: int) -> list[Owned]:
    """Give contents that became garbage in one hour, and that nothing has needed for so many hours.

    :param begin: the beginning of the hour, from :func:`find_old_garbage`.
    """
    txn.execute(
        "SELECT workspace, key, day FROM garbage WHERE since >= %(begin)s"
        " AND since < %(begin)s + interval '1 hour' AND since <= now() - %(hours)s * interval '1 hour'"
        " LIMIT %(most)s",
        {"begin": begin, "hours": hours, "most": most},
    )
    return many(Owned.from_row, txn)


def today(txn: Transaction) -> date:
    """Give the day in UTC by the database's clock, which gives keys their days."""
    txn.execute("SELECT (now() AT TIME ZONE 'UTC')::date AS today")
    return one(lambda row: date.fromordinal(row.today.toordinal()), txn)


def forget_garbage(txn: Transaction, contents: Sequence[Owned]) -> None:
    """Remove the rows of contents that were erased."""
    txn.execute(
        "DELETE FROM garbage USING unnest(%s::uuid[], %s::uuid[]) AS erased (workspace, key)"
        " WHERE garbage.workspace = erased.workspace AND garbage.key = erased.key",
        _columns(contents)[:2],
    )


def set_unknown_aside(txn: Transaction, keys: Sequence[ContentKey]) -> list[ContentKey]:
    """Make those of some contents in the store garbage that no row knows; give them.

    It looks in every workspace, so it is for contents in the background, and never for what is being written.
    """
    txn.execute(
        "SELECT key, day FROM unnest(%s::uuid[], %s::date[]) AS found (key, day)"
        " WHERE NOT EXISTS (SELECT FROM contents WHERE contents.key = found.key)"
        " AND NOT EXISTS (SELECT FROM queue WHERE queue.content = found.key)"
        " AND NOT EXISTS (SELECT FROM writings WHERE writings.key = found.key)"
        " AND NOT EXISTS (SELECT FROM garbage WHERE garbage.key = found.key)",
        ([key.id for key in keys], [key.day for key in keys]),
    )
    unknown = many(lambda row: ContentKey(row.day, row.key), txn)
    add_garbage(txn, [Owned(SERVER_WORKSPACE, key) for key in unknown])
    return unknown


def _columns(contents: Sequence[Owned]) -> tuple[list[UUID], list[UUID], list[date]]:
    return (
        [content.workspace.uuid for content in contents],
        [content.key.id for content in contents],
        [content.key.day for content in contents],
    )
