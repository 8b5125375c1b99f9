"""Hashes."""

from hypothesis import given, settings
from hypothesis import strategies as st

from mensagod.crypto.cryptostring import CryptoString
from mensagod.crypto.hashing import HASH_ALGORITHMS, Hasher, hash_bytes, hash_key, parse_hash
from mensagod.errors import BadValue, UnsupportedAlgorithm
from tests.refusing import RefusingCase


class HashTests(RefusingCase):
    def test_the_table_of_the_specification(self) -> None:
        self.assertEqual(
            dict(HASH_ALGORITHMS),
            {
                "BLAKE2B-256": 32,
                "BLAKE2B-512": 64,
                "SHA-256": 32,
                "SHA-512": 64,
                "SHA3-256": 32,
                "SHA3-512": 64,
            },
        )

    def test_what_is_made_parses(self) -> None:
        for algorithm in HASH_ALGORITHMS:
            made = hash_bytes(b"abc", algorithm)
            self.assertEqual(parse_hash(str(made)), made)

    def test_a_key_is_hashed_with_its_prefix(self) -> None:
        key = CryptoString.of("CURVE25519", bytes(32))
        self.assertEqual(hash_key(key), hash_bytes(str(key).encode("ascii")))

    def test_an_unknown_algorithm(self) -> None:
        """309 and 400 are told apart, and the answer lists what is supported."""
        for text in ("BLAKE2B-128:rZ6h7+V2$mn}WG%K6rL(", "K12-256:abc", "MD5:0"):
            refusal = self.assertRaises(UnsupportedAlgorithm, parse_hash, text)
            self.assertIn("BLAKE2B-256, BLAKE2B-512", str(refusal))
        self.assertRaises(UnsupportedAlgorithm, hash_bytes, b"", "MD5")
        self.assertRaises(UnsupportedAlgorithm, Hasher, "blake2b-256")

    def test_a_wrong_length(self) -> None:
        for algorithm, size in HASH_ALGORITHMS.items():
            for wrong in (size - 1, size + 1, 96 - size):
                refusal = self.assertRaises(
                    BadValue, parse_hash, str(CryptoString.of(algorithm, bytes(wrong)))
                )
                self.assertNotIsInstance(refusal, UnsupportedAlgorithm)
        self.refuses(parse_hash, "", "SHA-256", "SHA-256:" + "~" * 40, "SHA-256:" + "0" * 1_000_000)

    @settings(deadline=None)
    @given(st.lists(st.binary()), st.sampled_from(sorted(HASH_ALGORITHMS)))
    def test_pieces_equal_the_whole(self, pieces: list[bytes], algorithm: str) -> None:
        hasher = Hasher(algorithm)
        for piece in pieces:
            hasher.update(piece)
        self.assertEqual(hasher.digest(), hash_bytes(b"".join(pieces), algorithm))
        self.assertEqual(hasher.digest(), hasher.digest())

    @settings(deadline=None)
    @given(st.text() | st.text(st.sampled_from("SHA-256:0~ab"), max_size=60))
    def test_a_value_or_bad_value(self, text: str) -> None:
        try:
            self.assertEqual(str(parse_hash(text)), text)
        except BadValue as refusal:
            self.assertTrue(str(refusal))
