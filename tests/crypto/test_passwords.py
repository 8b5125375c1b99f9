"""Passwords and codes."""

from hashlib import sha256

from hypothesis import given, settings
from hypothesis import strategies as st

from mensagod.crypto.passwords import (
    CODE_WORDS,
    WORDS,
    LoginParameters,
    PasswordHasher,
    login_parameters,
    make_code,
    parse_code,
    parse_password_hash,
    word_list,
)
from mensagod.errors import BadValue
from tests.refusing import RefusingCase

CHEAP = PasswordHasher(memory=8, time=1, parallelism=1)
few = settings(deadline=None)


class HasherTests(RefusingCase):
    @few
    @given(st.text() | st.text(st.characters(codec=None)))
    def test_round_trip(self, secret: str) -> None:
        stored = CHEAP.hash(secret)
        self.assertTrue(CHEAP.verify(stored, secret))
        self.assertFalse(CHEAP.verify(stored, secret + "x"))
        self.assertFalse(CHEAP.verify(CHEAP.dummy, secret))

    @few
    @given(st.text() | st.text(st.sampled_from("$argon2idv=19m8,tp1AAAA\0é"), max_size=80))
    def test_a_malformed_stored_hash_matches_nothing(self, stored: str) -> None:
        self.assertFalse(CHEAP.verify(stored, "secret"))
        self.assertTrue(CHEAP.needs_rehash(stored))

    def test_malformed_parameters(self) -> None:
        salt, digest = "A" * 22, "A" * 43
        for parameters in (
            "m=0,t=1,p=1",
            "m=8,t=0,p=1",
            "m=8,t=1,p=0",
            "m=8,t=1,p=-1",
            "m=8,t=1",
            f"m={'9' * 5000},t=1,p=1",
        ):
            self.assertFalse(CHEAP.verify(f"$argon2id$v=19${parameters}${salt}${digest}", "secret"))

    def test_other_parameters_still_verify(self) -> None:
        """A stored hash outlives a change of policy, which then asks for a new one."""
        other = PasswordHasher(memory=16, time=2, parallelism=2)
        stored = other.hash("secret")
        self.assertTrue(CHEAP.verify(stored, "secret"))
        self.assertTrue(CHEAP.needs_rehash(stored))
        self.assertFalse(other.needs_rehash(stored))

    def test_the_policy_stands_in_the_hash(self) -> None:
        stored = PasswordHasher(memory=24, time=2, parallelism=3).hash("secret")
        self.assertTrue(stored.startswith("$argon2id$v=19$m=24,t=2,p=3$"))

    def test_the_dummy_costs_what_a_real_hash_costs(self) -> None:
        """It has the policy's parameters and sizes, and is another one in each process."""
        self.assertFalse(CHEAP.needs_rehash(CHEAP.dummy))
        self.assertEqual(len(CHEAP.dummy), len(CHEAP.hash("secret")))
        self.assertNotEqual(CHEAP.dummy, PasswordHasher(8, 1, 1).dummy)

    def test_repr_hides_everything(self) -> None:
        self.assertNotIn(CHEAP.dummy, repr(CHEAP))


class LoginParametersTests(RefusingCase):
    def test_an_encoded_hash_wins_over_the_fields(self) -> None:
        for name in ("argon2id", "argon2i", "argon2d"):
            found = login_parameters(
                f"${name}$v=19$m=65536,t=2,p=1$c2FsdHNhbHQ$aGFzaGhhc2g", "OLD", "old", "m=1"
            )
            self.assertEqual(found, LoginParameters(name.upper(), "c2FsdHNhbHQ", "m=65536,t=2,p=1"))

    def test_other_hashes_leave_the_fields(self) -> None:
        for text in (
            "opaque opaque opaque",
            "$argon2id$v=19$m=1,t=1,p=1$salt",
            "$argon2id$v=18$m=1,t=1,p=1$salt$hash",
            "$argon2x$v=19$m=1,t=1,p=1$salt$hash",
            "$argon2id$v=19$t=1,m=1,p=1$salt$hash",
            "$argon2id$v=19$m=1,t=1,p=1$salt$hash\n",
            "$argon2id$v=19$m=1,t=1,p=1$sa lt$hash",
        ):
            self.assertEqual(login_parameters(text, "A", "s", "p"), LoginParameters("A", "s", "p"))


class LengthTests(RefusingCase):
    def test_password_hash(self) -> None:
        for text in ("é" * 16, "a" * 128):
            self.assertEqual(parse_password_hash(text), text)
        self.refuses(
            parse_password_hash,
            "",
            "a" * 15,
            "a" * 129,
            "a" * 20 + "\0",
            "a" * 20 + "\ud800",
            "a" * 10_000_000,
        )

    def test_code(self) -> None:
        for text in ("é" * 8, "a" * 128):
            self.assertEqual(parse_code(text), text)
        self.refuses(parse_code, "", "a" * 7, "a" * 129, "a" * 20 + "\0", "\udfff" * 20)


class CodeTests(RefusingCase):
    def test_words(self) -> None:
        code = make_code(6)
        self.assertEqual(len(code.split("-")), 6)
        self.assertTrue(set(code.split("-")) <= set(word_list()))
        self.assertNotEqual(make_code(6), make_code(6))

    def test_every_count_gives_a_code(self) -> None:
        """The shortest and the longest words keep the length that a code may have."""
        lengths = sorted(map(len, word_list()))
        for words in CODE_WORDS:
            self.assertEqual(parse_code(make_code(words)).count("-"), words - 1)
            self.assertRaises(BadValue, parse_code, "")
            for length in (lengths[0], lengths[-1]):
                parse_code("-".join(["w" * length] * words))

    def test_other_counts_are_a_fault(self) -> None:
        for words in (-1, 0, 2, 13):
            self.assertRaises(ValueError, make_code, words)

    def test_the_list_is_a_dice_list(self) -> None:
        """Four words of 7776 have a dash of their own and are left out."""
        self.assertEqual(len(word_list()), 7772)
        self.assertEqual(len(set(word_list())), 7772)

    def test_word_file(self) -> None:
        """The file is the EFF's long list, word by word, and its licence lies beside it."""
        content = WORDS.read_bytes()
        self.assertEqual(len(content.split()), 7776)
        self.assertEqual(
            sha256(content).hexdigest(), "6d557f0693958fb5e650b68b5bee585eb82cf4da32965505c789e924743bc522"
        )
        self.assertIn("CC BY 3.0", WORDS.with_name("LICENSE.txt").read_text(encoding="ascii"))
