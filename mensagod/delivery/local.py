"""Delivery to workspaces of our own domains (spec 05, *Local delivery*).

The steps are such that a crash after any of them loses nothing and doubles nothing: where a message will
stand is in its row before its file moves, and the row goes in the transaction that makes the file live.

What waits is delivered together, because threads, round trips and syncs cost nearly the same for many
messages as for one. What becomes of one touches no other: a step that fails is taken by each by itself.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import closing, suppress
from typing import ParamSpec, TypeAlias, TypeVar
from uuid import UUID

from attrs import define, field, frozen

from mensagod.crypto.sealing import SealBroken
from mensagod.delivery import placing
from mensagod.delivery.acceptance import USER_SYSTEM_SUBTYPES
from mensagod.delivery.envelopes import HEAD_LIMIT, read_tag
from mensagod.delivery.labels import BadLabelAddress, UnreadableLabel, open_receiver
from mensagod.delivery.outcomes import BadRecipient, NoSuchRecipient, OwnFault, Refused, UnreadableReceiver
from mensagod.delivery.placing import Label
from mensagod.delivery.tags import BadEnvelope, DeliveryTag, MessageType
from mensagod.errors import ServerUnavailable
from mensagod.organization.keyring import Keyring
from mensagod.storage import queue
from mensagod.storage.database import Database
from mensagod.storage.interfaces import IMailboxStore
from mensagod.storage.queue import Queued
from mensagod.threads.pool import Crew
from mensagod.values.identity import SERVER_WORKSPACE, WorkspaceID
from mensagod.values.paths import ServerPath

P = ParamSpec("P")
T = TypeVar("T")


@frozen
class Placed:
    """A message stands in a mailbox."""

    workspace: WorkspaceID
    path: ServerPath


class Busy(Exception):
    """Somebody else holds the mailbox of a message just now.

    :ivar message: as it is now, to be delivered a little later.
    """

    def __init__(self, message: Queued):
        super().__init__()
        self.message = message


Outcome: TypeAlias = Placed | Exception
"""What became of a message. Its file is where it was if that is a ``DeliveryError``."""


@define(eq=False)
class _Batch:
    """Messages that are delivered together.

    :ivar going: those that are on their way, by their IDs, and
    :ivar outcomes: what has become of the others.
    """

    going: dict[UUID, Queued]
    outcomes: dict[UUID, Outcome] = field(factory=dict, init=False)

    def sift(self, results: Mapping[UUID, T | Exception]) -> dict[UUID, T]:
        """Put down what did not pass a step, and give what came of it for the rest."""
        passed = {}
        for message, result in results.items():
            if isinstance(result, Exception):
                self.end(message, result)
            else:
                passed[message] = result
        return passed

    def end(self, message: UUID, outcome: Outcome) -> None:
        """Put down what has become of a message."""
        del self.going[message]
        self.outcomes[message] = outcome


@define(eq=False)
class LocalDelivery:
    """Moves messages from the queue into mailboxes of this installation."""

    database: Database
    store: IMailboxStore
    crew: Crew

    async def deliver(self, messages: Sequence[Queued], keyring: Keyring) -> dict[UUID, Outcome]:
        """Bring claimed messages into their recipients' ``new``.

        :returns: what became of each, by its ID.
        """
        batch = _Batch({message.id: message for message in messages})
        try:
            await self._aim(batch, keyring)
            await self._move(batch, {message.id for message in messages if message.target is None})
            await self._place(batch)
        except Exception as error:
            # What has become of the others stands.
            for message in tuple(batch.going):
                batch.end(message, error)
        return batch.outcomes

    async def _aim(self, batch: _Batch, keyring: Keyring) -> None:
        """Decide where messages will stand, unless that is decided already."""
        fresh = [message for message in batch.going.values() if message.target is None]
        if not fresh:
            return
        labels = batch.sift(await self.crew.run(self._read_labels, fresh, keyring))
        readable = [message for message in fresh if message.id in labels]
        batch.going |= batch.sift(await self._interact(placing.aim, readable, labels=labels))

    async def _move(self, batch: _Batch, named: Collection[UUID]) -> None:
        """Move the files.

        :param named: messages that got their new names just now. The next try is to name them anew if their
            files do not move: by then the names would tell a time that has long passed.
        """
        if not batch.going:
            return
        moving = tuple(batch.going.values())
        results = await self.crew.run(self._move_files, moving)
        batch.sift(results)
        stuck = [message for message in moving if message.id in named and results[message.id] is not None]
        stuck = await self.crew.run(self._still_there, stuck) if stuck else []
        if stuck:
            with suppress(ServerUnavailable):
                # Nobody else knows these names yet, or moves a file there later.
                await self.database.run(queue.forget_aim, stuck)

    async def _place(self, batch: _Batch) -> None:
        """Make the files live, and forget the messages."""
        placed = batch.sift(await self._interact(placing.place, tuple(batch.going.values())))
        for message, is_there in placed.items():
            arrival = batch.going[message].arrival
            if is_there:
                batch.end(message, Placed(arrival.workspace, arrival.path))
        if batch.going:
            await self._move_back(batch)

    async def _move_back(self, batch: _Batch) -> None:
        """Have files whose workspaces are gone where they waited."""
        messages = tuple(batch.going.values())
        moves = [(message.arrival.path, message.path) for message in messages]
        for message, fault in zip(messages, await self.crew.run(self.store.move, moves), strict=True):
            batch.end(message.id, fault or NoSuchRecipient("the workspace was archived"))

    async def _interact(
        self,
        interaction: Callable[..., dict[UUID, T | Exception]],
        messages: Sequence[Queued],
        **more: object,
    ) -> dict[UUID, T | Exception]:
        """Take a step in the database; what is left out of its results is busy."""
        if not messages:
            return {}
        try:
            results = await self.database.run(interaction, messages, **more)
        except ServerUnavailable as error:
            return {message.id: error for message in messages}
        except Exception as error:
            if len(messages) == 1:
                return {messages[0].id: error}
            # Whose fault it is shows when each goes by itself.
            results = {}
            for message in messages:
                results |= await self._interact(interaction, [message], **more)
        return {message.id: Busy(message) for message in messages} | results

    def _read_labels(self, messages: Sequence[Queued], keyring: Keyring) -> dict[UUID, Label | Exception]:
        """Find out for whom messages are. Runs in a thread."""
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
        """Move files to where their rows say. Runs in a thread."""
        faults = self.store.move([(message.path, message.arrival.path) for message in messages])
        return {
            message.id: _missing(message) if isinstance(fault, FileNotFoundError) else fault
            for message, fault in zip(messages, faults, strict=True)
        }

    def _still_there(self, messages: Sequence[Queued]) -> list[Queued]:
        """Tell which files are where they waited. Runs in a thread."""
        there = []
        for message in messages:
            with suppress(OSError), closing(self.store.open(message.path)):
                there.append(message)
        return there


def _missing(message: Queued) -> OwnFault:
    return OwnFault(f"the file {message.path} is missing")


def _caught(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T | Exception:
    """Do something for one message, whose failure is of no concern to the others."""
    try:
        return work(*args, **kwargs)
    except Exception as error:
        return error


def _check_type(tag: DeliveryTag, message: Queued) -> None:
    """Refuse what only servers say but a client handed in."""
    if message.sender == SERVER_WORKSPACE or tag.type is MessageType.USER:
        return
    if tag.sub_type not in USER_SYSTEM_SUBTYPES:
        raise Refused("system messages come from servers only")
