"""The test vectors: every entry of ``keycards.json``, and what the newest reference made."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from mensagod.crypto.cryptostring import CryptoString
from mensagod.crypto.signing import SigningPair
from mensagod.keycards.carddata import compose_card_data, split_card_data
from mensagod.keycards.compliance import check_base, check_sealed
from mensagod.keycards.entries import Entry, OrganizationEntry, UserEntry
from mensagod.keycards.errors import BadKeycardData, InvalidSignature, KeycardFault, NoncompliantKeycard
from mensagod.keycards.making import countersign, finish_user
from mensagod.keycards.organizations import OrganizationHistory
from mensagod.keycards.signatures import check_own_signature, check_signature
from mensagod.keycards.verification import Verification, verify_card
from mensagod.status import Status
from tests.keycards.cards import vectors

NOW = datetime(2024, 3, 10, tzinfo=UTC)
REFERENCE_NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
OURS = vectors("keycards.json")
REFERENCE = vectors("reference-keycards.json")

REFUSED: dict[str, type[KeycardFault]] = {
    "hash changed": NoncompliantKeycard,
    "body changed after signing": NoncompliantKeycard,
    "authentication lines out of order": BadKeycardData,
    "field twice": BadKeycardData,
    "Type not first": BadKeycardData,
    "bare LF": BadKeycardData,
    "time to live 31": NoncompliantKeycard,
    "leading blank in a value": BadKeycardData,
    "custody signature missing on index 2": NoncompliantKeycard,
    "signed by a key that is not the entry's own": InvalidSignature,
}
"""Why each entry of ``invalid`` must be refused, and so with which condition."""


def history(texts: Iterable[str]) -> OrganizationHistory:
    return OrganizationHistory.from_entries(OrganizationEntry.from_text(text) for text in texts)


def statuses(verification: Verification) -> list[list[Status]]:
    return [[fault.condition.status for fault in report.faults] for report in verification.reports]


class OurVectorTests(SynchronousTestCase):
    """``keycards.json``, with the clock at 2024-03-10."""

    def test_organization(self) -> None:
        """The organization's root, rotation and revocation verify."""
        verification = verify_card(OURS["organization"], NOW)
        self.assertEqual(statuses(verification), [[], [], []])
        self.assertTrue(verification.is_usable)
        self.assertEqual(
            [str(Entry.from_text(text).hash) for text in OURS["organization"]], OURS["organization_hashes"]
        )

    def test_user(self) -> None:
        """The user's root, rotation and revocation verify with the card of the organization that signed them.

        That is the card as it stood before its own revocation: all three are signed with
        the key of its second entry.
        """
        verification = verify_card(OURS["user"], NOW, history(OURS["organization"][:2]))
        self.assertEqual(statuses(verification), [[], [], []])
        self.assertTrue(verification.verifies)
        self.assertEqual([str(Entry.from_text(text).hash) for text in OURS["user"]], OURS["user_hashes"])

    def test_user_after_organization_revocation(self) -> None:
        """Once the organization has revoked that key, none of the three verifies any more."""
        verification = verify_card(OURS["user"], NOW, history(OURS["organization"]))
        self.assertEqual(statuses(verification), [[Status.INVALID_SIGNATURE]] * 3)
        self.assertFalse(verification.is_usable)

    def test_server_part(self) -> None:
        """From each base entry the server makes the very lines of the vectors."""
        organization = OrganizationEntry.from_text(OURS["organization"][1])
        private = CryptoString.from_text(OURS["keys"]["org2.primary"]["private"])
        signer = SigningPair.from_private(private)
        previous: UserEntry | None = None
        for base, text in zip(OURS["user_base_entries"], OURS["user"], strict=True):
            expected = UserEntry.from_text(text)
            entry = UserEntry.from_text(base)
            check_base(entry, revocation=entry.revokes is not None)
            signed = countersign(entry, signer, organization, previous)
            previous = finish_user(signed, expected.authentication("User-Signature"))
            self.assertEqual(previous.text, text)

    def test_card_data(self) -> None:
        """The framed card is the one of the vectors, and comes apart again."""
        self.assertEqual(compose_card_data(OURS["organization"]), OURS["card_data"])
        self.assertEqual(list(split_card_data(OURS["card_data"])), OURS["organization"])

    def test_invalid(self) -> None:
        """Every invalid entry is refused, and for its reason."""
        self.assertEqual({invalid["why"] for invalid in OURS["invalid"]}, set(REFUSED))
        for invalid in OURS["invalid"]:
            error = self.assertRaises(KeycardFault, self.read_and_check, invalid["entry"])
            self.assertIs(type(error), REFUSED[invalid["why"]], invalid["why"])

    def read_and_check(self, text: str) -> None:
        check_sealed(Entry.from_text(text))


class ReferenceVectorTests(SynchronousTestCase):
    """``reference-keycards.json``: the reference's entries verify, where it does not err.

    The differences, each shown by a test below, and why (its ``notes``, and spec 03):

    * Its organization's revocation has no Previous-Hash and keeps a secondary key: refused with 411.
    * Its user's revocation is right in itself, but the organization that signed it has that broken card.
    * ``text_of_same_object_later`` is an entry whose Expires was changed after it was signed.
    * It also accepts a User-Signature made with the old key: we want the new one, as its ADDENTRY does.
    """

    organization: list[dict[str, Any]] = REFERENCE["organization"]["entries"]
    user: list[dict[str, Any]] = REFERENCE["user"]["entries"]

    def texts(self, entries: list[dict[str, Any]], count: int) -> list[str]:
        return [entry["text"] for entry in entries[:count]]

    def test_rotation_verifies(self) -> None:
        """Root and rotation of both cards verify."""
        organization = self.texts(self.organization, 2)
        self.assertEqual(statuses(verify_card(organization, REFERENCE_NOW)), [[], []])
        user = self.texts(self.user, 2)
        verification = verify_card(user, REFERENCE_NOW, history(organization))
        self.assertEqual(statuses(verification), [[], []])
        self.assertTrue(verification.is_usable)

    def test_texts(self) -> None:
        """What each line covers is what the reference hashed or signed."""
        for vector in self.organization[:2] + self.user:
            entry = Entry.from_text(vector["text"])
            self.assertEqual(entry.text, vector["text"])
            self.assertEqual(str(entry.hash), vector["hash"])
            for line, text in vector["text_signed_or_hashed"].items():
                self.assertEqual(entry.text_before(line), text.encode(), line)
            for line, value in vector["auth_strings"].items():
                self.assertEqual(str(entry.authentication(line)), value, line)

    def test_organization_revocation_refused(self) -> None:
        """Difference: its revocation keeps the secondary key (411) and lacks Previous-Hash (412)."""
        text = self.organization[2]["text"]
        self.assertRaises(BadKeycardData, Entry.from_text, text)
        lines = [line for line in text.splitlines(keepends=True) if not line.startswith("Secondary")]
        self.assertRaises(NoncompliantKeycard, check_sealed, Entry.from_text("".join(lines)))

    def test_user_revocation(self) -> None:
        """Difference: its user's revocation is sound but for the organization that signed it."""
        verification = verify_card(
            self.texts(self.user, 3), REFERENCE_NOW, history(self.texts(self.organization, 2))
        )
        self.assertEqual(statuses(verification), [[], [], [Status.INVALID_SIGNATURE]])

    def test_same_object_later(self) -> None:
        """Difference: an entry it changed after signing no longer has its hash."""
        later = [entry for entry in self.organization if entry["verifyHash_of_same_object_later"] == "false"]
        self.assertEqual(len(later), 2)
        for vector in later:
            entry = Entry.from_text(vector["text_of_same_object_later"])
            self.assertRaises(NoncompliantKeycard, check_sealed, entry)

    def test_signature_by_old_key(self) -> None:
        """Difference: a User-Signature by the key before the rotation is none."""
        entry = UserEntry.from_text(REFERENCE["user"]["user_signature_by_old_key_variant"])
        self.assertRaises(InvalidSignature, check_own_signature, entry)
        old = UserEntry.from_text(self.user[0]["text"])
        check_signature(entry, "User-Signature", old.contact_verification_key)

    def test_other_hash(self) -> None:
        """An entry with a SHA-256 hash is as good."""
        text = REFERENCE["user"]["sha256_root_variant"]
        self.assertEqual(Entry.from_text(text).hash.prefix, "SHA-256")
        verification = verify_card([text], REFERENCE_NOW, history(self.texts(self.organization, 2)))
        self.assertTrue(verification.verifies, verification.first_fault)

    def test_card_text(self) -> None:
        """Its framed cards come apart into its entries."""
        for card, entries in (("organization", self.organization), ("user", self.user)):
            self.assertEqual(
                list(split_card_data(REFERENCE[card]["card_text"])), [entry["text"] for entry in entries]
            )

    def test_printed_card_refused(self) -> None:
        """Difference: a card printed by its ``toString`` wraps each entry in ``Success(...)``: refused."""
        for card in ("organization", "user"):
            printed = REFERENCE[card]["keycard_toString_output"]
            self.assertRaises(BadKeycardData, self.read_card, printed)

    def test_names(self) -> None:
        """Difference: Local-User-ID is a field, which the reference cannot set, and names may be short."""
        entry = UserEntry.from_text(self.user[0]["text"])
        changed = entry.with_line("Local-User-ID", "corbin").with_line("Name", "Bob")
        self.assertEqual((changed.local_user_id, changed.name), ("corbin", "Bob"))

    def test_slack(self) -> None:
        """All its entries are of one second; the day of slack makes any of the keys current."""
        stamps = {Entry.from_text(text).timestamp for text in self.texts(self.organization, 2)}
        self.assertLess(max(stamps) - min(stamps), timedelta(seconds=1))

    def read_card(self, text: str) -> None:
        for entry in split_card_data(text):
            Entry.from_text(entry)
