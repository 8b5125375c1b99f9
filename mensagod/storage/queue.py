"""The queue of messages in the database (spec 05, *The queue*).

Every row is in a bucket, and one process at a time works on a bucket (:mod:`mensagod.storage.buckets`). That
spares rivalry; nothing rests on it. What makes a message arrive once is that its row leaves the queue in the
transaction that delivers it. Who records another result names the number of the try, so that a worker that
was late changes nothing that a later one has done.
"""

from collections.abc import Collection, Sequence
from datetime import datetime
from hashlib import sha256
from typing import Final
from uuid import UUID

from attrs import frozen

from mensagod.status import Status
from mensagod.storage.contents import Content
from mensagod.storage.listings import Listing
from mensagod.storage.rows import Row, Transaction, changed, many, one
from mensagod.values.domains import ALL_DOMAINS, DomainSet
from mensagod.values.identity import DeviceID, Domain, WorkspaceID
from mensagod.values.paths import FileName

BUCKETS: Final = 256
"""The number of buckets."""

EACH: Final = 32
"""How many due messages of one bucket are given at once, so that none keeps those of others waiting."""

FARTHEST_HOURS: Final = 160
"""A message that its sender has not scheduled is never due later than this: the longest interval that
``federation.retry_intervals`` allows is six days, and jitter makes it a tenth longer."""


class Overtaken(Exception):
    """Another worker has recorded a later try, or delivered the message. Nothing was changed."""


@frozen
class Cause:
    """Why a message was not delivered.

    :ivar status: the code for the report to its sender.
    :ivar reason: a sentence that explains it.
    """

    status: Status
    reason: str


@frozen
class NewMessage:
    """An accepted message that cannot be delivered at once.

    :ivar target: the workspace that it goes to, if it was found.
    :ivar name: its name below ``out``.
    :ivar send_time: the earliest time of its delivery; ``None`` for now.
    """

    id: UUID
    target: WorkspaceID | None
    sender: WorkspaceID
    device: DeviceID
    sender_domain: Domain
    domain: Domain
    name: FileName
    content: Content
    send_time: datetime | None

    @property
    def destination(self) -> str:
        """What decides on its bucket: its target or, if that is unknown, the recipient's domain."""
        return str(self.target or self.domain)

    @property
    def bucket(self) -> int:
        """The bucket of its row."""
        return bucket_of(self.destination)


@frozen
class Queued:
    """A message that a worker has in hand.

    :ivar target: the workspace that it goes to, if it was found when the message was accepted.
    :ivar attempts: how often its delivery was tried before.
    :ivar accepted: when it was accepted, or its send time if that is later.
    """

    bucket: int
    id: UUID
    destination: str
    target: WorkspaceID | None
    sender: WorkspaceID
    sender_domain: Domain
    domain: Domain
    name: FileName
    attempts: int
    accepted: datetime
    content: Content

    @classmethod
    def from_row(cls, row: Row) -> "Queued":
        """Make one from its columns."""
        return cls(
            row.bucket,
            row.id,
            row.destination,
            WorkspaceID(row.target) if row.target else None,
            WorkspaceID(row.sender),
            Domain(row.sender_domain),
            Domain(row.domain),
            FileName.from_text(row.name),
            row.attempts,
            row.accepted,
            Content.from_row(row),
        )


def bucket_of(destination: str) -> int:
    """Give the bucket of a destination, see :attr:`NewMessage.destination`."""
    return sha256(destination.encode()).digest()[0]


def add(txn: Transaction, messages: Sequence[NewMessage]) -> None:
    """Add messages, in the transaction that accepts them. Their senders' mailboxes were changed before."""
    for message in messages:
        content = message.content
        txn.execute(
            "INSERT INTO queue (bucket, id, destination, target, sender, device, sender_domain, domain, name,"
            " time, size, content, day, hash, data, due, send_time, accepted)"
            " VALUES (%(bucket)s, %(id)s, %(destination)s, %(target)s, %(sender)s, %(device)s,"
            " %(sender_domain)s, %(domain)s, %(name)s, %(time)s, %(size)s, %(content)s, %(day)s, %(hash)s,"
            " %(data)s, coalesce(%(send_time)s, now()), %(send_time)s, greatest(now(), %(send_time)s))",
            {
                "bucket": message.bucket,
                "id": message.id,
                "destination": message.destination,
                "target": None if message.target is None else message.target.uuid,
                "sender": message.sender.uuid,
                "device": message.device.uuid,
                "sender_domain": str(message.sender_domain),
                "domain": str(message.domain),
                "name": message.name.text,
                "time": message.name.time,
                "size": content.size,
                "content": content.id,
                "day": content.day,
                "hash": content.hash,
                "data": content.data,
                "send_time": message.send_time,
            },
        )


_DUE = (
    "SELECT bucket, id, destination, target, sender, sender_domain, domain, name, attempts, accepted,"
    " content, size, day, hash, data, due FROM queue WHERE bucket = mine.number AND state = 'queued'"
    " AND due <= now() AND (domain = ANY(%(domains)s::text[])) <> %(inverted)s"
)
_OLDEST = " ORDER BY due LIMIT %(each)s"
_FIRST = "SELECT destination FROM queue WHERE bucket = mine.number AND state = 'queued'"
_ONE = " ORDER BY destination LIMIT 1"
_IN_QUIET = "SELECT ready.* FROM unnest(%(quiet)s::smallint[]) AS mine (number), LATERAL ("
_IN_CROWDED = "SELECT ready.* FROM unnest(%(crowded)s::smallint[]) AS mine (number), LATERAL ("
_KNOWN = "WITH RECURSIVE known (destination) AS (("
_NEXT = " AND destination > known.destination"
_OF_KNOWN = "SELECT due_rows.* FROM known, LATERAL ("
_LIST_QUIET = _IN_QUIET + _DUE + _OLDEST + ") AS ready"
_FURTHER = ") UNION ALL SELECT ("
_WHILE_ANY = ") FROM known WHERE known.destination IS NOT NULL) "
_LIST_KNOWN = _KNOWN + _FIRST + _ONE + _FURTHER + _FIRST + _NEXT + _ONE + _WHILE_ANY
_LIST_OTHERS = (
    _OF_KNOWN + _DUE + " AND destination = known.destination" + _OLDEST + ") AS due_rows"
    " WHERE known.destination <> ALL(%(busy)s::text[])" + _OLDEST
)
_LIST_CROWDED = _IN_CROWDED + _LIST_KNOWN + _LIST_OTHERS + ") AS ready"
_LIST_DUE = _LIST_QUIET + " UNION ALL " + _LIST_CROWDED + " ORDER BY due LIMIT %(most)s"
"""In buckets with a busy destination the others are looked for one after the other in the index, so that the
messages for the busy one, however many are due, are not read."""


def list_due(
    txn: Transaction,
    buckets: Collection[int],
    most: int,
    *,
    domains: DomainSet = ALL_DOMAINS,
    busy: Collection[str] = (),
) -> list[Queued]:
    """Give messages for ``domains`` that are due, at most :data:`EACH` of a bucket, the longest due first.

    :param busy: destinations that are left out, because a worker is busy with messages for them.
    """
    crowded = {bucket_of(destination) for destination in busy}
    txn.execute(
        _LIST_DUE,
        {
            "quiet": [bucket for bucket in buckets if bucket not in crowded],
            "crowded": [bucket for bucket in buckets if bucket in crowded],
            "busy": list(busy),
            "domains": [str(domain) for domain in domains.named],
            "inverted": domains.inverted,
            "each": EACH,
            "most": most,
        },
    )
    return many(Queued.from_row, txn)


def take(txn: Transaction, messages: Sequence[Queued]) -> set[UUID]:
    """Remove messages, in the transaction that delivers them.

    :returns: the IDs of those that were removed; this transaction must not deliver the others.
    """
    txn.execute(
        "DELETE FROM queue USING unnest(%s::smallint[], %s::uuid[], %s::integer[])"
        " AS done (bucket, id, attempts) WHERE queue.bucket = done.bucket AND queue.id = done.id"
        " AND queue.attempts = done.attempts AND queue.state = 'queued' RETURNING queue.id",
        (
            [message.bucket for message in messages],
            [message.id for message in messages],
            [message.attempts for message in messages],
        ),
    )
    return set(many(lambda row: row.id, txn))


def postpone(txn: Transaction, message: Queued, cause: Cause, seconds: float) -> None:
    """Record a try; the next one is after ``seconds``.

    :raises Overtaken: if another worker was faster.
    """
    _record(txn, message, "queued", cause, seconds)


def fail(txn: Transaction, message: Queued, cause: Cause) -> None:
    """Mark a message as failed. It stays until the failure is reported to its sender.

    :raises Overtaken: if another worker was faster.
    """
    _record(txn, message, "failed", cause, 0.0)


def _record(txn: Transaction, message: Queued, state: str, cause: Cause, seconds: float) -> None:
    txn.execute(
        "UPDATE queue SET state = %s, attempts = attempts + 1, due = now() + %s * interval '1 second',"
        " send_time = NULL, code = %s, reason = %s"
        " WHERE bucket = %s AND id = %s AND attempts = %s AND state = 'queued'",
        (
            state,
            seconds,
            int(cause.status),
            cause.reason,
            message.bucket,
            message.id,
            message.attempts,
        ),
    )
    if not changed(txn):
        raise Overtaken


def hasten(txn: Transaction) -> int:
    """Let messages be due that lie further ahead than they can have been put there; give their number.

    That happens when the database's clock is set back (spec 06, *Clocks lie*).
    """
    txn.execute(
        "UPDATE queue SET due = now(), accepted = least(accepted, now())"
        " WHERE state = 'queued' AND send_time IS NULL AND due > now() + %s * interval '1 hour'",
        (FARTHEST_HOURS,),
    )
    return txn.rowcount


def list_outgoing(txn: Transaction, sender: WorkspaceID, since: int, most: int) -> Listing:
    """List the first ``most`` names of a workspace's messages that are not delivered yet.

    :param since: Unix seconds; messages with an earlier time in their name are left out.
    """
    txn.execute(
        "SELECT count(*) AS count, string_agg(name, ',' ORDER BY name) AS names FROM ("
        "SELECT name FROM queue WHERE sender = %s AND time >= %s ORDER BY name LIMIT %s) AS first",
        (sender.uuid, since, most),
    )
    return one(Listing.from_row, txn)
