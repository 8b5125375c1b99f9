"""Submitting messages: they are checked, stored durably, and delivered or queued (spec 04, *Sending*)."""

from functools import partial
from time import time
from uuid import uuid4

from attrs import frozen

from mensagod.delivery.acceptance import Letter, UnreadableSender, read_letter
from mensagod.delivery.placing import Submission
from mensagod.errors import LimitReached, QuotaExceeded
from mensagod.operations.contents import drop_content, store_content
from mensagod.operations.parts import Parts
from mensagod.organization.keyring import Keyring
from mensagod.storage import mailboxes
from mensagod.storage.sends import SEND_WINDOW, TooManyMessages
from mensagod.storage.submissions import Submitted
from mensagod.values.identity import DeviceID, Domain, WAddress, WorkspaceID
from mensagod.values.paths import FileName
from mensagod.wire.long_texts import Text

MAX_INLINE = 25_000_000
"""The longest envelope that a request may contain, in characters."""

SMALL = 32 * 1024
"""Envelopes up to this size, in characters, are checked without a thread, because that costs less."""


@frozen
class Sender:
    """The sender of a message.

    :ivar session: identifies the session in the log.
    """

    address: WAddress
    device: DeviceID
    session: str


async def submit(parts: Parts, sender: Sender, text: Text, domain: Domain) -> FileName:
    """Accept a message; when this returns, it is durable, and delivered or in the queue.

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
    submitted = Submitted(sender.address.id, domain, letter.digest)
    known = _refuse_remembered(parts, sender, submitted)
    if known is not None:
        return known
    name = await _accept(parts, sender, letter, domain)
    parts.limits.submitted.keep(submitted, name, SEND_WINDOW.total_seconds())
    return name


async def _read(parts: Parts, sender: Sender, text: Text, domain: Domain, keyring: Keyring) -> Letter:
    read = partial(read_letter, text, sender.address, domain, keyring, is_ours=parts.is_local(domain))
    return read() if len(text) <= SMALL else await parts.files.run(read)


def _refuse_remembered(parts: Parts, sender: Sender, submitted: Submitted) -> FileName | None:
    """Refuse a message without asking the database while the device is known to have reached its limit.

    :returns: the file name of a message that was submitted before that, and now again.
    :raises TooManyMessages: if the device has reached its limit, and the message is another one.
    """
    rate = parts.config.security.max_recipients_per_minute
    if not rate or not parts.limits.senders.find((sender.address.id, sender.device)):
        return None
    known = parts.limits.submitted.find(submitted)
    if known is None:
        raise TooManyMessages(rate)
    return known


async def _accept(parts: Parts, sender: Sender, letter: Letter, domain: Domain) -> FileName:
    begin = parts.limits.senders.now()
    workspace = sender.address.id
    if len(letter.content) > parts.config.performance.inline_bytes:
        # Nothing is written to the disk in vain.
        await _refuse_full(parts, workspace, len(letter.content))
    message = Submission(
        id=uuid4(),
        sender=workspace,
        device=sender.device,
        sender_domain=sender.address.domain,
        domain=domain,
        recipient=letter.recipient,
        name=FileName.make(int(time()), len(letter.content)),
        content=await store_content(parts, workspace, letter.content),
        digest=letter.digest,
        send_time=letter.send_time,
    )
    try:
        accepted = await parts.acceptor.accept(message)
    except QuotaExceeded:
        await drop_content(parts, workspace, message.content)
        raise
    except TooManyMessages as error:
        parts.limits.senders.keep((workspace, message.device), True, error.seconds, begin)
        await drop_content(parts, workspace, message.content)
        raise
    if not accepted.is_new:
        await drop_content(parts, workspace, message.content)
    return accepted.name


async def _refuse_full(parts: Parts, workspace: WorkspaceID, size: int) -> None:
    """Refuse a message that does not fit into the quota of its sender.

    :raises QuotaExceeded: if it does not.
    """
    mailbox = await parts.database.read(mailboxes.find, workspace)
    if mailbox is not None and not mailbox.has_room(size):
        raise QuotaExceeded
