"""Delivery to workspaces of our own domains (spec 05, *Local delivery*).

The steps are such that a crash after any of them loses nothing and doubles nothing: where the message will
stand is in its row before its file moves, and the row goes in the transaction that makes the file live.
"""

from time import time

from attrs import define, frozen

from mensagod.crypto.sealing import SealBroken
from mensagod.delivery.acceptance import USER_SYSTEM_SUBTYPES
from mensagod.delivery.envelopes import HEAD_LIMIT, read_tag
from mensagod.delivery.labels import BadLabelAddress, ReceiverPart, UnreadableLabel, open_receiver
from mensagod.delivery.outcomes import (
    BadRecipient,
    MailboxFull,
    NoSuchRecipient,
    OwnFault,
    Refused,
    UnreadableReceiver,
)
from mensagod.delivery.tags import BadEnvelope, DeliveryTag, MessageType
from mensagod.identity import SERVER_DEVICE, SERVER_WORKSPACE, UserID, WorkspaceID
from mensagod.imensagod import IMailboxStore
from mensagod.keyring import Keyring
from mensagod.paths import FileName, ServerPath
from mensagod.storage import files, mailboxes, queue, workspaces
from mensagod.storage.database import Database
from mensagod.storage.queue import Queued
from mensagod.storage.rows import Transaction
from mensagod.storage.workspaces import WorkspaceStatus
from mensagod.threads import Crew

_GONE = frozenset({WorkspaceStatus.ARCHIVED, WorkspaceStatus.PENDING, WorkspaceStatus.PREREGISTERED})
_OPEN = frozenset({WorkspaceStatus.ACTIVE, WorkspaceStatus.APPROVED})


@frozen
class Placed:
    """A message stands in a mailbox."""

    workspace: WorkspaceID
    path: ServerPath


@define(eq=False)
class LocalDelivery:
    """Moves messages from the queue into mailboxes of this installation."""

    database: Database
    store: IMailboxStore
    crew: Crew

    async def deliver(self, message: Queued, keyring: Keyring) -> Placed:
        """Bring a claimed message into its recipient's ``new``.

        :raises DeliveryError: if that cannot be, for good or for now; the message is where it was.
        :raises LeaseLost: if somebody else has taken it over.
        """
        target, name = message.target, message.target_name
        if target is None or name is None:
            receiver, size = await self.crew.run(self._read_receiver, message, keyring)
            name = FileName.make(int(time()), size)
            target = await self.database.run(_aim, message, receiver, name)
        path = ServerPath.new_messages(target).child(name)
        try:
            await self.crew.run(self.store.move, message.path, path)
        except FileNotFoundError as error:
            raise OwnFault(f"the file {message.path} is missing") from error
        except OSError:
            if message.target is None:
                await self._forget_place(message)
            raise
        if not await self.database.run(_place, message, target, name):
            await self.crew.run(self.store.move, path, message.path)
            raise NoSuchRecipient("the workspace was archived")
        return Placed(target, path)

    async def _forget_place(self, message: Queued) -> None:
        """Have the next try name the file anew: by then the name would tell a time that has long passed.

        For the try that named it: nobody else knows the name yet, or moves the file there later.
        """
        try:
            stored = await self.crew.run(self.store.open, message.path)
        except OSError:
            return  # It may have moved.
        stored.close()
        await self.database.run(queue.forget_aim, message.id, message.lease)

    def _read_receiver(self, message: Queued, keyring: Keyring) -> tuple[ReceiverPart, int]:
        """Find out for whom a message is, and how large its file is. Runs in a thread."""
        try:
            stored = self.store.open(message.path)
        except FileNotFoundError as error:
            raise OwnFault(f"the file {message.path} is missing") from error
        try:
            tag = read_tag(stored.read(HEAD_LIMIT))
            _check_type(tag, message)
            receiver = open_receiver(tag, keyring.open)
        except (BadEnvelope, UnreadableLabel, SealBroken) as error:
            raise UnreadableReceiver("the receiver part cannot be read") from error
        except BadLabelAddress as error:
            raise BadRecipient("the recipient's address is malformed") from error
        finally:
            stored.close()
        if receiver.to.domain != message.domain:
            raise BadRecipient(f"the recipient is not in {message.domain}")
        if receiver.sender_domain != message.sender_domain:
            raise BadRecipient("the sender's domain is not the one that the message came from")
        return receiver, stored.size


def _check_type(tag: DeliveryTag, message: Queued) -> None:
    """Refuse what only servers say but a client handed in."""
    if message.sender == SERVER_WORKSPACE or tag.type is MessageType.USER:
        return
    if tag.sub_type not in USER_SYSTEM_SUBTYPES:
        raise Refused("system messages come from servers only")


def _aim(txn: Transaction, message: Queued, receiver: ReceiverPart, name: FileName) -> WorkspaceID:
    """Find the recipient's workspace, make sure that it takes the message, and decide the new name."""
    target = receiver.to.id
    if isinstance(target, UserID):
        found = workspaces.find_registered(txn, target, message.domain)
        if found is None:
            raise NoSuchRecipient(f"there is no {receiver.to}")
        target = found
    workspace = workspaces.find_workspace(txn, target)
    if workspace is None or workspace.status in _GONE:
        raise NoSuchRecipient(f"there is no {receiver.to}")
    if isinstance(receiver.to.id, WorkspaceID) and workspace.domain != message.domain:
        raise NoSuchRecipient(f"there is no {receiver.to}")
    if workspace.status not in _OPEN:
        raise Refused("the recipient's workspace does not take messages now")
    mailbox = mailboxes.lock(txn, target)
    if mailbox is None:
        raise NoSuchRecipient(f"there is no {receiver.to}")
    if mailbox.quota:
        claimed = queue.claimed_bytes(txn, target, message.id)
        if mailbox.used + claimed + name.size > mailbox.quota:
            raise MailboxFull("the recipient's workspace is full")
    queue.aim(txn, message.id, message.lease, target, name)
    return target


def _place(txn: Transaction, message: Queued, target: WorkspaceID, name: FileName) -> bool:
    """Make the moved file live and forget the message; tell whether the workspace is still there."""
    if mailboxes.lock(txn, target) is None:
        return False
    # The lease comes first: without it another may have made the file live already.
    queue.finish(txn, message.id, message.lease)
    files.add_delivered(txn, target, name, SERVER_DEVICE)
    return True
