"""Checks of an envelope that a client sends, made before the message is accepted (spec 04, *Sending*)."""

import re
from datetime import datetime
from hashlib import blake2b

from attrs import frozen

from mensagod.delivery.envelopes import HEAD_LIMIT, read_head, without_send_time
from mensagod.delivery.labels import BadLabelAddress, UnreadableLabel, open_receiver, open_sender
from mensagod.delivery.tags import BadEnvelope, DeliveryTag, MessageType
from mensagod.errors import BadRequest
from mensagod.organization.keyring import Keyring
from mensagod.values.identity import Domain, MAddress, WAddress
from mensagod.wire.long_texts import Text

USER_SYSTEM_SUBTYPES = frozenset({"abusereport", "supportrequest"})
"""The subtypes of System messages that users may send."""

_PIECE = 1024 * 1024
_PAYLOAD_BEGIN = re.compile(rb"[A-Z0-9-]{1,24}\r?\n[^\s]")


class BadSubmission(BadRequest):
    """The text is not an envelope that this session may send."""


class UnreadableSender(BadSubmission):
    """The part for the sender's server does not open with the keys at hand, or has not its form."""


@frozen
class Letter:
    """A message as it goes into the queue.

    :ivar content: the envelope; its tag has no ``sendTime`` any more.
    :ivar recipient: its recipient, if the domain is ours; ``None`` also if it cannot be read, which delivery
        reports.
    :ivar send_time: the ``sendTime`` that the tag had, if any: the message is not delivered before.
    :ivar digest: BLAKE2b-256 of the envelope as it came: it tells whether the message came before.
    """

    content: bytes
    recipient: MAddress | WAddress | None
    send_time: datetime | None
    digest: bytes


def read_letter(
    text: Text, sender: WAddress, domain: Domain, keyring: Keyring, *, is_ours: bool = False
) -> Letter:
    """Check an envelope that ``sender`` sends to ``domain``. Call it in a thread if the text is long.

    :param is_ours: whether the domain is ours, so that the recipient can be read.
    :raises UnreadableSender: if the part that says so cannot be read.
    :raises BadSubmission: if the text is no envelope, or is not from ``sender`` to ``domain``.
    """
    content = text.encode()
    digest = blake2b(content, digest_size=32).digest()
    try:
        head = read_head(content[:HEAD_LIMIT])
        part = open_sender(head.tag, keyring.open)
    except BadEnvelope as error:
        raise BadSubmission("Message is not an envelope") from error
    except (UnreadableLabel, BadLabelAddress) as error:
        raise UnreadableSender("The sender part of the message cannot be read") from error
    if part.sender != sender:
        raise BadSubmission("The sender of the message is not this workspace")
    if part.recipient_domain != domain:
        raise BadSubmission("The message is not for this domain")
    check_type(head.tag)
    if not _PAYLOAD_BEGIN.match(content, head.length):
        raise BadSubmission("The message has no payload")
    if head.tag.send_time is not None:
        # In pieces: the copy of a long content would stop all other threads meanwhile.
        rest = (content[at : at + _PIECE] for at in range(head.length, len(content), _PIECE))
        content = b"".join((without_send_time(content[:HEAD_LIMIT]), *rest))
    recipient = _read_recipient(head.tag, sender, domain, keyring) if is_ours else None
    return Letter(content, recipient, head.tag.send_time, digest)


def _read_recipient(
    tag: DeliveryTag, sender: WAddress, domain: Domain, keyring: Keyring
) -> MAddress | WAddress | None:
    """Give the recipient of a message; ``None`` if delivery will find a fault."""
    try:
        receiver = open_receiver(tag, keyring.open)
    except (UnreadableLabel, BadLabelAddress):
        return None
    fits = receiver.to.domain == domain and receiver.sender_domain == sender.domain
    return receiver.to if fits else None


def check_type(tag: DeliveryTag) -> None:
    """Refuse a message that only servers may write.

    :raises BadSubmission: if it is one.
    """
    if tag.type is MessageType.SYSTEM and tag.sub_type not in USER_SYSTEM_SUBTYPES:
        raise BadSubmission("System messages come from servers only")
