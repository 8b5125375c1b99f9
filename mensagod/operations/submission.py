"""Submitting messages: they are checked, stored durably and queued (spec 04, *Sending*)."""

from time import time
from uuid import uuid4

from attrs import frozen
from twisted.logger import Logger

from mensagod.delivery.acceptance import Letter, UnreadableSender, read_letter
from mensagod.errors import LimitReached, ServerUnavailable
from mensagod.operations.parts import Parts
from mensagod.organization.keyring import Keyring
from mensagod.storage import queue
from mensagod.storage.interfaces import IMailboxStore
from mensagod.storage.queue import LeaseLost, Submission
from mensagod.storage.sends import TooManyMessages
from mensagod.storage.submissions import find_recent
from mensagod.values.identity import DeviceID, Domain, WAddress
from mensagod.values.paths import FileName, ServerPath
from mensagod.wire.long_texts import Text

MAX_INLINE = 25_000_000
"""The longest envelope that a request may contain, in characters."""

SMALL = 32 * 1024
"""Envelopes up to this size, in characters, are checked without a thread, because that costs less."""

_log = Logger(namespace="mensagod.commands.sending")


@frozen
class Sender:
    """The sender of a message.

    :ivar session: identifies the session in the log.
    """

    address: WAddress
    device: DeviceID
    session: str


async def submit(parts: Parts, sender: Sender, text: Text, domain: Domain) -> FileName:
    """Accept a message; when this returns, it is durably on the disk and in the queue.

    A message that the workspace has submitted to this domain within a day is not accepted again, so a client
    that got no answer can safely repeat it.

    :param text: the envelope.
    :param domain: the recipient's domain.
    :returns: the name of its file below ``out``; the name of the first time if it was submitted before.
    :raises mensagod.delivery.acceptance.BadSubmission: if it is not an envelope of this sender to this
        domain.
    :raises LimitReached: if it is too large, or the device sent too many messages within a minute.
    :raises mensagod.errors.QuotaExceeded: if it exceeds the quota of the workspace.
    :raises ServerUnavailable: if it cannot be stored now.
    """
    limit = min(parts.config.performance.max_message_bytes or MAX_INLINE, MAX_INLINE)
    if len(text) > limit:
        raise LimitReached(f"A message has at most {limit} characters")
    keyring = parts.keyring
    try:
        letter = await _read(parts, sender, text, domain, keyring)
    except UnreadableSender:
        newer = await parts.keys.newer(keyring)
        if newer is None:
            raise
        letter = await _read(parts, sender, text, domain, newer)
    name = await _enqueue(parts, sender, letter, domain)
    parts.delivery.wake()
    return name


async def _read(parts: Parts, sender: Sender, text: Text, domain: Domain, keyring: Keyring) -> Letter:
    if len(text) <= SMALL:
        return read_letter(text, sender.address, domain, keyring)
    return await parts.files.run(read_letter, text, sender.address, domain, keyring)


async def _enqueue(parts: Parts, sender: Sender, letter: Letter, domain: Domain) -> FileName:
    """Write a message to the disk and add it to the queue, both durably."""
    message = Submission(
        id=uuid4(),
        lease=uuid4(),
        sender=sender.address.id,
        device=sender.device,
        sender_domain=sender.address.domain,
        domain=domain,
        name=FileName.make(int(time()), len(letter.content)),
        digest=letter.digest,
        due=letter.due,
    )
    known = await _reserve(parts, message)
    if known != message.name:
        return known
    path = ServerPath.outgoing(message.sender).child(message.name)
    least = parts.config.performance.min_free_percent
    try:
        await parts.files.run(_write, parts.store, path, letter.content, least)
    except (OSError, ServerUnavailable) as error:
        await parts.database.write(queue.withdraw, message.id, message.lease)
        if isinstance(error, ServerUnavailable):
            raise
        _log.error(
            "{path} could not be written: {reason}", path=str(path), reason=str(error), session=sender.session
        )
        raise ServerUnavailable("The message could not be stored") from error
    try:
        await parts.database.write(queue.accept, message)
    except LeaseLost as error:
        # The cleanup that took the message for abandoned may have run before its file was written.
        await parts.files.run(parts.store.remove, path)
        first = await parts.database.read(find_recent, message.sender, domain, message.digest)
        if first is None:
            raise ServerUnavailable("The message took too long to be stored") from error
        # The client has submitted it twice at the same time.
        await parts.database.write(queue.withdraw, message.id, message.lease)
        return first
    return message.name


async def _reserve(parts: Parts, message: Submission) -> FileName:
    """Add the pending row of a message, and give its file name; that of the first time if it is known.

    :raises LimitReached: if its device has reached its limit; the process remembers that until the device may
        submit one more, and does not ask the database.
    """
    rate, sender = parts.config.security.max_recipients_per_minute, (message.sender, message.device)
    if rate and parts.limits.senders.find(sender):
        raise TooManyMessages(rate)
    if await parts.database.write(queue.reserve, message, rate):
        return message.name
    begin = parts.limits.senders.now()
    try:
        return await parts.database.run(queue.reserve_within_quota, message, rate)
    except TooManyMessages as error:
        parts.limits.senders.keep(sender, True, error.seconds, begin)
        raise


def _write(store: IMailboxStore, path: ServerPath, content: bytes, min_free_percent: int) -> None:
    """Write a file unless the disk is nearly full. Runs in a thread."""
    if store.free_percent() < min_free_percent:
        raise ServerUnavailable("The server has too little free disk")
    store.write(path, content)
