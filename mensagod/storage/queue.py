"""The queue of messages in the database (spec 05, *The queue*).

The worker that holds the lease of a row owns it. Every change of a row requires its lease, so a worker whose
lease was lost changes nothing.
"""

from collections.abc import Collection, Sequence
from datetime import datetime
from uuid import UUID

from attrs import frozen

from mensagod.errors import QuotaExceeded
from mensagod.status import Status
from mensagod.storage import mailboxes, sends, submissions
from mensagod.storage.files import Arrival
from mensagod.storage.rows import Row, Transaction, changed, many
from mensagod.values.domains import ALL_DOMAINS, DomainSet
from mensagod.values.identity import SERVER_WORKSPACE, DeviceID, Domain, WorkspaceID
from mensagod.values.paths import FileName, ServerPath

LEASE_SECONDS = 10
"""How many seconds a lease is valid unless it is renewed."""

WRITING_SECONDS = 600
"""How many seconds a client's message may take from :func:`reserve` to :func:`accept`."""


class LeaseLost(Exception):
    """The lease is no longer valid: another worker may have the message. Nothing was changed."""


@frozen
class Cause:
    """Why a message was not delivered.

    :ivar status: the code for the report to its sender.
    :ivar reason: a sentence that explains it.
    """

    status: Status
    reason: str


@frozen
class Queued:
    """A message that a worker has claimed.

    :ivar lease: the worker's lease.
    :ivar attempts: how often it was claimed for delivery, including this time.
    :ivar accepted: when it was accepted, or its send time if that is later.
    :ivar target: the workspace to whose mailbox its file is moved; ``None`` until :func:`aim`.
    :ivar target_name: the name of the file there; ``None`` until :func:`aim`.
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
        """Where its file is until it is delivered."""
        return ServerPath.outgoing(self.sender).child(self.name)

    @property
    def arrival(self) -> Arrival:
        """The file in the mailbox; ``ValueError`` if there is no target yet."""
        if self.target is None or self.target_name is None:
            raise ValueError("The message has no target yet")
        return Arrival(self.target, self.target_name)


@frozen
class Submission:
    """A message that a client submits.

    :ivar digest: BLAKE2b of the envelope as it was submitted, 32 bytes.
    :ivar due: the earliest time of its delivery; ``None`` for now.
    """

    id: UUID
    lease: UUID
    sender: WorkspaceID
    device: DeviceID
    sender_domain: Domain
    domain: Domain
    name: FileName
    digest: bytes
    due: datetime | None = None

    @property
    def columns(self) -> dict[str, object]:
        """The values of its row."""
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
            "digest": self.digest,
        }


_NO_SYNC = "SET LOCAL synchronous_commit TO off; "
"""Lets the transaction commit without waiting for the disk.

A pending row is only needed to clean up after a crash. If PostgreSQL crashes before the row is on the disk,
the file of the message remains until :func:`list_forgotten` finds it. Waiting would double the time of every
SEND.
"""

_INSERT = (
    "INSERT INTO queue"
    " (id, sender, device, sender_domain, domain, name, size, state, due, lease, lease_until)"
    " SELECT %(id)s, %(sender)s, %(device)s, %(sender_domain)s, %(domain)s, %(name)s, %(size)s, 'pending',"
    " coalesce(%(due)s, now()), %(lease)s, now() + %(seconds)s * interval '1 second'"
)
_HAS_NO_QUOTA = "NOT EXISTS (SELECT FROM mailboxes WHERE workspace = %(sender)s AND quota > 0)"
_IS_NEW = " AND " + submissions.IS_NEW
_RESERVE = _NO_SYNC + _INSERT + " WHERE " + _HAS_NO_QUOTA + _IS_NEW
_RESERVE_AND_COUNT = _NO_SYNC + sends.COUNT_NEXT + _IS_NEW + "; " + _INSERT + sends.IS_COUNTED


def reserve(txn: Transaction, message: Submission, rate: int) -> bool:
    """Add the pending row of a message, before its file is written; the message is not accepted yet.

    Its statements go together, so that they take one round trip. It adds no row if the workspace has a quota,
    which they cannot check, if the device has reached its limit, if it has never submitted a message, or if
    the message was submitted before. In all these cases call :func:`reserve_within_quota`, which adds the
    row, gives the file name of the first time, or raises the error.

    :param rate: messages that the device may submit within 60 seconds; 0 is no limit.
    :returns: whether the row was added.
    """
    if rate:
        txn.execute(_RESERVE_AND_COUNT, message.columns | sends.send_parameters(rate))
    else:
        txn.execute(_RESERVE, message.columns)
    return changed(txn)


def reserve_within_quota(txn: Transaction, message: Submission, rate: int) -> FileName:
    """Like :func:`reserve`, for any workspace.

    :returns: the file name of the message; another one if it was submitted before, and no row is added then.
    :raises mensagod.storage.sends.TooManyMessages: if the device has reached its limit.
    :raises QuotaExceeded: if the message does not fit into the workspace's quota.
    """
    known = submissions.find_recent(txn, message.sender, message.domain, message.digest)
    if known is not None:
        return known
    txn.execute(_NO_SYNC)
    # Lock the mailbox before the device, in the same order as a login, to avoid deadlocks.
    mailbox = mailboxes.lock(txn, message.sender)
    sends.note_send(txn, message.sender, message.device, message.id, rate)
    if mailbox is not None and mailbox.quota:
        claimed = claimed_bytes(txn, [message.sender])[message.sender]
        if mailbox.used + claimed + message.name.size > mailbox.quota:
            raise QuotaExceeded
    txn.execute(_INSERT, message.columns)
    return message.name


# Two statements in one round trip, and one transaction. Of two messages with the same bytes the first one
# stands in submissions, and only that one is accepted.
_ACCEPT = (
    "INSERT INTO submissions AS known (workspace, domain, digest, name)"
    " SELECT sender, domain, %(digest)s, name FROM queue"
    " WHERE id = %(id)s AND lease = %(lease)s AND state = 'pending'"
    " ON CONFLICT (workspace, domain, digest) DO UPDATE SET name = excluded.name, at = excluded.at"
    " WHERE known.at NOT BETWEEN now() - interval '1 day' AND now() + interval '1 hour'; "
    "UPDATE queue SET state = 'queued', accepted = greatest(now(), due), lease = NULL, lease_until = NULL"
    " WHERE id = %(id)s AND lease = %(lease)s AND state = 'pending' AND EXISTS ("
    "SELECT FROM submissions WHERE submissions.workspace = queue.sender"
    " AND submissions.domain = queue.domain AND digest = %(digest)s AND submissions.name = queue.name)"
)


def accept(txn: Transaction, message: Submission) -> None:
    """Accept a message for delivery, after its file was written and synced.

    :raises LeaseLost: if it took so long that the message counted as abandoned, or if the same bytes were
        accepted meanwhile.
    """
    txn.execute(_ACCEPT, message.columns)
    _require_lease(txn)


def withdraw(txn: Transaction, message: UUID, lease: UUID) -> None:
    """Remove the row of a message that was not accepted, after its file was removed."""
    txn.execute(
        "DELETE FROM queue WHERE id = %s AND lease = %s AND state = 'pending'",
        (message, lease),
    )


def claim_abandoned(txn: Transaction) -> list[Queued]:
    """Claim pending messages that were not accepted in time, to remove them."""
    txn.execute(
        "UPDATE queue SET lease = gen_random_uuid(), lease_until = now() + %s * interval '1 second'"
        " WHERE state = 'pending' AND lease_until < now()"
        " RETURNING id, lease, sender, sender_domain, domain, name, attempts, accepted, target, target_name",
        (WRITING_SECONDS,),
    )
    return many(Queued.from_row, txn)


def list_forgotten(txn: Transaction, files: Sequence[ServerPath]) -> list[ServerPath]:
    """Give those of some files below ``out`` that belong to no message.

    Files of workspaces that are not in this database never count as forgotten, so that none is lost with an
    empty database or with that of another installation. Files of the server's own workspace may count.
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


def claim(txn: Transaction, limit: int, domains: DomainSet = ALL_DOMAINS) -> list[Queued]:
    """Claim messages for ``domains`` that are due and have no valid lease, the longest due first.

    Each claim has a new lease, so that a worker that lost its lease changes nothing even if its own process
    claimed the message again. A lease that ends more than a minute from now was made before the clock was set
    back, and counts as ended.
    """
    # ARRAY() is evaluated once. A subquery with IN may be evaluated again for each row, and then gives more
    # rows than the limit.
    txn.execute(
        "UPDATE queue SET lease = gen_random_uuid(), lease_until = now() + %s * interval '1 second',"
        " attempts = attempts + 1 WHERE id = ANY(ARRAY("
        "  SELECT id FROM queue WHERE state = 'queued' AND due <= now()"
        "  AND (lease_until IS NULL OR lease_until NOT BETWEEN now() AND now() + interval '1 minute')"
        "  AND (domain = ANY(%s::text[])) <> %s"
        "  ORDER BY due LIMIT %s FOR UPDATE SKIP LOCKED"
        "))"
        " RETURNING id, lease, sender, sender_domain, domain, name, attempts, accepted, target, target_name",
        (LEASE_SECONDS, [str(domain) for domain in domains.named], domains.inverted, limit),
    )
    return many(Queued.from_row, txn)


def renew(txn: Transaction, leases: Sequence[UUID]) -> None:
    """Renew leases for another :data:`LEASE_SECONDS`."""
    # A locked row is being changed by its worker right now; waiting for it could cause a deadlock.
    txn.execute(
        "UPDATE queue SET lease_until = now() + %s * interval '1 second' WHERE id = ANY(ARRAY("
        "  SELECT id FROM queue WHERE lease = ANY(%s) AND state = 'queued' FOR UPDATE SKIP LOCKED))",
        (LEASE_SECONDS, list(leases)),
    )


def aim(txn: Transaction, messages: Sequence[Queued]) -> set[UUID]:
    """Record the targets of messages, before their files are moved there.

    A recorded target is not changed, because it tells later workers where the file may be; only
    :func:`forget_aim` removes it. If a target has a quota, the caller must hold the lock of its mailbox, so
    that :func:`claimed_bytes` stays true.

    :param messages: with their targets and names.
    :returns: the IDs of the messages whose leases are valid; the others are unchanged.
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
    """Remove the targets of messages; their files must not have been moved."""
    txn.execute(
        "UPDATE queue SET target = NULL, target_name = NULL"
        " FROM unnest(%s::uuid[], %s::uuid[]) AS missed (id, lease)"
        " WHERE queue.id = missed.id AND queue.lease = missed.lease",
        _claims(messages),
    )


def finish(txn: Transaction, messages: Sequence[Queued]) -> set[UUID]:
    """Remove the rows of delivered messages, in the transaction that delivers them.

    :returns: the IDs of the messages whose leases were valid; this transaction must not deliver the others.
    """
    txn.execute(
        "DELETE FROM queue USING unnest(%s::uuid[], %s::uuid[]) AS done (id, lease)"
        " WHERE queue.id = done.id AND queue.lease = done.lease RETURNING queue.id",
        _claims(messages),
    )
    return set(many(lambda row: row.id, txn))


def postpone(txn: Transaction, message: UUID, lease: UUID, cause: Cause, seconds: float) -> None:
    """Release a message; its delivery is tried again after ``seconds``.

    :raises LeaseLost: if the lease is not valid.
    """
    txn.execute(
        "UPDATE queue SET lease = NULL, lease_until = NULL, due = now() + %s * interval '1 second',"
        " code = %s, reason = %s WHERE id = %s AND lease = %s",
        (seconds, int(cause.status), cause.reason, message, lease),
    )
    _require_lease(txn)


def fail(txn: Transaction, message: UUID, lease: UUID, cause: Cause) -> None:
    """Mark a message as failed. Its row and its file stay until the failure is reported to its sender.

    :raises LeaseLost: if the lease is not valid.
    """
    txn.execute(
        "UPDATE queue SET state = 'failed', lease = NULL, lease_until = NULL, target = NULL,"
        " target_name = NULL, code = %s, reason = %s WHERE id = %s AND lease = %s",
        (int(cause.status), cause.reason, message, lease),
    )
    _require_lease(txn)


def claimed_bytes(txn: Transaction, workspaces: Collection[WorkspaceID]) -> dict[WorkspaceID, int]:
    """Sum up the bytes of queued messages that count against quotas: those from a workspace and those to it.

    The caller holds the locks of their mailboxes, so that the sums do not grow meanwhile.
    """
    txn.execute(
        "SELECT workspace, (SELECT coalesce(sum(size), 0)::bigint FROM queue"
        " WHERE sender = workspace OR target = workspace) AS bytes FROM unnest(%s::uuid[]) AS workspace",
        ([workspace.uuid for workspace in workspaces],),
    )
    return dict(many(lambda row: (WorkspaceID(row.workspace), int(row.bytes)), txn))


def list_outgoing(txn: Transaction, sender: WorkspaceID, since: int, most: int) -> list[str]:
    """Give the first ``most`` names of a workspace's messages that are not delivered yet, sorted.

    :param since: Unix seconds; messages with an earlier time in their name are left out.
    """
    txn.execute(
        "SELECT name FROM queue WHERE sender = %s AND state <> 'pending'"
        " AND split_part(name, '.', 1)::bigint >= %s ORDER BY name LIMIT %s",
        (sender.uuid, since, most),
    )
    return many(lambda row: row.name, txn)


def _claims(messages: Sequence[Queued]) -> tuple[list[UUID], list[UUID]]:
    """Give the IDs and leases of messages as two columns."""
    return [message.id for message in messages], [message.lease for message in messages]


def _require_lease(txn: Transaction) -> None:
    if not changed(txn):
        raise LeaseLost
