"""The two interactions of local delivery: one before a message's file moves, and one after.

Each takes a batch and gives a result for each message by its ID. It waits for no mailbox: a message whose
mailbox another transaction has locked is left out of the results. So a mailbox that is locked for long holds
up neither other people's messages nor a connection.
"""

from collections.abc import Collection, Mapping, Sequence
from time import time
from uuid import UUID

from attrs import define, evolve, frozen

from mensagod.delivery.labels import ReceiverPart
from mensagod.delivery.results import DeliveryError, MailboxFull, NoSuchRecipient, Refused
from mensagod.storage import files, mailboxes, queue, workspaces
from mensagod.storage.queue import LeaseLost, Queued
from mensagod.storage.rows import Transaction
from mensagod.storage.workspaces import Recipient, WorkspaceStatus
from mensagod.values.identity import SERVER_DEVICE, WorkspaceID
from mensagod.values.paths import FileName

_GONE = frozenset({WorkspaceStatus.ARCHIVED, WorkspaceStatus.PENDING, WorkspaceStatus.PREREGISTERED})
_OPEN = frozenset({WorkspaceStatus.ACTIVE, WorkspaceStatus.APPROVED})


@frozen
class Label:
    """The recipient of a message, read from its file.

    :ivar size: of the file, in bytes.
    """

    receiver: ReceiverPart
    size: int


def aim(
    txn: Transaction, messages: Sequence[Queued], labels: Mapping[UUID, Label]
) -> dict[UUID, Queued | Exception]:
    """Find the recipients' workspaces, check that they take the messages, and record targets and new names.

    :returns: messages with their targets, or why they have none.
    """
    recipients = workspaces.find_recipients(txn, [labels[message.id].receiver.to for message in messages])
    counted = {recipient.workspace for recipient in recipients if recipient and recipient.has_quota}
    rooms = _find_rooms(txn, counted)
    results: dict[UUID, Queued | Exception] = {}
    for message, recipient in zip(messages, recipients, strict=True):
        label = labels[message.id]
        try:
            target = _check(recipient, label.receiver)
            if target.has_quota and target.workspace not in rooms:
                continue
            if target.has_quota:
                rooms[target.workspace].take(message, label.size)
        except DeliveryError as error:
            results[message.id] = error
        else:
            name = FileName.make(int(time()), label.size)
            results[message.id] = evolve(message, target=target.workspace, target_name=name)
    aimed = [result for result in results.values() if isinstance(result, Queued)]
    held = queue.aim(txn, aimed)
    return results | {message.id: LeaseLost() for message in aimed if message.id not in held}


def place(txn: Transaction, messages: Sequence[Queued]) -> dict[UUID, bool | Exception]:
    """Make moved files live and remove their messages from the queue.

    :returns: ``True`` for what is delivered, ``False`` if the workspace is gone.
    """
    targets = {message.arrival.workspace for message in messages}
    boxes = mailboxes.lock_free(txn, targets)
    gone = mailboxes.list_missing(txn, targets - boxes.keys())
    here = [message for message in messages if message.arrival.workspace in boxes]
    # Only messages whose leases hold: another worker may have made the files of the others live already.
    held = queue.finish(txn, here)
    files.add_delivered(txn, [message.arrival for message in here if message.id in held], SERVER_DEVICE)
    results: dict[UUID, bool | Exception] = {
        message.id: False for message in messages if message.arrival.workspace in gone
    }
    return results | {message.id: message.id in held or LeaseLost() for message in here}


@define
class _Room:
    """The room in a workspace with a quota.

    :ivar left: bytes that are free.
    """

    workspace: WorkspaceID
    left: int

    def take(self, message: Queued, size: int) -> None:
        """Take room for a message; what a workspace sends to itself is counted already.

        :raises MailboxFull: if there is none.
        """
        if message.sender == self.workspace:
            size = 0
        if size > self.left:
            raise MailboxFull("the recipient's workspace is full")
        self.left -= size


def _find_rooms(txn: Transaction, targets: Collection[WorkspaceID]) -> Mapping[WorkspaceID, _Room]:
    """Lock the mailboxes that nobody else has locked, and give their room."""
    if not targets:
        return {}
    boxes = mailboxes.lock_free(txn, targets)
    claimed = queue.claimed_bytes(txn, boxes)
    # A mailbox whose quota was taken away since is left out as if it were locked: its messages are tried
    # again at once, and then it counts as one without a quota.
    return {
        target: _Room(target, box.quota - box.used - claimed[target])
        for target, box in boxes.items()
        if box.quota
    }


def _check(recipient: Recipient | None, receiver: ReceiverPart) -> Recipient:
    """Check that there is a recipient who takes messages.

    :raises DeliveryError: if not.
    """
    if recipient is None or recipient.status in _GONE or recipient.has_quota is None:
        raise NoSuchRecipient(f"there is no {receiver.to}")
    if recipient.status not in _OPEN:
        raise Refused("the recipient's workspace does not take messages now")
    return recipient
