"""Sealed boxes and secret boxes."""

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mensagod.crypto.cryptostring import CryptoString
from mensagod.crypto.sealing import EncryptionKey, EncryptionPair, SealBroken, SecretKey
from mensagod.errors import BadValue, UnsupportedAlgorithm

PAIR = EncryptionPair.generate()
SECRET = SecretKey.generate()


class SealedBoxTests(SynchronousTestCase):
    @settings(max_examples=50, deadline=None)
    @given(st.binary())
    def test_round_trip(self, plain: bytes) -> None:
        box = EncryptionKey.from_cryptostring(PAIR.public).seal(plain)
        self.assertEqual(box.prefix, "CURVE25519")
        self.assertEqual(PAIR.open(box), plain)
        self.assertRaises(SealBroken, EncryptionPair.generate().open, box)

    @settings(deadline=None)
    @given(st.binary(min_size=1, max_size=120))
    def test_nothing_else_opens(self, raw: bytes) -> None:
        self.assertRaises(SealBroken, PAIR.open, CryptoString.of("CURVE25519", raw))

    def test_malformed(self) -> None:
        box = PAIR.encryption_key.seal(b"plain")
        raw = box.raw
        for broken in (
            CryptoString.of("XSALSA20", raw),
            CryptoString.of("CURVE25519", raw[:-1]),
            CryptoString.of("CURVE25519", raw + b"\0"),
            CryptoString.of("CURVE25519", raw[:47]),
            CryptoString.of("CURVE25519", bytes(32) + raw[32:]),
            CryptoString.from_text("CURVE25519:1"),
            CryptoString.from_text("CURVE25519:" + "~" * 80),
        ):
            self.assertRaises(SealBroken, PAIR.open, broken)

    def test_keys_of_another_kind(self) -> None:
        key = CryptoString.of("ED25519", b"a" * 32)
        self.assertRaises(UnsupportedAlgorithm, EncryptionKey.from_cryptostring, key)
        self.assertRaises(UnsupportedAlgorithm, EncryptionPair.from_cryptostrings, PAIR.public, key)
        for size in (31, 33):
            key = CryptoString.of("CURVE25519", b"a" * size)
            self.assertRaises(BadValue, EncryptionKey.from_cryptostring, key)
            self.assertRaises(BadValue, EncryptionPair.from_cryptostrings, PAIR.public, key)

    def test_a_key_that_nothing_can_be_sealed_to(self) -> None:
        """Such a key is refused when it comes, not at the first seal."""
        for raw in (bytes(32), b"\x01" + bytes(31), b"\xec" + b"\xff" * 30 + b"\x7f"):
            key = CryptoString.of("CURVE25519", raw)
            self.assertRaises(BadValue, EncryptionKey.from_cryptostring, key)

    def test_a_pair_is_read_back(self) -> None:
        pair = EncryptionPair.from_cryptostrings(PAIR.public, PAIR.private)
        self.assertEqual(pair, PAIR)
        self.assertEqual(pair.open(PAIR.encryption_key.seal(b"")), b"")
        other = EncryptionPair.generate().public
        self.assertRaises(BadValue, EncryptionPair.from_cryptostrings, other, PAIR.private)

    def test_repr_hides_the_private_key(self) -> None:
        self.assertNotIn(PAIR.private.data, repr(PAIR))
        self.assertNotIn("private", repr(PAIR))


class SecretBoxTests(SynchronousTestCase):
    @settings(max_examples=50, deadline=None)
    @given(st.binary())
    def test_round_trip(self, plain: bytes) -> None:
        box = SECRET.seal(plain)
        self.assertEqual(box.prefix, "XSALSA20")
        self.assertEqual(SECRET.open(box), plain)
        self.assertNotEqual(SECRET.seal(plain), box)
        self.assertRaises(SealBroken, SecretKey.generate().open, box)

    @settings(deadline=None)
    @given(st.binary(min_size=1, max_size=120))
    def test_nothing_else_opens(self, raw: bytes) -> None:
        self.assertRaises(SealBroken, SECRET.open, CryptoString.of("XSALSA20", raw))
        self.assertRaises(SealBroken, SECRET.open, CryptoString.of("CURVE25519", raw))

    def test_keys(self) -> None:
        self.assertEqual(SecretKey.from_cryptostring(SECRET.secret), SECRET)
        for key, error in (("ED25519", UnsupportedAlgorithm), ("XSALSA20", BadValue)):
            self.assertRaises(error, SecretKey.from_cryptostring, CryptoString.of(key, bytes(31)))

    def test_repr_hides_the_key(self) -> None:
        self.assertEqual(repr(SECRET), "SecretKey()")
