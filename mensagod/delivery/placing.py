"""The interactions that make messages live in mailboxes (spec 05, *Local delivery*).

:func:`accept` takes messages that clients have submitted: what can be delivered at once is, the others go
into the queue. :func:`deliver` takes messages from the queue. Each takes several messages in one transaction,
and gives a result for each of them by its ID. Its waits for locks are short, so that a mailbox that is locked
for long holds up neither other people's messages nor a connection.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from time import time
from uuid import UUID

from attrs import define, field, frozen

from mensagod.delivery.labels import ReceiverPart
from mensagod.delivery.results import Delivered, DeliveryError, MailboxFull, NoSuchRecipient, Refused
from mensagod.errors import QuotaExceeded, ServerUnavailable
from mensagod.storage import contents, files, mailboxes, queue, sends, submissions, workspaces
from mensagod.storage.contents import Content, Owned
from mensagod.storage.files import Arrival
from mensagod.storage.mailboxes import Mailbox
from mensagod.storage.queue import NewMessage, Overtaken, Queued
from mensagod.storage.rows import Transaction
from mensagod.storage.sends import TooManyMessages
from mensagod.storage.submissions import NewSubmission, Submitted
from mensagod.storage.workspaces import Recipient, WorkspaceStatus
from mensagod.values.identity import (
    SERVER_DEVICE,
    DeviceID,
    Domain,
    MAddress,
    WAddress,
    WorkspaceID,
)
from mensagod.values.paths import FileName

_GONE = frozenset({WorkspaceStatus.ARCHIVED, WorkspaceStatus.PENDING, WorkspaceStatus.PREREGISTERED})
_OPEN = frozenset({WorkspaceStatus.ACTIVE, WorkspaceStatus.APPROVED})


@frozen
class Submission:
    """A message that a client submits.

    :ivar recipient: its recipient if the domain is ours and the receiver part could be read.
    :ivar name: the file name that is answered.
    :ivar content: as it will stand in the mailbox; if it is in the store, it is whole there.
    :ivar digest: BLAKE2b-256 of the envelope as it was submitted.
    :ivar send_time: the earliest time of its delivery; ``None`` for now.
    """

    id: UUID
    sender: WorkspaceID
    device: DeviceID
    sender_domain: Domain
    domain: Domain
    recipient: MAddress | WAddress | None
    name: FileName
    content: Content
    digest: bytes
    send_time: datetime | None = None

    @property
    def submitted(self) -> Submitted:
        """What it has in common with the same message, submitted again."""
        return Submitted(self.sender, self.domain, self.digest)

    @property
    def new(self) -> NewSubmission:
        """The message as it is remembered."""
        return NewSubmission(self.submitted, self.name, self.content.size, self.recipient)

    @property
    def writing(self) -> Owned | None:
        """The row that its content has until now, if it is in the store."""
        key = self.content.key
        return None if key is None else Owned(self.sender, key)

    def to_queue(self, target: WorkspaceID | None) -> NewMessage:
        """Give the message as it goes into the queue."""
        return NewMessage(
            self.id,
            target,
            self.sender,
            self.device,
            self.sender_domain,
            self.domain,
            self.name,
            self.content,
            self.send_time,
        )


@frozen
class Accepted:
    """A message that was accepted, now or before.

    :ivar name: the file name to answer; that of the first time if the message was submitted before.
    :ivar delivered: the workspace where it was delivered just now.
    :ivar bucket: the bucket of the queue that it went into just now.
    """

    name: FileName
    delivered: WorkspaceID | None = None
    bucket: int | None = None

    @property
    def is_new(self) -> bool:
        """Whether the message was accepted just now, and its content is used."""
        return self.delivered is not None or self.bucket is not None


class SenderHeld(ServerUnavailable):
    """The sender's mailbox is locked, so that its message cannot be counted."""


@define
class _Acceptance:
    """Messages on their way through :func:`accept`.

    :ivar going: those without a result yet, by their IDs.
    """

    going: dict[UUID, Submission]
    results: dict[UUID, Accepted | Exception] = field(factory=dict, init=False)

    def end(self, message: Submission, result: Accepted | Exception) -> None:
        """Record the result of a message."""
        del self.going[message.id]
        self.results[message.id] = result


def accept(
    txn: Transaction, messages: Sequence[Submission], rate: int, *, wait: bool
) -> dict[UUID, Accepted | Exception]:
    """Accept messages: deliver those that can be delivered now, and queue the others.

    No two may be the same message (:attr:`Submission.submitted`). A message that was submitted before, or is
    refused, changes nothing.

    :param rate: messages that a device may submit within 60 seconds; 0 is no limit.
    :param wait: whether to wait for locked mailboxes, for a moment; if not, their messages are queued.
    :returns: for each message what became of it, or :class:`mensagod.storage.sends.TooManyMessages`,
        :class:`QuotaExceeded` or :class:`ServerUnavailable`.
    :raises mensagod.storage.attempts.Locked: if ``wait`` was in vain; nothing was accepted then.
    """
    txn.limit_lock_waits()
    batch = _Acceptance({message.id: message for message in messages})
    prospects = submissions.add(txn, [message.new for message in messages])
    recipients = {}
    for message in messages:
        prospect = prospects[message.submitted]
        recipients[message.id] = prospect.recipient
        if prospect.known is not None:
            batch.end(message, Accepted(prospect.known))
        elif not prospect.fits:
            batch.end(message, QuotaExceeded())
    if rate:
        _end_too_many(txn, batch, rate)
    _end_late(txn, batch)
    remaining = _deliver_now(txn, batch, recipients, wait=wait)
    _queue_rest(txn, batch, remaining, wait=wait)
    _undo_refused(txn, messages, batch.results)
    return batch.results


def _end_too_many(txn: Transaction, batch: _Acceptance, rate: int) -> None:
    """Count the messages of each device, and sort out those of devices that have reached the limit."""
    first = {(message.sender, message.device): message for message in reversed(batch.going.values())}
    if not first:
        return
    counted = {first[device].id for device in sends.note_sends(txn, first, rate)}
    for message in tuple(batch.going.values()):
        if message.id not in counted:
            try:
                sends.note_send(txn, (message.sender, message.device), rate)
            except TooManyMessages as error:
                batch.end(message, error)


def _end_late(txn: Transaction, batch: _Acceptance) -> None:
    """Take over the contents that are in the store, and sort out those whose writers counted as dead."""
    writings = {message.id: message.writing for message in batch.going.values() if message.writing}
    if not writings:
        return
    whole = contents.end_writings(txn, list(writings.values()))
    for message, writing in writings.items():
        if writing.key.id not in whole:
            error = ServerUnavailable("The message took too long to be stored")
            batch.end(batch.going[message], error)
            contents.add_garbage(txn, [writing])


def _deliver_now(
    txn: Transaction, batch: _Acceptance, recipients: Mapping[UUID, Recipient | None], *, wait: bool
) -> list[tuple[Submission, WorkspaceID | None]]:
    """Deliver what can be delivered now; give the others with their targets, as far as these are known."""
    remaining: list[tuple[Submission, WorkspaceID | None]] = []
    arriving: list[tuple[Submission, WorkspaceID]] = []
    for message in batch.going.values():
        recipient = recipients[message.id]
        if recipient is None or recipient.status in _GONE:
            remaining.append((message, None))
        elif recipient.status in _OPEN and recipient.has_mailbox and message.send_time is None:
            arriving.append((message, recipient.workspace))
        else:
            remaining.append((message, recipient.workspace))
    if arriving:
        placed = files.place(
            txn,
            _arrivals((message.content, target) for message, target in arriving),
            SERVER_DEVICE,
            wait=wait,
        )
        remaining += [(message, target) for message, target in arriving if target not in placed]
        for message, target in arriving:
            if target in placed:
                batch.end(message, Accepted(message.name, delivered=target))
    return remaining


def _queue_rest(
    txn: Transaction,
    batch: _Acceptance,
    remaining: Sequence[tuple[Submission, WorkspaceID | None]],
    *,
    wait: bool,
) -> None:
    """Queue messages, and count them in their senders' mailboxes."""
    by_sender = defaultdict(list)
    for message, target in remaining:
        by_sender[message.sender].append((message, message.to_queue(target)))
    for sender in _in_order(by_sender):
        leaving = by_sender[sender]
        counted = _count(txn, sender, [queued for _, queued in leaving], wait=wait)
        queue.add(txn, counted)
        for message, queued in leaving:
            if queued in counted:
                batch.end(message, Accepted(message.name, bucket=queued.bucket))
            else:
                # Other messages may have taken the room since it was looked at.
                batch.end(message, QuotaExceeded() if wait else SenderHeld("Try again in a moment"))
                if message.writing is not None:
                    contents.add_garbage(txn, [message.writing])


def _count(
    txn: Transaction, sender: WorkspaceID, leaving: Sequence[NewMessage], *, wait: bool
) -> Sequence[NewMessage]:
    """Count messages in their sender's mailbox; give those that were counted, because they have room."""
    size = sum(message.content.size for message in leaving)
    if mailboxes.count_queued(txn, sender, size, wait=wait):
        return leaving
    if len(leaving) == 1:
        return []
    return [message for message in leaving if _count(txn, sender, [message], wait=wait)]


def _undo_refused(
    txn: Transaction, messages: Sequence[Submission], results: Mapping[UUID, Accepted | Exception]
) -> None:
    """Forget messages that were refused.

    Their contents keep their rows in ``writings``, if they still have them: who wrote them removes both.
    """
    refused = [message for message in messages if isinstance(results[message.id], Exception)]
    if refused:
        submissions.remove(txn, [message.submitted for message in refused])


def deliver(
    txn: Transaction, messages: Sequence[Queued], labels: Mapping[UUID, ReceiverPart]
) -> dict[UUID, Delivered | Exception]:
    """Deliver queued messages.

    :param labels: the recipients of the messages that have no target yet.
    :returns: for each message :class:`Delivered`, or why it is not delivered.
    :raises mensagod.storage.attempts.Locked: if a mailbox was locked for long; nothing was delivered then.
    """
    txn.limit_lock_waits()
    results: dict[UUID, Delivered | Exception] = {}
    going: list[tuple[Queued, WorkspaceID]] = []
    for message, recipient in _find_recipients(txn, messages, labels):
        try:
            going.append((message, _check(recipient, message)))
        except DeliveryError as error:
            results[message.id] = error
    concerned = {target for _, target in going} | {message.sender for message, _ in going}
    boxes = {box: mailboxes.lock(txn, box) for box in _in_order(concerned)}
    fitting = _sift_full(going, boxes, results)
    taken = queue.take(txn, [message for message, _ in fitting]) if fitting else set()
    results |= {
        message.id: Delivered(target) if message.id in taken else Overtaken() for message, target in fitting
    }
    _place(txn, [(message, target) for message, target in fitting if message.id in taken])
    return results


def _find_recipients(
    txn: Transaction, messages: Sequence[Queued], labels: Mapping[UUID, ReceiverPart]
) -> list[tuple[Queued, Recipient | None]]:
    addressed = [message for message in messages if message.target is None]
    aimed = [(message, message.target) for message in messages if message.target is not None]
    found = workspaces.find_recipients(txn, [labels[message.id].to for message in addressed])
    known = workspaces.find_targets(txn, [target for _, target in aimed])
    return [
        *zip(addressed, found, strict=True),
        *((message, recipient) for (message, _), recipient in zip(aimed, known, strict=True)),
    ]


def _check(recipient: Recipient | None, message: Queued) -> WorkspaceID:
    """Give the workspace that takes a message.

    :raises DeliveryError: if there is none.
    """
    if recipient is None or recipient.status in _GONE or not recipient.has_mailbox:
        raise NoSuchRecipient(f"there is no such recipient in {message.domain}")
    if recipient.status not in _OPEN:
        raise Refused("the recipient's workspace does not take messages now")
    return recipient.workspace


def _sift_full(
    going: Sequence[tuple[Queued, WorkspaceID]],
    boxes: Mapping[WorkspaceID, Mailbox | None],
    results: dict[UUID, Delivered | Exception],
) -> list[tuple[Queued, WorkspaceID]]:
    """Give the messages that fit into the mailboxes of their targets, one after the other."""
    fitting = []
    taken: defaultdict[WorkspaceID, int] = defaultdict(int)
    for message, target in going:
        box = boxes[target]
        # What a workspace sends to itself is counted already.
        size = 0 if message.sender == target else message.content.size
        if box is None:
            results[message.id] = NoSuchRecipient(f"there is no such recipient in {message.domain}")
        elif not box.has_room(taken[target] + size):
            results[message.id] = MailboxFull("the recipient's workspace is full")
        else:
            taken[target] += size
            fitting.append((message, target))
    return fitting


def _place(txn: Transaction, messages: Sequence[tuple[Queued, WorkspaceID]]) -> None:
    """Make messages live that have left the queue. Their mailboxes are locked, and have room."""
    leaving: defaultdict[WorkspaceID, int] = defaultdict(int)
    for message, _ in messages:
        leaving[message.sender] += message.content.size
    for sender in _in_order(leaving):
        mailboxes.count_dequeued(txn, sender, leaving[sender])
    targets = {target for _, target in messages}
    arrivals = _arrivals((message.content, target) for message, target in messages)
    if messages and files.place(txn, arrivals, SERVER_DEVICE, wait=True) != targets:
        raise AssertionError("a mailbox that is locked and has room does not take a message")


def _arrivals(contents: Iterable[tuple[Content, WorkspaceID]]) -> list[Arrival]:
    """Give contents their names in the mailboxes: they tell the time of the delivery."""
    now = int(time())
    return [Arrival(target, FileName.make(now, content.size), content) for content, target in contents]


def _in_order(concerned: Iterable[WorkspaceID]) -> list[WorkspaceID]:
    """Give workspaces in the order in which their mailboxes are locked, against deadlocks."""
    return sorted(concerned, key=lambda workspace: workspace.uuid)
