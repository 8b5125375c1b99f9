"""Messages for the tests of sending and delivery, right ones and wrong ones."""

from datetime import UTC, datetime

from mensagod.crypto.cryptostring import CryptoString
from mensagod.crypto.hashing import hash_key
from mensagod.crypto.sealing import EncryptionPair, SecretKey
from mensagod.delivery.envelopes import compose
from mensagod.delivery.labels import ReceiverPart, SenderPart
from mensagod.delivery.tags import DeliveryTag, MessageType
from mensagod.values.identity import Domain, MAddress, WAddress

STRANGER = EncryptionPair.generate()
_PAYLOAD_KEY = SecretKey.generate()


def letter(
    organization: EncryptionPair,
    sender: WAddress,
    to: MAddress | WAddress,
    *,
    recipient_domain: Domain | None = None,
    sender_domain: Domain | None = None,
    receiver: str | None = None,
    sender_part: str | None = None,
    receiver_key: EncryptionPair | None = None,
    sender_key: EncryptionPair | None = None,
    type: MessageType = MessageType.USER,  # noqa: A002  the word of the tag
    sub_type: str | None = None,
    send_time: datetime | None = None,
    payload: bytes = b"hello",
) -> str:
    """Write an envelope; whatever is given differs from what would be right."""
    if receiver is None:
        receiver = str(ReceiverPart(to, sender_domain or sender.domain))
    if sender_part is None:
        sender_part = str(SenderPart(sender, recipient_domain or to.domain))
    tag = DeliveryTag(
        receiver=_sealed(receiver_key or organization, receiver),
        sender=_sealed(sender_key or organization, sender_part),
        type=type,
        date=datetime.now(UTC),
        payload_key=_sealed(STRANGER, str(_PAYLOAD_KEY.secret)),
        key_hash=hash_key(STRANGER.public),
        sub_type=sub_type,
        send_time=send_time,
    )
    return compose(tag, _PAYLOAD_KEY.seal(payload))


def _sealed(key: EncryptionPair, text: str) -> CryptoString:
    return key.encryption_key.seal(text.encode())
