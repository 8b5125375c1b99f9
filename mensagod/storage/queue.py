"""The queue of accepted messages, as the database knows it (spec 05, *The queue*).

A row is worked on by whoever holds its lease: every change names the lease, so that a worker that lost it
changes nothing any more.
"""

from collections.abc import Collection, Sequence
from datetime import datetime
from uuid import UUID

from attrs import frozen

from mensagod.errors import QuotaExceeded
from mensagod.storage import devices, mailboxes
from mensagod.storage.files import Arrival
from mensagod.storage.rows import Row, Transaction, changed, many
from mensagod.values.identity import SERVER_WORKSPACE, DeviceID, Domain, WorkspaceID
from mensagod.values.paths import FileName, ServerPath

LEASE_SECONDS = 10
"""How long a claim holds unless it is renewed."""

WRITING_SECONDS = 600
"""How long the content of an accepted message may take to reach the disk."""


class LeaseLost(Exception):
    """Somebody else works on the message now; what this worker wanted was not done."""


@frozen
class Queued:
    """A message on its way.

    :ivar lease: what its worker holds it by.
    :ivar target: the workspace in whose mailbox it will stand, and
    :ivar target_name: its name there, once both are decided.
    """

    id: UUID
    lease: UUID
    sender: WorkspaceID
    sender_domain: Domain
    domain: Domain
    name: FileName
    attempts: int
    accepted: datetime
    target: WorkspaceID | None
    target_name: FileName | None

    @classmethod
    def from_row(cls, row: Row) -> "Queued":
        """Make one from its columns."""
        return cls(
            row.id,
            row.lease,
            WorkspaceID(row.sender),
            Domain(row.sender_domain),
            Domain(row.domain),
            FileName.from_text(row.name),
            row.attempts,
            row.accepted,
            WorkspaceID(row.target) if row.target else None,
            FileName.from_text(row.target_name) if row.target_name else None,
        )

    @property
    def path(self) -> ServerPath:
        """Where its file waits."""
        return ServerPath.outgoing(self.sender).child(self.name)

    @property
    def arrival(self) -> Arrival:
        """What will stand in the mailbox, once that is decided."""
        if self.target is None or self.target_name is None:
            raise ValueError("it is not decided yet")
        return Arrival(self.target, self.target_name)


@frozen
class Submission:
    """What a client hands in.

    :ivar due: not to be delivered before this time.
    """

    id: UUID
    lease: UUID
    sender: WorkspaceID
    device: DeviceID
    sender_domain: Domain
    domain: Domain
    name: FileName
    due: datetime | None = None

    @property
    def columns(self) -> dict[str, object]:
        """What its row will say."""
        return {
            "id": self.id,
            "sender": self.sender.uuid,
            "device": self.device.uuid,
            "sender_domain": str(self.sender_domain),
            "domain": str(self.domain),
            "name": self.name.text,
            "size": self.name.size,
            "due": self.due,
            "lease": self.lease,
            "seconds": WRITING_SECONDS,
        }


_HASTE = "SET LOCAL synchronous_commit TO off; "
"""For a row that only says what to clean up after a crash. If PostgreSQL dies before it is on the disk, the
file is left without one until :func:`list_forgotten` finds it; to wait would double every SEND.
"""

_INSERT = (
    "INSERT INTO queue"
    " (id, sender, device, sender_domain, domain, name, size, state, due, lease, lease_until)"
    " SELECT %(id)s, %(sender)s, %(device)s, %(sender_domain)s, %(domain)s, %(name)s, %(size)s, 'pending',"
    " coalesce(%(due)s, now()), %(lease)s, now() + %(seconds)s * interval '1 second'"
)
_HAS_NO_QUOTA = "NOT EXISTS (SELECT FROM mailboxes WHERE workspace = %(sender)s AND quota > 0)"
_RESERVE = _HASTE + _INSERT + " WHERE " + _HAS_NO_QUOTA
_RESERVE_AND_COUNT = (
    _HASTE
    + "WITH counted AS ("
    + devices.COUNT_SEND
    + " AND "
    + _HAS_NO_QUOTA
    + " RETURNING 1) "
    + _INSERT
    + " FROM counted"
)


def reserve(txn: Transaction, message: Submission, rate: int) -> bool:
    """Make room for a message whose file is about to be written; nothing is promised yet.

    One statement, and so one round trip. It does nothing if the workspace has a quota, which is not counted
    so easily, or if the device's minute is full: :func:`reserve_within_quota` tells which.

    :param rate: messages that the device may hand in within 60 seconds; 0 is no limit.
    :returns: whether it is done.
    """
    if rate:
        txn.execute(_RESERVE_AND_COUNT, message.columns | {"rate": rate})
    else:
        txn.execute(_RESERVE, message.columns)
    return changed(txn)


def reserve_within_quota(txn: Transaction, message: Submission, rate: int) -> None:
    """Like :func:`reserve`, for any workspace.

    :raises LimitReached: if the device has handed in as many as it may.
    :raises QuotaExceeded: if the workspace has no room.
    """
    txn.execute(_HASTE)
    # The mailbox before the device, as a login does it: else the two could wait for each other.
    mailbox = mailboxes.lock(txn, message.sender)
    devices.note_send(txn, message.sender, message.device, rate)
    if mailbox is not None and mailbox.quota:
        claimed = claimed_bytes(txn, [message.sender])[message.sender]
        if mailbox.used + claimed + message.name.size > mailbox.quota:
            raise QuotaExceeded
    txn.execute(_INSERT, message.columns)


def accept(txn: Transaction, message: UUID, lease: UUID) -> None:
    """Promise delivery of a message whose file is written and synced."""
    txn.execute(
        "UPDATE queue SET state = 'queued', accepted = greatest(now(), due), lease = NULL, lease_until = NULL"
        " WHERE id = %s AND lease = %s AND state = 'pending'",
        (message, lease),
    )
    _require_lease(txn)


def withdraw(txn: Transaction, message: UUID, lease: UUID) -> None:
    """Forget a message that was not accepted, once its file is gone."""
    txn.execute(
        "DELETE FROM queue WHERE id = %s AND lease = %s AND state = 'pending'",
        (message, lease),
    )


def claim_abandoned(txn: Transaction) -> list[Queued]:
    """Take over messages whose writer died before they were accepted, so that they can be removed."""
    txn.execute(
        "UPDATE queue SET lease = gen_random_uuid(), lease_until = now() + %s * interval '1 second'"
        " WHERE state = 'pending' AND lease_until < now()"
        " RETURNING id, lease, sender, sender_domain, domain, name, attempts, accepted, target, target_name",
        (WRITING_SECONDS,),
    )
    return many(Queued.from_row, txn)


def list_forgotten(txn: Transaction, files: Sequence[ServerPath]) -> list[ServerPath]:
    """Tell which of some files below ``out`` belong to no message.

    Only those of workspaces that are known here, and the server's own: a database that is empty, or another
    installation's, makes nobody's messages rubbish.
    """
    named = [(file.workspace.uuid, file.name) for file in files if file.workspace is not None]
    txn.execute(
        "SELECT found.sender, found.name FROM unnest(%(senders)s::uuid[], %(names)s::text[])"
        " AS found (sender, name) WHERE NOT EXISTS ("
        "SELECT FROM queue WHERE queue.sender = found.sender AND queue.name = found.name)"
        " AND (found.sender = %(server)s OR EXISTS (SELECT FROM workspaces WHERE id = found.sender))",
        {
            "senders": [sender for sender, _ in named],
            "names": [name for _, name in named],
            "server": SERVER_WORKSPACE.uuid,
        },
    )
    return many(lambda row: ServerPath.outgoing(WorkspaceID(row.sender)).child(row.name), txn)


def claim(txn: Transaction, limit: int) -> list[Queued]:
    """Take messages that are due and that nobody works on, the longest due first.

    Each claim has a lease of its own, so that a worker whose lease ran out changes nothing any more even if
    it is its own process that claimed the message again. A lease that seems to last for a minute is from
    before the clock was set back.
    """
    # An array is made once; what stands in IN may be asked again for each row, and give more than the limit.
    txn.execute(
        "UPDATE queue SET lease = gen_random_uuid(), lease_until = now() + %s * interval '1 second',"
        " attempts = attempts + 1 WHERE id = ANY(ARRAY("
        "  SELECT id FROM queue WHERE state = 'queued' AND due <= now()"
        "  AND (lease_until IS NULL OR lease_until NOT BETWEEN now() AND now() + interval '1 minute')"
        "  ORDER BY due LIMIT %s FOR UPDATE SKIP LOCKED"
        "))"
        " RETURNING id, lease, sender, sender_domain, domain, name, attempts, accepted, target, target_name",
        (LEASE_SECONDS, limit),
    )
    return many(Queued.from_row, txn)


def renew(txn: Transaction, leases: Sequence[UUID]) -> None:
    """Keep what is claimed under these leases for another while."""
    # What is locked is being changed by its worker right now; waiting for that could end in a deadlock.
    txn.execute(
        "UPDATE queue SET lease_until = now() + %s * interval '1 second' WHERE id = ANY(ARRAY("
        "  SELECT id FROM queue WHERE lease = ANY(%s) AND state = 'queued' FOR UPDATE SKIP LOCKED))",
        (LEASE_SECONDS, list(leases)),
    )


def aim(txn: Transaction, messages: Sequence[Queued]) -> set[UUID]:
    """Decide where messages will stand, before their files move; give those whose leases still hold.

    That is decided once, unless the same worker takes it back: whoever works on a message later finds its
    file by it. A target's mailbox must be locked if it has a quota: that keeps the sum of
    :func:`claimed_bytes` true.

    :param messages: as they will be, with target and name.
    """
    txn.execute(
        "UPDATE queue SET target = aimed.target, target_name = aimed.name"
        " FROM unnest(%s::uuid[], %s::uuid[], %s::uuid[], %s::text[]) AS aimed (id, lease, target, name)"
        " WHERE queue.id = aimed.id AND queue.lease = aimed.lease AND queue.target IS NULL"
        " RETURNING queue.id",
        (
            *_claims(messages),
            [message.arrival.workspace.uuid for message in messages],
            [message.arrival.name.text for message in messages],
        ),
    )
    return set(many(lambda row: row.id, txn))


def forget_aim(txn: Transaction, messages: Sequence[Queued]) -> None:
    """Have it decided anew where messages will stand; their files must not have moved."""
    txn.execute(
        "UPDATE queue SET target = NULL, target_name = NULL"
        " FROM unnest(%s::uuid[], %s::uuid[]) AS missed (id, lease)"
        " WHERE queue.id = missed.id AND queue.lease = missed.lease",
        _claims(messages),
    )


def finish(txn: Transaction, messages: Sequence[Queued]) -> set[UUID]:
    """Forget messages, together with what else the transaction does; give those whose leases still held."""
    txn.execute(
        "DELETE FROM queue USING unnest(%s::uuid[], %s::uuid[]) AS done (id, lease)"
        " WHERE queue.id = done.id AND queue.lease = done.lease RETURNING queue.id",
        _claims(messages),
    )
    return set(many(lambda row: row.id, txn))


def postpone(txn: Transaction, message: UUID, lease: UUID, *, seconds: float, code: int, reason: str) -> None:
    """Give a message back, to be tried again after some seconds."""
    txn.execute(
        "UPDATE queue SET lease = NULL, lease_until = NULL, due = now() + %s * interval '1 second',"
        " code = %s, reason = %s WHERE id = %s AND lease = %s",
        (seconds, code, reason, message, lease),
    )
    _require_lease(txn)


def fail(txn: Transaction, message: UUID, lease: UUID, *, code: int, reason: str) -> None:
    """Give a message up; it stays where it is, for its sender to be told."""
    txn.execute(
        "UPDATE queue SET state = 'failed', lease = NULL, lease_until = NULL, target = NULL,"
        " target_name = NULL, code = %s, reason = %s WHERE id = %s AND lease = %s",
        (code, reason, message, lease),
    )
    _require_lease(txn)


def claimed_bytes(txn: Transaction, workspaces: Collection[WorkspaceID]) -> dict[WorkspaceID, int]:
    """Sum up what workspaces have in the queue: what they send, and what is just coming.

    Their mailboxes must be locked, else others may add to it meanwhile.
    """
    txn.execute(
        "SELECT workspace, (SELECT coalesce(sum(size), 0)::bigint FROM queue"
        " WHERE sender = workspace OR target = workspace) AS bytes FROM unnest(%s::uuid[]) AS workspace",
        ([workspace.uuid for workspace in workspaces],),
    )
    return dict(many(lambda row: (WorkspaceID(row.workspace), int(row.bytes)), txn))


def list_outgoing(txn: Transaction, sender: WorkspaceID, since: int, most: int) -> list[str]:
    """Give the first ``most`` names of a workspace's messages that are not delivered yet, sorted.

    :param since: Unix seconds; messages whose name tells an earlier time are left out.
    """
    txn.execute(
        "SELECT name FROM queue WHERE sender = %s AND state <> 'pending'"
        " AND split_part(name, '.', 1)::bigint >= %s ORDER BY name LIMIT %s",
        (sender.uuid, since, most),
    )
    return many(lambda row: row.name, txn)


def _claims(messages: Sequence[Queued]) -> tuple[list[UUID], list[UUID]]:
    """Give what messages are held by, as two columns."""
    return [message.id for message in messages], [message.lease for message in messages]


def _require_lease(txn: Transaction) -> None:
    if not changed(txn):
        raise LeaseLost
