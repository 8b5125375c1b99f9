"""The log of events: changes that every process must learn of within a second (spec 06, *Running many*).

An event gets its number from the single row of ``event_counter``, in the transaction that makes the change.
The row stays locked until the commit. Therefore events become visible in the order of their numbers, and the
numbers have no gaps. A process that has read all events up to a number reads those after it, and misses none.
If it finds fewer events than the counter has counted since, the missing ones were deleted.
"""

from uuid import UUID

from attrs import frozen

from mensagod.storage.rows import Row, Transaction, many, one
from mensagod.values.identity import DeviceID, WorkspaceID

KEEP_SECONDS = 3600
"""How many seconds an event is kept."""


@frozen
class CardChange:
    """A keycard has changed.

    :ivar owner: its owner; for the organization, its card, its keys or both have changed.
    """

    owner: WorkspaceID


@frozen
class Ending:
    """Sessions of a workspace were ended from outside these sessions.

    :ivar device: the device whose sessions end; ``None`` for all devices.
    :ivar spare: the ID of a session that continues, if any.
    :ivar reason: a sentence for their clients and for the log.
    """

    workspace: WorkspaceID
    device: DeviceID | None
    spare: UUID | None
    reason: str


@frozen
class Event:
    """An event and its number."""

    number: int
    subject: CardChange | Ending

    @classmethod
    def from_row(cls, row: Row) -> "Event":
        """Make one from its columns."""
        workspace = WorkspaceID(row.workspace)
        if row.kind == "card":
            return cls(row.number, CardChange(workspace))
        device = None if row.device is None else DeviceID(row.device)
        return cls(row.number, Ending(workspace, device, row.spare, row.reason))


@frozen
class Reading:
    """The result of reading the log.

    :ivar last: the number of the newest event, even if it has been deleted.
    :ivar events: the events after the given number, in order, without those that have been deleted.
    """

    last: int
    events: tuple[Event, ...]


def add(txn: Transaction, subject: CardChange | Ending) -> int:
    """Add an event; give its number.

    Call this at the end of a transaction. Until the commit no other transaction can add an event, so the
    transaction must not wait for another lock after this.
    """
    txn.execute(
        "INSERT INTO event_counter AS counter (last) VALUES (1)"
        " ON CONFLICT (id) DO UPDATE SET last = counter.last + 1 RETURNING last"
    )
    number = one(lambda row: int(row.last), txn)
    values: tuple[object, ...]
    if isinstance(subject, CardChange):
        values = ("card", subject.owner.uuid, None, None, None)
    else:
        device = None if subject.device is None else subject.device.uuid
        values = ("sessions", subject.workspace.uuid, device, subject.spare, subject.reason)
    txn.execute(
        "INSERT INTO events (number, kind, workspace, device, spare, reason) VALUES (%s, %s, %s, %s, %s, %s)",
        (number, *values),
    )
    return number


def newest(txn: Transaction) -> int:
    """Give the number of the newest event; 0 if there never was one."""
    txn.execute("SELECT coalesce(max(last), 0) AS last FROM event_counter")
    return one(lambda row: int(row.last), txn)


def read_after(txn: Transaction, number: int | None) -> Reading:
    """Read the events after ``number``.

    :param number: ``None`` reads no events, only the number of the newest one.
    """
    txn.execute(
        "SELECT counted.last, number, kind, workspace, device, spare, reason"
        " FROM (SELECT coalesce(max(last), 0) AS last FROM event_counter) AS counted"
        " LEFT JOIN events ON number > coalesce(%s::bigint, counted.last) ORDER BY number",
        (number,),
    )
    rows: list[Row] = many(lambda row: row, txn)
    return Reading(rows[0].last, tuple(Event.from_row(row) for row in rows if row.number is not None))


def forget_old(txn: Transaction) -> None:
    """Delete the events that are older than :data:`KEEP_SECONDS`, or dated as far in the future."""
    txn.execute(
        "DELETE FROM events WHERE at < now() - %(keep)s * interval '1 second'"
        " OR at > now() + %(keep)s * interval '1 second'",
        {"keep": KEEP_SECONDS},
    )
