"""The route to workspaces of our own domains (spec 05, *Local delivery*).

A message takes three steps: its target is recorded in the queue, its file moves into the mailbox, and one
transaction makes the file live and removes the message from the queue. After a crash between any two of them
the next worker goes on from there: the recorded target tells where the file is or should be, so nothing is
lost or doubled.

A batch takes each step together, because threads, round trips and syncs cost nearly the same for many
messages as for one. Still each message has a result of its own: where a step fails for the batch, it is tried
for each message alone.
"""

from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import closing, suppress
from typing import ParamSpec, TypeVar
from uuid import UUID

from attrs import define, field
from zope.interface import implementer

from mensagod.crypto.sealing import SealBroken
from mensagod.delivery import placing
from mensagod.delivery.acceptance import USER_SYSTEM_SUBTYPES
from mensagod.delivery.envelopes import HEAD_LIMIT, read_tag
from mensagod.delivery.interfaces import IRoute
from mensagod.delivery.labels import BadLabelAddress, UnreadableLabel, open_receiver
from mensagod.delivery.placing import Label
from mensagod.delivery.results import (
    BadRecipient,
    Delivered,
    MailboxHeld,
    NoSuchRecipient,
    OwnFault,
    Refused,
    Result,
    UnreadableReceiver,
)
from mensagod.delivery.tags import BadEnvelope, DeliveryTag, MessageType
from mensagod.errors import ServerUnavailable
from mensagod.organization.keyring import Keyring
from mensagod.storage import queue
from mensagod.storage.interfaces import IMailboxStore, Interactions
from mensagod.storage.queue import Queued
from mensagod.threads.interfaces import Threads
from mensagod.values.domains import DomainSet
from mensagod.values.identity import SERVER_WORKSPACE, Domain, WorkspaceID

P = ParamSpec("P")
T = TypeVar("T")


@define(eq=False)
class _Batch:
    """Messages that are delivered together.

    :ivar going: those without a result yet, by their IDs.
    :ivar results: the results of the others.
    """

    going: dict[UUID, Queued]
    results: dict[UUID, Result] = field(factory=dict, init=False)

    def sift(self, step: Mapping[UUID, T | MailboxHeld | Exception]) -> dict[UUID, T]:
        """Record the results of messages that did not pass a step; give what the step made of the others."""
        passed = {}
        for message, made in step.items():
            if isinstance(made, Exception | MailboxHeld):
                self.end(message, made)
            else:
                passed[message] = made
        return passed

    def end(self, message: UUID, result: Result) -> None:
        """Record the result of a message."""
        del self.going[message]
        self.results[message] = result


@implementer(IRoute)
@define(eq=False)
class LocalRoute:
    """Moves messages from the queue into mailboxes of this installation.

    :ivar ours: gives our domains.
    :ivar keyring: gives the organization's keys; :class:`ServerUnavailable` while there are none.
    :ivar newer_keyring: given those of which none opened something, gives them if others have come since, see
        :meth:`mensagod.organization.watch.KeyWatch.newer`.
    :ivar delivered: called with the workspace of each message that was delivered; must not raise.
    """

    database: Interactions
    store: IMailboxStore
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
        """Deliver claimed messages into their recipients' ``new``."""
        batch = _Batch({message.id: message for message in messages})
        try:
            await self._aim(batch)
            await self._move(batch, {message.id for message in messages if message.target is None})
            await self._place(batch)
        except Exception as error:
            # Messages that have their results keep them.
            for message in tuple(batch.going):
                batch.end(message, error)
        return batch.results

    async def _aim(self, batch: _Batch) -> None:
        """Record the targets of messages that have none yet."""
        fresh = [message for message in batch.going.values() if message.target is None]
        if not fresh:
            return
        labels = batch.sift(await self._label(fresh))
        readable = [message for message in fresh if message.id in labels]
        batch.going |= batch.sift(await self._interact(placing.aim, readable, labels=labels))

    async def _label(self, messages: Sequence[Queued]) -> dict[UUID, Label | Exception]:
        """Read for whom messages are, with keys that were just read anew where it needs them."""
        keyring = self.keyring()
        labels = await self.threads.run(self._read_labels, messages, keyring)
        closed = [message for message in messages if isinstance(labels[message.id], UnreadableReceiver)]
        newer = await self.newer_keyring(keyring) if closed else None
        if newer is not None:
            labels |= await self.threads.run(self._read_labels, closed, newer)
        return labels

    async def _move(self, batch: _Batch, named: Collection[UUID]) -> None:
        """Move the files.

        :param named: messages that were named just now. If their files do not move, the names are taken back,
            because a name tells the time of delivery, which the next try will change.
        """
        if not batch.going:
            return
        moving = tuple(batch.going.values())
        results = await self.threads.run(self._move_files, moving)
        batch.sift(results)
        stuck = [message for message in moving if message.id in named and results[message.id] is not None]
        stuck = await self.threads.run(self._still_there, stuck) if stuck else []
        if stuck:
            with suppress(ServerUnavailable):
                # Safe: no other worker had the messages since they were named.
                await self.database.run(queue.forget_aim, stuck)

    async def _place(self, batch: _Batch) -> None:
        """Make the files live, and remove the messages from the queue."""
        placed = batch.sift(await self._interact(placing.place, tuple(batch.going.values())))
        for message, is_live in placed.items():
            if is_live:
                workspace = batch.going[message].arrival.workspace
                batch.end(message, Delivered())
                self.delivered(workspace)
        if batch.going:
            await self._move_back(batch)

    async def _move_back(self, batch: _Batch) -> None:
        """Move files whose workspaces are gone back below ``out``."""
        messages = tuple(batch.going.values())
        moves = [(message.arrival.path, message.path) for message in messages]
        for message, fault in zip(messages, await self.threads.run(self.store.move, moves), strict=True):
            batch.end(message.id, fault or NoSuchRecipient("the workspace was archived"))

    async def _interact(
        self,
        interaction: Callable[..., Mapping[UUID, T | Exception]],
        messages: Sequence[Queued],
        **more: object,
    ) -> dict[UUID, T | MailboxHeld | Exception]:
        """Take a step in the database; a message that it leaves out has a mailbox that is held."""
        if not messages:
            return {}
        try:
            results = await self.database.run(interaction, messages, **more)
        except ServerUnavailable as error:
            return {message.id: error for message in messages}
        except Exception as error:
            if len(messages) == 1:
                return {messages[0].id: error}
            # At least one message is at fault; alone, the others pass.
            alone: dict[UUID, T | MailboxHeld | Exception] = {}
            for message in messages:
                alone |= await self._interact(interaction, [message], **more)
            return alone
        return {message.id: MailboxHeld(message) for message in messages} | dict(results)

    def _read_labels(self, messages: Sequence[Queued], keyring: Keyring) -> dict[UUID, Label | Exception]:
        """Read from their files for whom messages are. Runs in a thread."""
        return {message.id: _caught(self._read_label, message, keyring) for message in messages}

    def _read_label(self, message: Queued, keyring: Keyring) -> Label:
        try:
            stored = self.store.open(message.path)
        except FileNotFoundError as error:
            raise _missing(message) from error
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
        return Label(receiver, stored.size)

    def _move_files(self, messages: Sequence[Queued]) -> dict[UUID, Exception | None]:
        """Move files to their targets. Runs in a thread."""
        faults = self.store.move([(message.path, message.arrival.path) for message in messages])
        return {
            message.id: _missing(message) if isinstance(fault, FileNotFoundError) else fault
            for message, fault in zip(messages, faults, strict=True)
        }

    def _still_there(self, messages: Sequence[Queued]) -> list[Queued]:
        """Give the messages whose files have not moved. Runs in a thread."""
        there = []
        for message in messages:
            with suppress(OSError), closing(self.store.open(message.path)):
                there.append(message)
        return there


def _missing(message: Queued) -> OwnFault:
    return OwnFault(f"the file {message.path} is missing")


def _caught(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T | Exception:
    """Do something for one message, and give its exception as its result."""
    try:
        return work(*args, **kwargs)
    except Exception as error:
        return error


def _check_type(tag: DeliveryTag, message: Queued) -> None:
    """Refuse a message that a client handed in but only servers may write."""
    if message.sender == SERVER_WORKSPACE or tag.type is MessageType.USER:
        return
    if tag.sub_type not in USER_SYSTEM_SUBTYPES:
        raise Refused("system messages come from servers only")
