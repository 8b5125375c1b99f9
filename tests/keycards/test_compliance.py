"""Completeness and ranges: 412, and what a base entry must and must not have."""

from datetime import date, timedelta
from typing import TypeVar

from twisted.trial.unittest import SynchronousTestCase

from mensagod.crypto.cryptostring import CryptoString
from mensagod.errors import BadValue
from mensagod.keycards.compliance import (
    check_base,
    check_body,
    check_complete,
    check_sealed,
    check_time,
    required_authentication,
)
from mensagod.keycards.entries import Entry, UserEntry
from mensagod.keycards.errors import BadKeycardData, InvalidSignature, NoncompliantKeycard
from mensagod.keycards.fields import check_client_name
from mensagod.keycards.making import make_user_root, revoke_user, rotate_user
from tests.keycards.cards import DAY, DOMAIN, START, WORKSPACE, Organization, User, user_keys

E = TypeVar("E", bound=Entry)


def without(entry: E, name: str) -> E:
    return entry.from_fields({key: value for key, value in entry.fields.items() if key != name})


class BodyTests(SynchronousTestCase):
    """A body is complete and in range, or it is 412."""

    def setUp(self) -> None:
        self.organization = Organization()
        self.user = User(self.organization)

    def test_required_fields(self) -> None:
        """Without any one required field an entry is noncompliant; without an optional one it is not."""
        for entry in (self.organization.current, self.user.current):
            for rule in entry.schema.body[1:]:
                if rule.required:
                    self.assertRaises(NoncompliantKeycard, check_body, without(entry, rule.name))
                else:
                    check_body(without(entry, rule.name))

    def test_ranges(self) -> None:
        """Index from 1, 1 to 30 days to live, Expires from the Timestamp's day to 1095 days later."""
        entry = self.user.current
        latest = date(2024, 3, 1) + timedelta(days=1095)
        for name, value in (
            ("Index", "0"),
            ("Index", "2147483648"),
            ("Time-To-Live", "2147483648"),
            ("Time-To-Live", "0"),
            ("Time-To-Live", "31"),
            ("Expires", "2024-02-29"),
            ("Expires", str(latest + DAY)),
        ):
            self.assertRaises(NoncompliantKeycard, check_body, entry.with_line(name, value))
        for name, value in (
            ("Time-To-Live", "1"),
            ("Time-To-Live", "30"),
            ("Expires", "2024-03-01"),
            ("Expires", str(latest)),
        ):
            check_body(entry.with_line(name, value))

    def test_required_authentication(self) -> None:
        """Which lines an entry has depends on its place, its type and whether it revokes."""
        organization, user = self.organization, self.user
        organization.rotate(START)
        organization.revoke(START)
        user.rotate(START)
        user.revoke(START)
        last = ["Hash", "Organization-Signature"]
        expected = [last, ["Custody-Signature", "Previous-Hash", *last], ["Previous-Hash", *last]]
        self.assertEqual([required_authentication(entry) for entry in organization.card], expected)
        last = ["Organization-Signature", "Previous-Hash", "Hash", "User-Signature"]
        self.assertEqual(
            [required_authentication(entry) for entry in user.card],
            [last, ["Custody-Signature", *last], last],
        )

    def test_authentication_lines(self) -> None:
        """Without any one authentication line that it must have an entry is incomplete."""
        self.organization.rotate(START)
        self.user.rotate(START)
        for entry in (*self.organization.card, *self.user.card):
            check_sealed(entry)
            for name in required_authentication(entry):
                self.assertRaises(NoncompliantKeycard, check_complete, without(entry, name))

    def test_revocation_names_one_entry(self) -> None:
        """The Previous-Hash of a revocation must be what it revokes."""
        self.user.revoke(START)
        root, revocation = self.user.card
        check_complete(revocation)
        other = revocation.with_line("Revoke", self.organization.current.hash)
        self.assertNotEqual(root.hash, other.revokes)
        self.assertRaises(NoncompliantKeycard, check_complete, other)

    def test_sealed(self) -> None:
        """A wrong hash is 412, a signature by another key 413."""
        entry = self.user.current
        other = user_keys(99).contact_signing.sign(entry.text_before("User-Signature"))
        self.assertRaises(InvalidSignature, check_sealed, entry.with_line("User-Signature", other))
        wrong = entry.with_line("Hash", self.organization.current.hash)
        self.assertRaises(NoncompliantKeycard, check_sealed, wrong)

    def test_expiry(self) -> None:
        """An entry may be used through the day that it names."""
        entry = self.user.current
        self.assertFalse(entry.is_expired(entry.expires))
        self.assertTrue(entry.is_expired(entry.expires + DAY))


class BaseTests(SynchronousTestCase):
    """What ADDENTRY and REVOKE take as Base-Entry."""

    def setUp(self) -> None:
        self.user = User(Organization())
        self.keys = user_keys(2)
        self.root = make_user_root(self.keys, WORKSPACE, DOMAIN, START)
        old = self.user.keys[0].contact_signing
        self.rotation = rotate_user(self.user.current, old, self.keys, START)
        self.revocation = revoke_user(self.user.current, self.keys, START)

    def test_accepted(self) -> None:
        """A root, a rotation and, where it is wanted, a revocation."""
        check_base(self.root)
        check_base(self.rotation)
        check_base(self.revocation, revocation=True)

    def test_lines_of_others(self) -> None:
        """A line that the server adds, or the user later, is 411 in a base entry."""
        complete = self.user.current
        for name in ("Organization-Signature", "Previous-Hash", "Hash", "User-Signature"):
            base = self.root.with_line(name, complete.authentication(name))
            self.assertRaises(BadKeycardData, check_base, base)

    def test_revoke(self) -> None:
        """Revoke is 411 in ADDENTRY, and its lack 412 in REVOKE."""
        self.assertRaises(BadKeycardData, check_base, self.revocation)
        self.assertRaises(NoncompliantKeycard, check_base, self.rotation, revocation=True)

    def test_custody(self) -> None:
        """An entry that follows another has a Custody-Signature."""
        self.assertRaises(NoncompliantKeycard, check_base, without(self.rotation, "Custody-Signature"))

    def test_time(self) -> None:
        """The Timestamp is within a day of now, either way, and the entry has not expired."""
        check_time(self.root, START + DAY)
        check_time(self.root, START - DAY)
        second = timedelta(seconds=1)
        self.assertRaises(NoncompliantKeycard, check_time, self.root, START + DAY + second)
        self.assertRaises(NoncompliantKeycard, check_time, self.root, START - DAY - second)
        short = self.root.with_line("Expires", "2024-03-01")
        check_time(short, START)
        self.assertRaises(NoncompliantKeycard, check_time, short, START + DAY)

    def test_useless_keys(self) -> None:
        """A key that nothing can be sealed to is 411."""
        useless = CryptoString.of("CURVE25519", bytes(32))
        for name in ("Encryption-Key", "Contact-Request-Encryption-Key"):
            self.assertRaises(BadKeycardData, check_base, self.root.with_line(name, useless))


class NameTests(SynchronousTestCase):
    """Names, and those that today's clients cannot read."""

    def test_client_names(self) -> None:
        """Fewer than four characters, or a blank as second last, are refused for an organization."""
        for name in ("Example, Inc.", "Anna", "x" * 64, "\u00e9\u00e9\u00e9\u00e9"):
            check_client_name(name)
        for name in ("", "Bob", " Anna", "Anna ", "Plan B", "Plan\u00a0B", "x" * 65, "An\nna", "\u200b" * 4):
            self.assertRaises(BadValue, check_client_name, name)

    def test_local_user_ids(self) -> None:
        """Letters, marks and digits of any script, dashes, underscores and single dots."""
        root = make_user_root(user_keys(1), WORKSPACE, DOMAIN, START)
        for text in (
            "corbin",
            "Se\u00f1or.Jones",
            "a-b_c.9",
            "\u0939\u093f\u0928\u094d\u0926\u0940",
            "x" * 64,
        ):
            self.assertEqual(root.with_line("Local-User-ID", text).local_user_id, text)
        self.assertIsInstance(root, UserEntry)
