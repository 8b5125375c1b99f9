"""Keys, addresses and tags that the tests of delivery share."""

from datetime import UTC, datetime

from hypothesis import strategies as st

from mensagod.crypto.cryptostring import CryptoString
from mensagod.crypto.hashing import hash_key
from mensagod.crypto.sealing import EncryptionPair
from mensagod.delivery.tags import DeliveryTag, MessageType
from mensagod.values.identity import WAddress

SENDER = WAddress.from_text("11111111-1111-1111-1111-111111111111/example.com")
RECIPIENT = WAddress.from_text("22222222-2222-2222-2222-222222222222/example.net")
DATE = datetime(2024, 3, 21, 12, 0, 0, tzinfo=UTC)

TAG = DeliveryTag(
    receiver=CryptoString("CURVE25519", "receiver"),
    sender=CryptoString("CURVE25519", "sender"),
    type=MessageType.USER,
    date=DATE,
    payload_key=CryptoString("CURVE25519", "payload"),
    key_hash=hash_key(CryptoString("CURVE25519", "key")),
)


def pair(keys: dict[str, str]) -> EncryptionPair:
    """Read a pair of a test vector."""
    return EncryptionPair.from_cryptostrings(
        CryptoString.from_text(keys["public"]), CryptoString.from_text(keys["private"])
    )


cryptostrings = st.builds(CryptoString.of, st.sampled_from(["CURVE25519", "XSALSA20"]), st.binary(min_size=1))
times = st.datetimes(
    min_value=datetime(1970, 1, 1),
    max_value=datetime(9999, 1, 1),
    timezones=st.just(UTC),
).map(lambda time: time.replace(microsecond=0))
sub_types = st.text(st.characters(categories=["L", "N", "P", "S", "Zs"]).filter(str.isprintable), min_size=1)
tags = st.builds(
    DeliveryTag,
    receiver=cryptostrings,
    sender=cryptostrings,
    type=st.sampled_from(MessageType),
    date=times,
    payload_key=cryptostrings,
    key_hash=cryptostrings.map(hash_key),
    sub_type=st.none() | sub_types,
    send_time=st.none() | times,
)
