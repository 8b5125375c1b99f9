"""The log of what every process must hear of within a second (spec 06, *Running many*).

An event gets its number from the only row of ``event_counter``, in the transaction that it tells of. That row
stays locked until the commit, so events become visible in the order of their numbers, and the numbers have no
gap: who knows all events up to a number asks for those after it, and misses none. Who finds fewer than the
counter has given out since knows that the others are forgotten.
"""

from uuid import UUID

from attrs import frozen

from mensagod.storage.rows import Row, Transaction, many, one
from mensagod.values.identity import DeviceID, WorkspaceID

KEEP_SECONDS = 3600
"""How long an event is remembered."""


@frozen
class CardChange:
    """A keycard changed.

    :ivar owner: whose; of the organization the card changed, or its keys, or both.
    """

    owner: WorkspaceID


@frozen
class Ending:
    """Sessions of a workspace were ended by somebody else.

    :ivar device: whose sessions; ``None`` for those of all devices.
    :ivar spare: the row of the session that goes on.
    :ivar reason: a sentence for their clients and for the log.
    """

    workspace: WorkspaceID
    device: DeviceID | None
    spare: UUID | None
    reason: str


@frozen
class Event:
    """What happened, and its place among all events."""

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
    """What the log has for somebody who reads it.

    :ivar last: the number of the newest event that ever was.
    :ivar events: those after the number that was asked for, in order, as far as they are not forgotten.
    """

    last: int
    events: tuple[Event, ...]


def add(txn: Transaction, subject: CardChange | Ending) -> int:
    """Put down what the transaction does; give the event's number.

    This belongs at the end of a transaction: until it commits nobody else can add an event, so it must not
    wait for anybody after this.
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
    """Give the events after ``number``; ``None`` for those that will come after the newest one."""
    txn.execute(
        "SELECT counted.last, number, kind, workspace, device, spare, reason"
        " FROM (SELECT coalesce(max(last), 0) AS last FROM event_counter) AS counted"
        " LEFT JOIN events ON number > coalesce(%s::bigint, counted.last) ORDER BY number",
        (number,),
    )
    rows: list[Row] = many(lambda row: row, txn)
    return Reading(rows[0].last, tuple(Event.from_row(row) for row in rows if row.number is not None))


def forget_old(txn: Transaction) -> None:
    """Remove the events that are older than :data:`KEEP_SECONDS`, or were made by a clock that ran ahead."""
    txn.execute(
        "DELETE FROM events WHERE at < now() - %(keep)s * interval '1 second'"
        " OR at > now() + %(keep)s * interval '1 second'",
        {"keep": KEEP_SECONDS},
    )
