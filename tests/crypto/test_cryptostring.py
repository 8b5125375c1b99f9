"""Base85 and CryptoStrings."""

import base64

from hypothesis import given, settings
from hypothesis import strategies as st

from mensagod.crypto import base85
from mensagod.crypto.cryptostring import CryptoString
from mensagod.errors import BadValue, UnsupportedAlgorithm
from tests.refusing import RefusingCase

few = settings(deadline=None)
base85_text = st.text(st.sampled_from(base85.ALPHABET))


class Base85Tests(RefusingCase):
    def test_lengths(self) -> None:
        """n bytes of a last group become n+1 characters; 5n+1 characters are nothing."""
        self.assertEqual(
            [len(base85.encode(bytes(size))) for size in range(10)], [0, 2, 3, 4, 5, 7, 8, 9, 10, 12]
        )
        self.refuses(base85.decode, "0", "000000", "VPa!s0")

    def test_overflow(self) -> None:
        self.assertEqual(base85.decode("|NsC0"), b"\xff" * 4)
        self.refuses(base85.decode, "|NsC1", "~~~~~", "~~", "~~~", "~~~~", "VPa!s~~")

    def test_foreign_characters(self) -> None:
        self.refuses(
            base85.decode,
            'ab"cd',
            "ab cd",
            "ab\ncd",
            "ab'cd",
            "ab,cd",
            "ébcde",
            "\x7fbcde",
            "ab\0cd",
            "\u0660\u0660",
        )

    @few
    @given(st.binary())
    def test_round_trip(self, data: bytes) -> None:
        self.assertEqual(base85.decode(base85.encode(data)), data)

    @few
    @given(base85_text | st.text(st.characters()) | st.binary().map(base85.encode))
    def test_standard_library(self, text: str) -> None:
        """What it reads, and what it refuses, is read and refused; but for a length that encodes nothing."""
        try:
            expected = None if len(text) % 5 == 1 else base64.b85decode(text)
        except ValueError:
            expected = None
        try:
            data = base85.decode(text)
        except BadValue:
            self.assertIsNone(expected)
        else:
            self.assertEqual(data, expected)

    @few
    @given(base85_text | st.text())
    def test_full_groups_have_one_spelling(self, text: str) -> None:
        """Any text gives bytes or our error; only a last group that is not full has several spellings."""
        try:
            data = base85.decode(text)
        except BadValue:
            return
        full = len(text) // 5 * 5
        self.assertEqual(base85.encode(data)[:full], text[:full])
        self.assertEqual(len(base85.encode(data)), len(text))


class CryptoStringTests(RefusingCase):
    def test_parts(self) -> None:
        value = CryptoString.from_text("BLAKE2B-256:VPa!s")
        self.assertEqual((value.prefix, value.data, value.raw), ("BLAKE2B-256", "VPa!s", b"abcd"))
        self.assertEqual(str(value), "BLAKE2B-256:VPa!s")
        self.assertEqual(CryptoString.of("BLAKE2B-256", b"abcd"), value)

    def test_form(self) -> None:
        self.refuses(
            CryptoString.from_text,
            "",
            "X",
            "X:",
            ":abc",
            "x:abc",
            "A_B:abc",
            "X:abc\n",
            "X:a bc",
            "X:a:bc",
            "X:a,bc",
            'X:a"bc',
            "X:é",
            "Ä:abc",
            "A" * 25 + ":abc",
        )
        self.assertEqual(CryptoString.from_text("A" * 24 + ":abc").prefix, "A" * 24)

    def test_what_does_not_decode_is_still_a_cryptostring(self) -> None:
        """Where a value is opaque only its format counts; reading it is another matter."""
        self.assertRaises(BadValue, lambda: CryptoString.from_text("X:1").raw)
        self.assertRaises(BadValue, lambda: CryptoString.from_text("X:~~~~~").raw)

    def test_only_what_has_the_form_is_made(self) -> None:
        for prefix, raw in (("x", b"a"), ("", b"a"), ("A" * 25, b"a"), ("A\n", b"a"), ("A", b"")):
            self.assertRaises(BadValue, CryptoString.of, prefix, raw)

    def test_an_exact_size(self) -> None:
        for size in range(1, 12):
            value = CryptoString.of("X", b"a" * size)
            self.assertEqual(value.exactly(size), b"a" * size)
            self.assertRaises(BadValue, value.exactly, size - 1)
            self.assertRaises(BadValue, value.exactly, size + 1)

    def test_the_supported_prefixes_are_listed(self) -> None:
        value = CryptoString.from_text("X:abc")
        value.require(["A", "X"])
        refusal = self.assertRaises(UnsupportedAlgorithm, value.require, ["A", "B"])
        self.assertIn("A, B", str(refusal))

    def test_repr_hides_the_data(self) -> None:
        self.assertNotIn("VPa", repr(CryptoString.from_text("X:VPa!s")))

    @few
    @given(st.from_regex(r"[A-Z0-9-]{1,24}", fullmatch=True).filter(str.isascii), st.binary(min_size=1))
    def test_round_trip(self, prefix: str, raw: bytes) -> None:
        value = CryptoString.of(prefix, raw)
        self.assertEqual(CryptoString.from_text(str(value)), value)
        self.assertEqual(value.raw, raw)

    @few
    @given(st.text() | base85_text.map("X:{}".format))
    def test_a_value_or_bad_value(self, text: str) -> None:
        try:
            self.assertEqual(str(CryptoString.from_text(text)), text)
        except BadValue:
            self.assertNotRegex(text, r"\AX:[0-9A-Za-z]+\Z")
