"""The envelope: a delivery tag in clear text and a payload sealed to the recipient (spec 05, *Envelope*)."""

import re
from datetime import datetime
from typing import Protocol

from attrs import evolve, frozen

from mensagod.crypto.cryptostring import CryptoString
from mensagod.crypto.hashing import hash_key
from mensagod.crypto.sealing import EncryptionKey, SecretKey
from mensagod.delivery.labels import ReceiverPart, SenderPart
from mensagod.delivery.tags import BadEnvelope, DeliveryTag, MessageType
from mensagod.errors import BadValue
from mensagod.values.identity import MAddress, WAddress

PREAMBLE_LIMIT = 64 * 1024
TAG_LIMIT = 64 * 1024
_FIRST = b"MENSAGO"
_LAST = b"----------"
_FIRST_LINE = re.compile(b"^%b\r?\n" % _FIRST, re.MULTILINE)
_LAST_LINE = re.compile(b"^%b\r?\n" % _LAST, re.MULTILINE)
_PAYLOAD = re.compile(rb"([^\r\n]+)\r?\n([^\r\n]+)[\r\n]*")
HEAD_LIMIT = PREAMBLE_LIMIT + len(_FIRST) + 2 + TAG_LIMIT + len(_LAST) + 2
"""How many bytes of a message, from its beginning, are enough to read its tag."""


class Opener(Protocol):
    """A key that opens what was sealed with it: an encryption pair or a secret key."""

    def open(self, box: CryptoString, /) -> bytes:
        """Give the bytes that were sealed; :class:`BadValue` if the key does not fit."""


@frozen
class Head:
    """The lines of a message before its payload.

    :ivar length: in bytes, through the line of dashes; the payload begins there.
    """

    tag: DeliveryTag
    length: int


def read_head(data: bytes) -> Head:
    """Read the tag in the first :data:`HEAD_LIMIT` bytes of a message and find where its payload begins.

    Lines end in LF or CR LF. At most 64 KiB of lines are skipped before the line ``MENSAGO``. The tag has at
    most 64 KiB, its line ends included.

    :raises BadEnvelope: if the bytes do not begin an envelope.
    """
    begin = _line_end(data, 0, _FIRST_LINE, PREAMBLE_LIMIT)
    end = _line_end(data, begin, _LAST_LINE, TAG_LIMIT)
    tag = data[begin:end].rstrip(b"\r\n").removesuffix(_LAST)
    try:
        text = tag.decode()
    except UnicodeDecodeError as error:
        raise BadEnvelope("The delivery tag is not UTF-8") from error
    return Head(DeliveryTag.from_text(text), end)


def read_tag(head: bytes) -> DeliveryTag:
    """Read the tag in the first :data:`HEAD_LIMIT` bytes of a message.

    :raises BadEnvelope: if the bytes do not begin an envelope.
    """
    return read_head(head).tag


def _line_end(data: bytes, begin: int, line: re.Pattern[bytes], limit: int) -> int:
    """Give the end of the first ``line`` that starts at most ``limit`` bytes after ``begin``."""
    found = line.search(data, begin, begin + limit + len(line.pattern))
    if found is None or found.start() - begin > limit:
        raise BadEnvelope("No line MENSAGO, or no line of dashes, where one must be")
    return found.end()


def compose(tag: DeliveryTag, payload: CryptoString) -> str:
    """Write an envelope in the newest form, byte for byte as today's client does."""
    lines = (_head(tag), payload.prefix, payload.data, "", "")
    return "\r\n".join(lines)


def without_send_time(head: bytes) -> bytes:
    """Take ``sendTime`` out of a head, because today's clients fail on it (spec 05, *Delivery tag*).

    A head with ``sendTime`` is written anew in the newest form; any other is returned unchanged. The payload
    of the message begins at :attr:`Head.length` of the old head in both cases.

    :param head: the first :data:`HEAD_LIMIT` bytes of the message, or all of it.
    :raises BadEnvelope: if the bytes do not begin an envelope.
    """
    read = read_head(head)
    if read.tag.send_time is None:
        return head[: read.length]
    return f"{_head(evolve(read.tag, send_time=None))}\r\n".encode()


def _head(tag: DeliveryTag) -> str:
    """Write the lines before the payload, without the end of the last."""
    return f"{_FIRST.decode()}\r\n{tag}\r\n{_LAST.decode()}"


def seal_message(
    plain: bytes,
    sender: WAddress,
    recipient: MAddress | WAddress,
    *,
    sender_org_key: CryptoString,
    recipient_org_key: CryptoString,
    recipient_key: CryptoString,
    date: datetime,
    type: MessageType = MessageType.USER,  # noqa: A002  the word of the tag
    sub_type: str | None = None,
    send_time: datetime | None = None,
) -> str:
    """Write the envelope of a message: the payload under a new key, that key sealed to the recipient.

    :param plain: the message, usually JSON.
    :param recipient_key: the ``Encryption-Key`` of the recipient's keycard.
    :param date: when the message was written.
    :raises BadValue: if a key is not one.
    """
    receiver = ReceiverPart(recipient, sender.domain)
    payload_key = SecretKey.generate()
    tag = DeliveryTag(
        receiver=_seal(recipient_org_key, str(receiver)),
        sender=_seal(sender_org_key, str(SenderPart(sender, recipient.domain))),
        type=type,
        date=date,
        payload_key=_seal(recipient_key, str(payload_key.secret)),
        key_hash=hash_key(recipient_key),
        sub_type=sub_type,
        send_time=send_time,
    )
    return compose(tag, payload_key.seal(plain))


def _seal(key: CryptoString, text: str) -> CryptoString:
    """Seal ``text`` to the public ``key``."""
    return EncryptionKey.from_cryptostring(key).seal(text.encode())


def open_payload(envelope: bytes, recipient: Opener) -> bytes:
    """Open the payload of a whole envelope with the recipient's key.

    :raises BadEnvelope: if it is not an envelope.
    :raises BadValue: if the key does not open it.
    """
    head = read_head(envelope)
    match = _PAYLOAD.fullmatch(envelope, head.length)
    if match is None:
        raise BadEnvelope("The payload is not a line with a prefix and one with data")
    try:
        payload = CryptoString.from_text(f"{match[1].decode('ascii')}:{match[2].decode('ascii')}")
    except ValueError as error:
        raise BadEnvelope("The payload is not a CryptoString in two lines") from error
    return _payload_key(head.tag, recipient).open(payload)


def _payload_key(tag: DeliveryTag, recipient: Opener) -> SecretKey:
    """Open the key of the payload."""
    try:
        text = recipient.open(tag.payload_key).decode("ascii")
    except UnicodeDecodeError as error:
        raise BadValue("The payload key is not a text") from error
    return SecretKey.from_cryptostring(CryptoString.from_text(text))
