"""Signatures."""

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mensagod.crypto.cryptostring import CryptoString
from mensagod.crypto.signing import SigningPair, VerifyKey
from mensagod.errors import BadValue, UnsupportedAlgorithm


class SigningTests(SynchronousTestCase):
    @settings(max_examples=50, deadline=None)
    @given(st.binary())
    def test_round_trip(self, data: bytes) -> None:
        """Every signature verifies, of no data too, and none over other data or by another key."""
        pair = SigningPair.generate()
        signature = pair.sign(data)
        self.assertTrue(VerifyKey.from_cryptostring(pair.public).verify(data, signature))
        self.assertFalse(pair.verify_key.verify(data + b"\0", signature))
        self.assertFalse(SigningPair.generate().verify_key.verify(data, signature))

    @settings(deadline=None)
    @given(st.binary(min_size=1, max_size=80) | st.binary(min_size=64, max_size=64))
    def test_what_is_no_signature_does_not_verify(self, raw: bytes) -> None:
        key = SigningPair.generate().verify_key
        self.assertFalse(key.verify(b"data", CryptoString.of("ED25519", raw)))

    def test_malformed_signatures_do_not_verify(self) -> None:
        pair = SigningPair.generate()
        raw = pair.sign(b"data").raw
        for signature in (
            CryptoString.of("CURVE25519", raw),
            CryptoString.of("ED25519", raw[:-1]),
            CryptoString.of("ED25519", raw + b"\0"),
            CryptoString.from_text("ED25519:" + "~" * 80),
            CryptoString.from_text("ED25519:1"),
        ):
            self.assertFalse(pair.verify_key.verify(b"data", signature))

    def test_keys_of_another_kind(self) -> None:
        for text in ("CURVE25519", "RSA"):
            key = CryptoString.of(text, bytes(32))
            self.assertRaises(UnsupportedAlgorithm, VerifyKey.from_cryptostring, key)
            self.assertRaises(UnsupportedAlgorithm, SigningPair.from_private, key)
        for size in (31, 33, 64):
            key = CryptoString.of("ED25519", bytes(size))
            self.assertRaises(BadValue, VerifyKey.from_cryptostring, key)
            self.assertRaises(BadValue, SigningPair.from_private, key)

    def test_a_point_that_is_no_key_verifies_nothing(self) -> None:
        for raw in (bytes(32), b"\x01" + bytes(31), b"\xff" * 32):
            key = VerifyKey.from_cryptostring(CryptoString.of("ED25519", raw))
            self.assertFalse(key.verify(b"data", CryptoString.of("ED25519", bytes(64))))
            self.assertFalse(key.verify(b"data", CryptoString.of("ED25519", raw + bytes(32))))

    def test_a_pair_is_read_back(self) -> None:
        pair = SigningPair.generate()
        self.assertEqual(SigningPair.from_private(pair.private), pair)
        self.assertEqual(SigningPair.from_cryptostrings(pair.public, pair.private), pair)
        other = SigningPair.generate()
        self.assertRaises(BadValue, SigningPair.from_cryptostrings, other.public, pair.private)

    def test_repr_hides_the_seed(self) -> None:
        pair = SigningPair.generate()
        self.assertNotIn(pair.private.data, repr(pair))
        self.assertNotIn(repr(pair.private.raw), repr(pair))
        self.assertNotIn("private", repr(pair))
