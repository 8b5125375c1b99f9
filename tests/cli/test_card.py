"""``mensagod card``."""

import io
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mensagod.cli.card import parse_moment
from mensagod.cli.main import main
from mensagod.errors import BadValue
from mensagod.keycards.carddata import compose_card_data
from mensagod.keycards.entries import Entry
from mensagod.keycards.making import OrganizationKeys, UserKeys, make_organization_root
from mensagod.keycards.signatures import fingerprint
from mensagod.keycards.splitting import split_entries
from mensagod.status import Status
from mensagod.values.identity import WAddress
from tests.cli.running import Outcome, run
from tests.installation.installed import InstalledTestCase
from tests.keycards.cards import vectors

OURS = vectors("keycards.json")
AT = "2024-03-10"

REFUSED: dict[str, tuple[str, Status]] = {
    "hash changed": ("Hash", Status.NONCOMPLIANT_KEYCARD_DATA),
    "body changed after signing": ("Hash", Status.NONCOMPLIANT_KEYCARD_DATA),
    "authentication lines out of order": ("Form", Status.BAD_KEYCARD_DATA),
    "field twice": ("Form", Status.BAD_KEYCARD_DATA),
    "Type not first": ("Form", Status.BAD_KEYCARD_DATA),
    "bare LF": ("Form", Status.BAD_KEYCARD_DATA),
    "time to live 31": ("Form", Status.NONCOMPLIANT_KEYCARD_DATA),
    "leading blank in a value": ("Form", Status.BAD_KEYCARD_DATA),
    "custody signature missing on index 2": ("Form", Status.NONCOMPLIANT_KEYCARD_DATA),
    "signed by a key that is not the entry's own": ("User-Signature", Status.INVALID_SIGNATURE),
}
"""What is said of each entry of ``invalid``, and with which code."""


class VerifyTestCase(SynchronousTestCase):
    def file(self, *texts: str) -> str:
        path = Path(self.mktemp())
        path.write_bytes("".join(texts).encode())
        return str(path)

    def verify(self, *arguments: str, at: str = AT) -> Outcome:
        return run("card", "verify", "--at", at, *arguments)


class VerifyTests(VerifyTestCase):
    def test_organization(self) -> None:
        """An organization's card verifies, entry by entry, with its fingerprint."""
        outcome = self.verify("--json", self.file(*OURS["organization"]))
        self.assertEqual((outcome.status, outcome.err), (0, ""))
        document = outcome.document
        self.assertEqual((document["owner"], document["verifies"]), ("example.com", True))
        self.assertEqual([entry["index"] for entry in document["entries"]], [1, 2, 3])
        current = Entry.from_text(OURS["organization"][2])
        self.assertEqual(document["fingerprint"], fingerprint(current))
        self.assertEqual(document["entries"][2]["fields"], dict(current.fields))
        names = [check["check"] for check in document["entries"][1]["checks"]]
        for name in ("Hash", "Organization-Signature", "Custody-Signature", "Previous-Hash"):
            self.assertIn(name, names)
        self.assertIn("Revoke", [check["check"] for check in document["entries"][2]["checks"]])

    def test_user(self) -> None:
        """A user's card verifies with that of the organization which signed it, and only with it."""
        user, organization = self.file(*OURS["user"]), self.file(*OURS["organization"][:2])
        outcome = self.verify("--json", user, "--organization", organization)
        self.assertEqual((outcome.status, outcome.document["verifies"]), (0, True))
        alone = self.verify(user)
        self.assertEqual(alone.status, 1)
        self.assertIn("No organization's card", alone.out)
        revoked = self.verify(user, "--organization", self.file(*OURS["organization"]))
        self.assertEqual(revoked.status, 1)
        self.assertIn("revoked", revoked.out)

    def test_card_data(self) -> None:
        """What GETCARD gives is taken as it is, also from the standard input."""
        self.assertEqual(self.verify(self.file(OURS["card_data"])).status, 0)
        self.assertEqual(self.verify("-").status, 1)

    def test_invalid(self) -> None:
        """Every invalid entry of the vectors is told of, at its line and with its code."""
        self.assertEqual({invalid["why"] for invalid in OURS["invalid"]}, set(REFUSED))
        for invalid in OURS["invalid"]:
            outcome = self.verify("--json", self.file(invalid["entry"]))
            self.assertEqual(outcome.status, 1, invalid["why"])
            self.assertFalse(outcome.document["verifies"])
            faults = [
                (check["check"], check["code"])
                for entry in outcome.document["entries"]
                for check in entry["checks"]
                if not check["verifies"]
            ]
            self.assertIn(REFUSED[invalid["why"]], faults, invalid["why"])
            self.assertIn("WRONG", self.verify(self.file(invalid["entry"])).out)

    def test_gap(self) -> None:
        """A card without its first entry does not verify."""
        outcome = self.verify(self.file(*OURS["organization"][1:]))
        self.assertEqual(outcome.status, 1)
        self.assertIn("Index must be 1 here", outcome.out)

    def test_time(self) -> None:
        """A card that has ended verifies, and is told not to be used; one of the future does not verify."""
        card = self.file(*OURS["organization"])
        late = self.verify(card, at="2034-01-01T00:00:00Z")
        self.assertEqual(late.status, 0)
        self.assertIn("must not be used: it expired", late.out)
        self.assertEqual(self.verify(card, at="2001-01-01").status, 1)
        self.assertEqual(self.verify(card, at="yesterday").status, 2)

    def test_one_input(self) -> None:
        """Two cards cannot both come from the standard input."""
        outcome = self.verify("-", "--organization", "-")
        self.assertEqual(outcome.status, 2)
        self.assertIn("Only one of the two cards", outcome.complaint)

    def test_other_organization(self) -> None:
        """An organization's card of another domain, a broken one and a user's are not accepted."""
        user = self.file(*OURS["user"])
        broken = self.verify(user, "--organization", self.file(OURS["organization"][1]))
        self.assertEqual(broken.status, 1)
        self.assertIn("organization's keycard does not verify", broken.complaint)
        admin = WAddress.from_text("ae406c5e-2673-4d3e-af20-91325d9623ca/example.org")
        now = datetime(2024, 3, 1, tzinfo=UTC)
        other = make_organization_root(OrganizationKeys(), "Other", admin.domain, admin, now=now)
        foreign = self.verify(user, "--organization", self.file(other.text))
        self.assertEqual(foreign.status, 1)
        self.assertIn("another domain", foreign.out)

    def test_unusable_files(self) -> None:
        """What is no card at all is one line on stderr; a missing file is wrong use."""
        cases = {"is empty": b"", "not text in UTF-8": b"\xff\xfe", "is larger than": b"x" * 1048577}
        for words, content in cases.items():
            path = Path(self.mktemp())
            path.write_bytes(content)
            outcome = self.verify(str(path))
            self.assertEqual(outcome.status, 1)
            self.assertIn(words, outcome.complaint)
        half = self.verify(self.file(OURS["card_data"][:-30]))
        self.assertIn("is not a keycard", half.complaint)
        self.assertEqual(self.verify("/nowhere/at/all").status, 2)

    def test_terminal(self) -> None:
        """Nothing in a card can steer the terminal that shows it."""
        text = OURS["organization"][0].replace("Name:Example", "Name:\u202eExample\u200b")
        self.assertNotEqual(text, OURS["organization"][0])
        outcome = self.verify(self.file(text, "Type:User\r\nA\x1b[2J:1\r\n"))
        self.assertEqual(outcome.status, 1)
        self.assertFalse({"\u202e", "\u200b", "\x1b"} & set(outcome.out))

    @given(st.binary(max_size=400))
    @settings(max_examples=60, deadline=None)
    def test_anything(self, content: bytes) -> None:
        """Whatever a file holds, there is an answer."""
        path = Path(self.mktemp())
        path.write_bytes(b"Type:User\r\n" + content)
        self.assertEqual(self.verify(str(path)).status, 1)


class SplittingTests(SynchronousTestCase):
    def test_ways(self) -> None:
        """Framed or one after the other, the same entries come out."""
        entries = OURS["organization"]
        self.assertEqual(split_entries("".join(entries)), entries)
        self.assertEqual(split_entries(compose_card_data(entries)), entries)
        self.assertEqual(split_entries(""), [])

    def test_moments(self) -> None:
        """A day means its end."""
        self.assertEqual(parse_moment("2024-03-10"), datetime(2024, 3, 10, 23, 59, 59, tzinfo=UTC))
        self.assertEqual(parse_moment("2024-03-10T01:02:03Z"), datetime(2024, 3, 10, 1, 2, 3, tzinfo=UTC))
        self.assertRaises(BadValue, parse_moment, "soon")


class ShowTests(InstalledTestCase):
    def show(self, owner: str, *more: str) -> Outcome:
        return run("--config", self.config.path, "card", "show", *more, "--", owner)

    def document(self, owner: str) -> Any:
        outcome = self.show(owner, "--json")
        self.assertEqual((outcome.status, outcome.err), (0, ""))
        return json.loads(outcome.out)

    def test_owners(self) -> None:
        """Every way to name an owner leads to the same card."""
        alice = self.add_person("alice")
        ways = ["alice", str(alice), "alice/example.com", f"{alice}/example.com", "ALICE/EXAMPLE.COM"]
        documents = [self.document(way) for way in ways]
        for document in documents:
            self.assertEqual(document["owner"], f"{alice}/example.com")
            self.assertEqual(document["entries"], documents[0]["entries"])
            self.assertTrue(document["verifies"])

    def test_organization(self) -> None:
        """The domain means the organization."""
        shown = self.show("Example.com")
        self.assertEqual((shown.status, shown.err), (0, ""))
        self.assertIn(f"Fingerprint  {fingerprint(self.card()[0])}", shown.out)
        self.assertIn("The card verifies.", shown.out)

    def test_after_revocation(self) -> None:
        """After a revocation the card is told not to verify; with a new entry it can be used."""
        pairs = UserKeys()
        alice = self.add_person("alice", pairs)
        self.assertEqual(run("--config", self.config.path, "org", "revoke", "--yes").status, 0)
        shown = self.show("alice")
        self.assertEqual(shown.status, 1)
        self.assertIn("has revoked the key", shown.out)
        self.renew(alice, pairs, UserKeys())
        shown = self.show("alice", "--json")
        self.assertEqual(shown.status, 0)
        self.assertEqual((shown.document["verifies"], shown.document["usable"]), (False, True))
        self.assertIn("The card can be used", self.show("alice").out)

    def test_nobody(self) -> None:
        """Who is not here, or has no card, is told of in one line."""
        for owner, words in {
            "bob": "There is no user bob in example.com",
            "bob/example.org": "does not serve the domain example.org",
            "00000000-0000-4000-8000-000000000001": "has no keycard yet",
        }.items():
            outcome = self.show(owner)
            self.assertEqual(outcome.status, 1)
            self.assertIn(words, outcome.complaint)
        self.assertEqual(self.show("bob//example.com").status, 2)


class InputTests(SynchronousTestCase):
    def test_standard_input(self) -> None:
        """A dash means the standard input."""
        card = io.BytesIO("".join(OURS["organization"]).encode())
        result = CliRunner().invoke(main, ["card", "verify", "-", "--at", AT], input=card)
        self.assertEqual(result.exit_code, 0)
        self.assertIn("Entry 3 of 3", result.stdout)
