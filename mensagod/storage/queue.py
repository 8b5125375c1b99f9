"""The table of accepted messages (spec 05, *The queue*).

A row belongs to the worker that holds its lease. Every change names the lease that it relies on, so that a
worker that lost it changes nothing.
"""

from collections.abc import Collection, Sequence
from datetime import datetime
from uuid import UUID

from attrs import frozen

from mensagod.errors import QuotaExceeded
from mensagod.status import Status
from mensagod.storage import devices, mailboxes, submissions
from mensagod.storage.files import Arrival
from mensagod.storage.rows import Row, Transaction, changed, many
from mensagod.values.domains import ALL_DOMAINS, DomainSet
from mensagod.values.identity import SERVER_WORKSPACE, DeviceID, Domain, WorkspaceID
from mensagod.values.paths import FileName, ServerPath

LEASE_SECONDS = 10
"""How many seconds a claim holds unless it is renewed."""

WRITING_SECONDS = 600
"""How many seconds the content of a message may take to reach the disk before it is accepted."""


class LeaseLost(Exception):
    """Another worker has the message now; nothing was changed."""


@frozen
class Cause:
    """Why a message was not delivered.

    :ivar status: the code in the report to its sender.
    :ivar reason: a sentence about it.
    """

    status: Status
    reason: str


@frozen
class Queued:
    """A message on its way.

    :ivar lease: the claim under which its worker has it.
    :ivar attempts: how often it was claimed for delivery, this time included.
    :ivar accepted: since when it is to be delivered.
    :ivar target: the workspace in whose mailbox its file is or will be, once that is decided.
    :ivar target_name: the name that its file has or will have there; decided together with the target.
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
        """The file in the mailbox, once target and name are decided."""
        if self.target is None or self.target_name is None:
            raise ValueError("The target is not decided yet")
        return Arrival(self.target, self.target_name)


@frozen
class Submission:
    """What a client hands in.

    :ivar digest: BLAKE2b of the envelope as it was handed in, 32 bytes.
    :ivar due: not to be delivered before this time.
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


_HASTE = "SET LOCAL synchronous_commit TO off; "
"""Commits without waiting for the disk, for a row that only says what to clean up after a crash.

If PostgreSQL crashes before the row is on the disk, its file stays until :func:`list_forgotten` finds that no
row names it. Waiting would double the time of every SEND.
"""

_INSERT = (
    "INSERT INTO queue"
    " (id, sender, device, sender_domain, domain, name, size, state, due, lease, lease_until)"
    " SELECT %(id)s, %(sender)s, %(device)s, %(sender_domain)s, %(domain)s, %(name)s, %(size)s, 'pending',"
    " coalesce(%(due)s, now()), %(lease)s, now() + %(seconds)s * interval '1 second'"
)
_HAS_NO_QUOTA = "NOT EXISTS (SELECT FROM mailboxes WHERE workspace = %(sender)s AND quota > 0)"
_RESERVE = _HASTE + _INSERT + " WHERE " + _HAS_NO_QUOTA + " AND " + submissions.IS_NEW
_RESERVE_AND_COUNT = (
    _HASTE
    + "WITH counted AS ("
    + devices.COUNT_SEND
    + " AND "
    + _HAS_NO_QUOTA
    + " AND "
    + submissions.IS_NEW
    + " RETURNING 1) "
    + _INSERT
    + " FROM counted"
)


def reserve(txn: Transaction, message: Submission, rate: int) -> bool:
    """Make the row of a message whose file is about to be written; nothing is promised yet.

    This is one statement, so that it takes one round trip. It makes no row if the workspace has a quota,
    which one statement cannot check, if the device has handed in as many messages as it may, or if the
    message was handed in before. In these cases call :func:`reserve_within_quota`, which tells them apart.

    :param rate: messages that the device may hand in within 60 seconds; 0 is no limit.
    :returns: whether the row is made.
    """
    if rate:
        txn.execute(_RESERVE_AND_COUNT, message.columns | {"rate": rate})
    else:
        txn.execute(_RESERVE, message.columns)
    return changed(txn)


def reserve_within_quota(txn: Transaction, message: Submission, rate: int) -> FileName:
    """Like :func:`reserve`, for any workspace.

    :returns: the file name of the message; another one if it was handed in before, and no row is made then.
    :raises LimitReached: if the device has handed in as many as it may.
    :raises QuotaExceeded: if the workspace has no room.
    """
    known = submissions.find_recent(txn, message.sender, message.domain, message.digest)
    if known is not None:
        return known
    txn.execute(_HASTE)
    # Lock the mailbox before the device, as a login does, else the two could deadlock.
    mailbox = mailboxes.lock(txn, message.sender)
    devices.note_send(txn, message.sender, message.device, rate)
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
    """Promise delivery of a message whose file is written and synced.

    :raises LeaseLost: if the message was taken for abandoned, or the same bytes were accepted meanwhile.
    """
    txn.execute(_ACCEPT, message.columns)
    _require_lease(txn)


def withdraw(txn: Transaction, message: UUID, lease: UUID) -> None:
    """Remove the row of a message that was not accepted, once its file is gone."""
    txn.execute(
        "DELETE FROM queue WHERE id = %s AND lease = %s AND state = 'pending'",
        (message, lease),
    )


def claim_abandoned(txn: Transaction) -> list[Queued]:
    """Take messages whose writer died before they were accepted, for their removal."""
    txn.execute(
        "UPDATE queue SET lease = gen_random_uuid(), lease_until = now() + %s * interval '1 second'"
        " WHERE state = 'pending' AND lease_until < now()"
        " RETURNING id, lease, sender, sender_domain, domain, name, attempts, accepted, target, target_name",
        (WRITING_SECONDS,),
    )
    return many(Queued.from_row, txn)


def list_forgotten(txn: Transaction, files: Sequence[ServerPath]) -> list[ServerPath]:
    """Give those of some files below ``out`` that belong to no message.

    Only files of workspaces that are in this database, and the server's own, are given: if the database is
    empty or another installation's, no file counts as forgotten.
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
    """Take messages for ``domains`` that are due and that nobody works on, the longest due first.

    Each claim has a new lease, so that a worker that lost its lease changes nothing even if its own process
    claimed the message again. A lease that ends more than a minute from now was made before the clock was set
    back, and counts as ended.
    """
    # The array is made once. A subquery after IN may be evaluated again for each row, and then gives more
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
    """Have claims hold for another :data:`LEASE_SECONDS`."""
    # A locked row is being changed by its worker right now; to wait for it could end in a deadlock.
    txn.execute(
        "UPDATE queue SET lease_until = now() + %s * interval '1 second' WHERE id = ANY(ARRAY("
        "  SELECT id FROM queue WHERE lease = ANY(%s) AND state = 'queued' FOR UPDATE SKIP LOCKED))",
        (LEASE_SECONDS, list(leases)),
    )


def aim(txn: Transaction, messages: Sequence[Queued]) -> set[UUID]:
    """Record the targets of messages before their files move there.

    A target is recorded once, because it tells later workers where the file may be; only :func:`forget_aim`
    takes it back. The mailbox of a target with a quota must be locked, so that nobody else relies on the sum
    of :func:`claimed_bytes` meanwhile.

    :param messages: with their targets and names.
    :returns: the IDs of those whose leases still hold; the others are unchanged.
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
    """Take the targets of messages back; their files must not have moved."""
    txn.execute(
        "UPDATE queue SET target = NULL, target_name = NULL"
        " FROM unnest(%s::uuid[], %s::uuid[]) AS missed (id, lease)"
        " WHERE queue.id = missed.id AND queue.lease = missed.lease",
        _claims(messages),
    )


def finish(txn: Transaction, messages: Sequence[Queued]) -> set[UUID]:
    """Remove the rows of delivered messages, in the transaction that delivers them.

    :returns: the IDs of those whose leases still held; the others must not be delivered by this transaction.
    """
    txn.execute(
        "DELETE FROM queue USING unnest(%s::uuid[], %s::uuid[]) AS done (id, lease)"
        " WHERE queue.id = done.id AND queue.lease = done.lease RETURNING queue.id",
        _claims(messages),
    )
    return set(many(lambda row: row.id, txn))


def postpone(txn: Transaction, message: UUID, lease: UUID, cause: Cause, seconds: float) -> None:
    """Give a message back, to be tried again after some seconds.

    :raises LeaseLost: if the lease is lost.
    """
    txn.execute(
        "UPDATE queue SET lease = NULL, lease_until = NULL, due = now() + %s * interval '1 second',"
        " code = %s, reason = %s WHERE id = %s AND lease = %s",
        (seconds, int(cause.status), cause.reason, message, lease),
    )
    _require_lease(txn)


def fail(txn: Transaction, message: UUID, lease: UUID, cause: Cause) -> None:
    """Give a message up; its row and its file stay until its sender is told.

    :raises LeaseLost: if the lease is lost.
    """
    txn.execute(
        "UPDATE queue SET state = 'failed', lease = NULL, lease_until = NULL, target = NULL,"
        " target_name = NULL, code = %s, reason = %s WHERE id = %s AND lease = %s",
        (int(cause.status), cause.reason, message, lease),
    )
    _require_lease(txn)


def claimed_bytes(txn: Transaction, workspaces: Collection[WorkspaceID]) -> dict[WorkspaceID, int]:
    """Sum up the bytes that count against workspaces' quotas: what they send, and what is on its way to them.

    Their mailboxes must be locked, so that nobody adds to the sums meanwhile.
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
    """Give the IDs and leases of messages as two columns."""
    return [message.id for message in messages], [message.lease for message in messages]


def _require_lease(txn: Transaction) -> None:
    if not changed(txn):
        raise LeaseLost
