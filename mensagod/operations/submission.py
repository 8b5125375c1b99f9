"""Taking messages in: checked, durable, in the queue (spec 04, *Sending*)."""

from time import time
from uuid import uuid4

from attrs import frozen
from twisted.logger import Logger

from mensagod.delivery.acceptance import Letter, read_letter
from mensagod.errors import LimitReached, ServerUnavailable
from mensagod.operations.parts import Parts
from mensagod.storage import queue
from mensagod.storage.interfaces import IMailboxStore
from mensagod.storage.queue import LeaseLost, Submission
from mensagod.storage.submissions import find_recent
from mensagod.values.identity import DeviceID, Domain, WAddress
from mensagod.values.paths import FileName, ServerPath

MAX_INLINE = 25_000_000
"""The longest envelope that a request may hold, in characters."""

SMALL = 32 * 1024
"""Up to so many characters it costs less to check an envelope than to have a thread do it."""

_log = Logger(namespace="mensagod.commands.sending")


@frozen
class Sender:
    """Who hands a message in.

    :ivar session: names the session in the log.
    """

    address: WAddress
    device: DeviceID
    session: str


async def submit(parts: Parts, sender: Sender, text: str, domain: Domain) -> FileName:
    """Take a message in; once this returns it is on the disk and in the queue.

    A message that the workspace has handed in for this domain within a day is not taken in again: a client
    that got no answer repeats without harm.

    :param text: the envelope.
    :param domain: the recipient's.
    :returns: the name of its file below ``out``, that of the first time if it comes again.
    :raises mensagod.delivery.acceptance.BadSubmission: if it is no envelope of this sender for this domain.
    :raises LimitReached: if it is too large, or one too many of the device within a minute.
    :raises mensagod.errors.QuotaExceeded: if the workspace has no room.
    :raises ServerUnavailable: if it cannot be stored now.
    """
    limit = min(parts.config.performance.max_message_bytes or MAX_INLINE, MAX_INLINE)
    if len(text) > limit:
        raise LimitReached(f"A message has at most {limit} characters")
    if len(text) <= SMALL:
        letter = read_letter(text, sender.address, domain, parts.keyring)
    else:
        letter = await parts.files.run(read_letter, text, sender.address, domain, parts.keyring)
    name = await _enqueue(parts, sender, letter, domain)
    parts.delivery.wake()
    return name


async def _enqueue(parts: Parts, sender: Sender, letter: Letter, domain: Domain) -> FileName:
    """Put a message on the disk and into the queue, both durably."""
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
    rate = parts.config.security.max_recipients_per_minute
    if not await parts.database.write(queue.reserve, message, rate):
        known = await parts.database.run(queue.reserve_within_quota, message, rate)
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
        # Whoever took the message for abandoned may have looked for its file too early.
        await parts.files.run(parts.store.remove, path)
        first = await parts.database.read(find_recent, message.sender, domain, message.digest)
        if first is None:
            raise ServerUnavailable("The message took too long to be stored") from error
        # The client has handed it in twice at once.
        await parts.database.write(queue.withdraw, message.id, message.lease)
        return first
    return message.name


def _write(store: IMailboxStore, path: ServerPath, content: bytes, min_free_percent: int) -> None:
    """Write a file, unless the disk is nearly full. Runs in a thread."""
    if store.free_percent() < min_free_percent:
        raise ServerUnavailable("The server has too little free disk")
    store.write(path, content)
