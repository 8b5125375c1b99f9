"""The route to workspaces of our own domains (spec 05, *Local delivery*).

It delivers what could not be delivered when it was accepted. A transaction makes the file live and takes the
message out of the queue, so that a crash at any moment neither loses nor doubles it; its content stays where
it is.

Messages that are due together are delivered in one transaction, because that costs little more than one.
Still each has a result of its own: where the transaction fails, the messages for each mailbox are tried
alone, and at last each message.
"""

from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from uuid import UUID

from attrs import define
from zope.interface import implementer

from mensagod.contents.interfaces import IContentStore
from mensagod.crypto.sealing import SealBroken
from mensagod.delivery import placing
from mensagod.delivery.acceptance import USER_SYSTEM_SUBTYPES
from mensagod.delivery.envelopes import HEAD_LIMIT, read_tag
from mensagod.delivery.interfaces import IRoute
from mensagod.delivery.labels import BadLabelAddress, ReceiverPart, UnreadableLabel, open_receiver
from mensagod.delivery.results import (
    BadRecipient,
    Delivered,
    MailboxHeld,
    OwnFault,
    Refused,
    Result,
    UnreadableReceiver,
)
from mensagod.delivery.tags import BadEnvelope, DeliveryTag, MessageType
from mensagod.errors import ServerUnavailable
from mensagod.organization.keyring import Keyring
from mensagod.storage.attempts import Locked
from mensagod.storage.interfaces import Interactions
from mensagod.storage.queue import Queued
from mensagod.threads.interfaces import Threads
from mensagod.values.domains import DomainSet
from mensagod.values.identity import SERVER_WORKSPACE, Domain, WorkspaceID


@implementer(IRoute)
@define(eq=False)
class LocalRoute:
    """Delivers messages from the queue into mailboxes of this installation.

    :ivar ours: gives our domains.
    :ivar keyring: gives the organization's keys; :class:`ServerUnavailable` while there are none.
    :ivar newer_keyring: given those of which none opened something, gives them if others have come since, see
        :meth:`mensagod.organization.watch.KeyWatch.newer`.
    :ivar delivered: called with the workspace of each message that was delivered; must not raise.
    """

    database: Interactions
    store: IContentStore
    threads: Threads
    ours: Callable[[], Iterable[Domain]]
    keyring: Callable[[], Keyring]
    newer_keyring: Callable[[Keyring], Awaitable[Keyring | None]]
    delivered: Callable[[WorkspaceID], None]

    @property
    def domains(self) -> DomainSet:
        """Our domains."""
        return DomainSet.of(self.ours())

    async def deliver(self, messages: Sequence[Queued]) -> Mapping[UUID, Result]:
        """Deliver messages into their recipients' ``new``."""
        results: dict[UUID, Result] = {}
        labels: dict[UUID, ReceiverPart] = {}
        unknown = [message for message in messages if message.target is None]
        if unknown:
            for message, label in (await self._label(unknown)).items():
                if isinstance(label, Exception):
                    results[message] = label
                else:
                    labels[message] = label
        return results | await self._place([one for one in messages if one.id not in results], labels)

    async def _label(self, messages: Sequence[Queued]) -> dict[UUID, ReceiverPart | Exception]:
        """Read for whom messages are, with keys that were just read anew where it needs them."""
        labels: dict[UUID, ReceiverPart | Exception]
        try:
            keyring = self.keyring()
            labels = await self.threads.run(self._read_labels, messages, keyring)
            closed = [message for message in messages if isinstance(labels[message.id], UnreadableReceiver)]
            newer = await self.newer_keyring(keyring) if closed else None
        except ServerUnavailable as error:
            # Not raised: messages whose targets are known need no keys.
            return {message.id: error for message in messages}
        if newer is not None:
            labels |= await self.threads.run(self._read_labels, closed, newer)
        return labels

    async def _place(
        self, messages: Sequence[Queued], labels: Mapping[UUID, ReceiverPart]
    ) -> dict[UUID, Result]:
        if not messages:
            return {}
        try:
            placed = await self.database.run(placing.deliver, messages, labels)
        except Exception as error:
            return await self._place_apart(messages, labels, error)
        for result in placed.values():
            if isinstance(result, Delivered) and result.workspace is not None:
                self.delivered(result.workspace)
        return dict(placed)

    async def _place_apart(
        self, messages: Sequence[Queued], labels: Mapping[UUID, ReceiverPart], error: Exception
    ) -> dict[UUID, Result]:
        """Deliver messages in several transactions, because one for all has failed."""
        parts = _divide(messages)
        if isinstance(error, Locked) and len({message.destination for message in messages}) == 1:
            return {message.id: MailboxHeld() for message in messages}
        if len(parts) == 1 or (isinstance(error, ServerUnavailable) and not isinstance(error, Locked)):
            return {message.id: error for message in messages}
        results: dict[UUID, Result] = {}
        for part in parts:
            results |= await self._place(part, labels)
        return results

    def _read_labels(
        self, messages: Sequence[Queued], keyring: Keyring
    ) -> dict[UUID, ReceiverPart | Exception]:
        """Read from their contents for whom messages are. Runs in a thread."""
        labels: dict[UUID, ReceiverPart | Exception] = {}
        for message in messages:
            try:
                labels[message.id] = self._read_label(message, keyring)
            except Exception as error:
                labels[message.id] = error
        return labels

    def _read_label(self, message: Queued, keyring: Keyring) -> ReceiverPart:
        try:
            tag = read_tag(self._read_head(message))
            _check_type(tag, message)
            receiver = open_receiver(tag, keyring.open)
        except (BadEnvelope, UnreadableLabel, SealBroken) as error:
            raise UnreadableReceiver("the receiver part cannot be read") from error
        except BadLabelAddress as error:
            raise BadRecipient("the recipient's address is malformed") from error
        if receiver.to.domain != message.domain:
            raise BadRecipient(f"the recipient is not in {message.domain}")
        if receiver.sender_domain != message.sender_domain:
            raise BadRecipient("the sender's domain is not the one that the message came from")
        return receiver

    def _read_head(self, message: Queued) -> bytes:
        content = message.content
        if content.data is not None:
            return content.data[:HEAD_LIMIT]
        key = content.key
        if key is None:
            raise OwnFault(f"the content of message {message.id} is nowhere")
        try:
            stored = self.store.open(key, content.size)
        except FileNotFoundError as error:
            raise OwnFault(f"the content {key.id} of {key.day} is missing in the store") from error
        try:
            return stored.read(HEAD_LIMIT)
        finally:
            stored.close()


def _divide(messages: Sequence[Queued]) -> list[list[Queued]]:
    """Divide messages by their destinations; those for one destination into single ones."""
    by_destination = defaultdict(list)
    for message in messages:
        by_destination[message.destination].append(message)
    if len(by_destination) > 1:
        return list(by_destination.values())
    return [[message] for message in messages]


def _check_type(tag: DeliveryTag, message: Queued) -> None:
    """Refuse a message that a client handed in but only servers may write."""
    if message.sender == SERVER_WORKSPACE or tag.type is MessageType.USER:
        return
    if tag.sub_type not in USER_SYSTEM_SUBTYPES:
        raise Refused("system messages come from servers only")
