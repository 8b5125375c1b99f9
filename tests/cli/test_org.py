"""``mensagod org``, on a server that does not run."""

import os
import pty
from datetime import UTC, datetime, timedelta
from typing import Any

from mensagod.crypto.sealing import EncryptionPair, SecretKey
from mensagod.keycards.entries import OrganizationEntry
from mensagod.keycards.making import UserKeys
from mensagod.keycards.signatures import fingerprint
from mensagod.keycards.verification import verify_card
from mensagod.organization import keycard
from mensagod.organization.key_file import write_next
from mensagod.storage import keys
from mensagod.storage.rows import Transaction
from tests.cli.processes import Command
from tests.cli.running import Outcome, run
from tests.installation.installed import InstalledTestCase
from tests.installation.places import field


def age(txn: Transaction) -> None:
    """Let 30 days go by for the keys."""
    txn.execute(
        "UPDATE organization_keys SET created = created - interval '30 days',"
        " retired = retired - interval '30 days'"
    )


class OrgTestCase(InstalledTestCase):
    def org(self, *arguments: str) -> Outcome:
        return run("--config", self.config.path, "org", *arguments)

    def document(self, *arguments: str) -> Any:
        outcome = self.org("--json", *arguments)
        self.assertEqual((outcome.status, outcome.err), (0, ""))
        return outcome.document

    def lines(self, *arguments: str) -> str:
        outcome = self.org(*arguments)
        self.assertEqual((outcome.status, outcome.err), (0, ""))
        return outcome.out

    def write_key(self, content: bytes) -> None:
        """Put a file where organization.key was, for the owner of the configuration."""
        self.key_file.write_bytes(content)
        self.key_file.chmod(0o600)
        owner = self.config.path.stat()
        os.chown(self.key_file, owner.st_uid, owner.st_gid)

    def current(self) -> OrganizationEntry:
        return self.card()[-1]


class ShowTests(OrgTestCase):
    def test_document(self) -> None:
        """The current entry, its keys and end, and what DNS must have."""
        document = self.document("show")
        entry = self.current()
        self.assertEqual((document["index"], document["hash"]), (1, str(entry.hash)))
        self.assertEqual((document["pvk"], document["svk"]), (str(entry.primary_key), None))
        self.assertEqual(document["fingerprint"], fingerprint(entry))
        self.assertEqual((document["expires"], document["warning"]), (str(entry.expires), None))
        self.assertEqual(document["need_entries"], [])
        self.assertEqual(document["organization_key"], {"path": str(self.key_file), "fault": None})
        self.assertEqual(document["dns"][0]["value"], f"pvk={document['pvk']} ek={document['ek']}")

    def test_text(self) -> None:
        """A person reads the same."""
        shown = self.lines("show")
        for part in ("Example Org", fingerprint(self.current()), "decrypts the private keys", "pvk="):
            self.assertIn(part, shown)

    def test_wrong_key_file(self) -> None:
        """A missing or wrong organization.key is told of; the rest is shown all the same."""
        self.key_file.unlink()
        self.assertIn("is missing", self.document("show")["organization_key"]["fault"])
        self.write_key(f"{SECRET}\n".encode())
        self.assertIn("does not decrypt", self.lines("show"))

    def test_ends_soon(self) -> None:
        """From 30 days before the end there is a warning."""

        def backdate(txn: Transaction) -> None:
            entry = self.current().with_line("Expires", (datetime.now(UTC) + timedelta(days=30)).date())
            txn.execute("UPDATE keycard_entries SET text = %s", (entry.text,))

        self.assertNotIn("Warning", self.lines("show"))
        self.do(backdate)
        self.assertIn("Warning: the organization's keycard expires on", self.lines("show"))
        self.assertIn("in 30 days: run `mensagod org rotate`", self.document("show")["warning"])


class DamageTests(OrgTestCase):
    """What is wrong with the database is told of, and nothing is made of it."""

    def test_no_card(self) -> None:
        """Without the organization's keycard no verb does anything."""
        self.do(lambda txn: txn.execute("DELETE FROM keycard_entries"))
        for verb in (["show"], ["rotate"], ["revoke", "--yes"]):
            outcome = self.org(*verb)
            self.assertEqual((outcome.status, outcome.out), (1, ""))
            self.assertIn("contains no keycard of the organization", outcome.complaint)

    def test_no_keys(self) -> None:
        """Without keys there is nothing to rotate; a revocation with a new file begins anew."""
        self.do(lambda txn: txn.execute("DELETE FROM organization_keys"))
        for verb in (["rotate"], ["rekey"], ["revoke", "--yes"]):
            outcome = self.org(*verb)
            self.assertEqual((outcome.status, outcome.out), (1, ""))
            self.assertIn("contains no keys of the organization", outcome.complaint)
        self.document("revoke", "--new-key", "--yes")
        self.assertEqual(self.keyring().signing.public, self.current().primary_key)

    def test_keys_of_another_card(self) -> None:
        """With the keys of another keycard there is no rotation."""
        other = self.current().with_line("Primary-Verification-Key", UserKeys().signing.public)
        self.do(lambda txn: txn.execute("UPDATE keycard_entries SET text = %s", (other.text,)))
        outcome = self.org("rotate")
        self.assertEqual((outcome.status, outcome.out), (1, ""))
        self.assertIn("is not the one in the organization's keycard", outcome.complaint)

    def test_wrong_entry(self) -> None:
        """Whose entry never verified, does not need a new one because of a revocation."""
        alice = self.add_person("alice")
        self.document("revoke", "--yes")
        self.assertEqual(len(self.document("show")["need_entries"]), 1)
        self.do(
            lambda txn: txn.execute(
                "UPDATE keycard_entries SET text = replace(text, 'User-ID:alice', 'User-ID:alicia')"
                " WHERE workspace = %s",
                (alice.uuid,),
            )
        )
        self.assertEqual(self.document("show")["need_entries"], [])


class RotateTests(OrgTestCase):
    def test_rotation(self) -> None:
        """A new entry with new keys follows, and the card verifies; the old encryption key opens still."""
        before = self.keyring()
        document = self.document("rotate")
        first, second = self.card()
        self.assertTrue(verify_card([first, second], datetime.now(UTC)).verifies)
        self.assertEqual((document["action"], document["index"]), ("rotate", 2))
        self.assertEqual(document["svk"], str(first.primary_key))
        self.assertEqual(second.primary_key, self.keyring().signing.public)
        self.assertEqual(second.encryption_key, self.keyring().public_encryption_key)
        for pair in (before.encryption[0], self.keyring().encryption[0]):
            self.assertEqual(self.keyring().open(pair.encryption_key.seal(b"hello")), b"hello")
        self.assertEqual(document["need_entries"], [])

    def test_steps(self) -> None:
        """The changes to DNS come in their order, each with its time, the new record with the first."""
        document = self.document("rotate")
        first = document["steps"][0]
        [record] = first["records"]
        self.assertEqual((record["type"], record["name"]), ("TXT", "mensago.example.com"))
        for name in ("pvk", "ek", "svk"):
            self.assertEqual(str(field(record["value"], name)), document[name])
        times = [step["when"] for step in document["steps"]]
        self.assertEqual(times, sorted(times))
        self.assertEqual(len(times), 3)

    def test_text(self) -> None:
        """A person reads numbered steps with the record to publish."""
        shown = self.lines("rotate")
        for part in (
            "entry 2",
            "1. ",
            "At once: replace the TXT records",
            f"svk={self.card()[0].primary_key}",
        ):
            self.assertIn(part, shown)

    def test_dry_run(self) -> None:
        """--dry-run names what would have to be replaced, and changes nothing."""
        document = self.document("rotate", "--dry-run")
        self.assertEqual((document["dry_run"], document["index"], len(self.card())), (True, 2, 1))
        self.assertIn("lower the TTL", self.lines("rotate", "--dry-run"))
        self.assertIn(str(self.current().primary_key), document["replaces"][0]["value"])

    def test_shown(self) -> None:
        """Until when the old key opens is shown."""
        old = self.current().encryption_key
        self.document("rotate")
        [previous] = self.document("show")["previous_encryption_keys"]
        self.assertEqual(previous["key"], str(old))
        self.assertIn(f"Still decrypts    {old}", self.lines("show"))

    def test_erased(self) -> None:
        """The old signing key is erased at once, the old encryption key 30 days later; rekey copes."""
        first = self.current()
        self.document("rotate")
        second = self.current()
        kept = {"signing": {second.primary_key}, "encryption": {first.encryption_key, second.encryption_key}}
        self.assertEqual(self.kept(), kept)
        self.assertTrue(self.document("rekey")["changed"])
        self.assertEqual(self.kept(), kept)
        self.do(age)
        self.document("rotate")
        third = self.current()
        self.assertEqual(
            self.kept(),
            {"signing": {third.primary_key}, "encryption": {second.encryption_key, third.encryption_key}},
        )

    def test_kept_while_clocks_disagree(self) -> None:
        """A rotation erases no old key if the machine's clock is wrong; the next one does."""
        first = self.current()
        self.document("rotate")
        self.do(age)
        wrong = datetime.now(UTC) + timedelta(days=3652)
        self.do(keycard.rotate, [self.master], self.current().hash, wrong)
        self.assertIn(first.encryption_key, self.kept()["encryption"])
        self.document("rotate")
        self.assertNotIn(first.encryption_key, self.kept()["encryption"])

    def test_old_key_goes(self) -> None:
        """After 30 days the old key is not promised any more; it is used until a server erases it."""
        self.document("rotate")
        self.do(age)
        self.assertEqual(len(self.keyring().encryption), 2)
        self.assertEqual(self.document("show")["previous_encryption_keys"], [])

    def test_without_key_file(self) -> None:
        """Without the right organization.key nothing is changed."""
        self.key_file.unlink()
        for verb in (["rotate"], ["rotate", "--dry-run"], ["rekey", "--dry-run"]):
            outcome = self.org(*verb)
            self.assertEqual(outcome.status, 1)
            self.assertIn("organization.key is missing", outcome.complaint)
        self.assertTrue(self.document("revoke", "--new-key", "--dry-run")["dry_run"])
        self.write_key(f"{SECRET}\n".encode())
        verbs = (["rotate"], ["rotate", "--dry-run"], ["rekey", "--dry-run"], ["revoke", "--dry-run"])
        for verb in (*verbs, ["revoke", "--yes"]):
            outcome = self.org(*verb)
            self.assertEqual((outcome.status, outcome.out), (1, ""))
            self.assertIn("organization.key does not decrypt", outcome.complaint)
        self.assertEqual(len(self.card()), 1)


SECRET = "XSALSA20:(Rq^0VBfE(`2q@H)Tv5zz`uA-<BVfo#eVv`d+5{x"


class RevokeTests(OrgTestCase):
    def test_asks(self) -> None:
        """Without a terminal it wants --yes, and does nothing without it."""
        outcome = self.org("revoke")
        self.assertEqual(outcome.status, 2)
        self.assertIn("--yes", outcome.complaint)
        self.assertTrue(self.document("revoke", "--dry-run")["dry_run"])
        self.assertEqual(len(self.card()), 1)

    def answered(self, answer: str) -> Command:
        """Run it on a terminal, and answer its question."""
        ours, theirs = pty.openpty()
        self.addCleanup(os.close, ours)
        arguments = ("--config", self.config.path, "org", "revoke")
        command = Command.start(self, self.directory, *arguments, stdin=theirs)
        os.close(theirs)
        os.write(ours, f"{answer}\n".encode())
        return command

    def test_answers(self) -> None:
        """On a terminal it asks, and revokes after a yes only."""
        refused = self.answered("n")
        out, err = refused.rest()
        self.assertEqual((refused.process.returncode, out, len(self.card())), (1, "", 1))
        self.assertIn("Revoke? [y/N]", err)
        self.assertIn("are revoked", self.answered("y").rest()[0])
        self.assertEqual(len(self.card()), 2)

    def test_revocation(self) -> None:
        """A new root follows, and no key from before opens anything, also those rotated out earlier."""
        self.document("rotate")
        before = self.keyring()
        document = self.document("revoke", "--yes")
        card = self.card()
        self.assertTrue(verify_card(card, datetime.now(UTC)).verifies)
        self.assertEqual((card[2].revokes, card[2].secondary_key), (card[1].hash, None))
        self.assertEqual((document["action"], document["svk"]), ("revoke", None))
        self.assertNotIn("svk=", document["steps"][0]["records"][0]["value"])
        self.assertEqual(
            self.kept(), {"signing": {card[2].primary_key}, "encryption": {card[2].encryption_key}}
        )
        self.assertEqual(len(self.keyring().encryption), 1)
        revoked = {before.signing.public, *(pair.public for pair in before.encryption)}
        self.assertEqual(len(revoked), 3)
        self.assertFalse(revoked & {key.public for key in self.do(keys.usable_keys)})
        self.assertLessEqual(set(map(str, revoked)), set(self.document("show")["revoked_keys"]))

    def test_who_needs_an_entry(self) -> None:
        """Who was signed for with the revoked key is listed, until there is a new entry."""
        early, late = UserKeys(), UserKeys()
        alice = self.add_person("alice", early)
        self.document("rotate")
        bob = self.add_person("bob", late)
        planned = self.document("revoke", "--dry-run")["need_entries"]
        self.assertIn(
            f"Users who would need a new keycard entry (1):\n\n  {bob}", self.lines("revoke", "--dry-run")
        )
        self.assertEqual(self.document("rotate", "--dry-run")["need_entries"], [])
        self.assertEqual(self.document("show")["need_entries"], [])
        document = self.document("revoke", "--yes")
        self.assertEqual(document["need_entries"], planned)
        expected = {"workspace_id": str(bob), "domain": "example.com", "user_id": "bob"}
        self.assertEqual(document["need_entries"], [expected])
        self.assertIn(f"{bob}/example.com  bob/example.com", self.lines("show"))
        self.assertNotIn(str(alice), self.lines("show"))
        self.renew(bob, late, UserKeys())
        self.assertEqual(self.document("show")["need_entries"], [])

    def test_text(self) -> None:
        """A person reads whom to tell, if there is anybody."""
        self.assertNotIn("every user listed", self.lines("revoke", "--yes"))
        alice = self.add_person("alice")
        shown = self.lines("revoke", "--yes")
        self.assertIn("every user listed", shown)
        self.assertIn("The organization's keys are revoked", shown)
        self.assertIn(f"Users who need a new keycard entry (1):\n\n  {alice}/example.com", shown)

    def test_lost_key_file(self) -> None:
        """An organization that has lost organization.key goes on with --new-key, with all keys new."""
        before = self.card()[0]
        self.key_file.unlink()
        self.assertIn("--new-key", self.org("revoke", "--yes").complaint)
        planned = self.document("revoke", "--dry-run", "--new-key")["steps"]
        self.assertFalse(self.key_file.exists())
        done = self.document("revoke", "--yes", "--new-key")["steps"]
        for step in (planned[0], done[1]):
            self.assertIn(f"copy the new {self.key_file} to the other machines", step["text"])
        self.assertEqual(self.document("revoke", "--dry-run")["steps"], [])
        self.assertEqual(self.card()[1].revokes, before.hash)
        self.assertEqual(self.keyring().signing.public, self.card()[1].primary_key)
        self.assertEqual(self.key_file.stat().st_uid, self.config.path.stat().st_uid)
        self.assertEqual(sorted(path.name for path in self.directory.iterdir()), FILES)
        self.document("rotate")
        self.assertTrue(self.document("rekey")["changed"])
        self.assertEqual(len(self.keyring().encryption), 2)


class RekeyTests(OrgTestCase):
    def test_rekey(self) -> None:
        """The file is new, only for its owner, and opens the keys; the old one does not."""
        self.document("rotate")
        old, publics = self.master, [pair.public for pair in self.keyring().encryption]
        document = self.document("rekey")
        self.assertEqual((document["changed"], document["organization_key"]), (True, str(self.key_file)))
        self.assertNotEqual(self.master, old)
        self.assertEqual([pair.public for pair in self.keyring().encryption], publics)
        self.assertEqual(self.key_file.stat().st_mode & 0o777, 0o600)
        self.assertEqual(sorted(path.name for path in self.directory.iterdir()), FILES)
        self.assertIn("make a new backup", self.lines("rekey"))

    def test_dry_run(self) -> None:
        """--dry-run changes nothing."""
        old = self.master
        self.assertFalse(self.document("rekey", "--dry-run")["changed"])
        self.assertEqual(self.master, old)

    def test_dry_run_after_an_interruption(self) -> None:
        """--dry-run says that an interrupted change would be completed, and leaves it as it is."""
        new = SecretKey.generate()
        write_next(self.key_file, new)
        self.do(keycard.reencrypt, self.master, new)
        self.assertIn("would be completed", self.lines("rekey", "--dry-run"))
        self.assertNotEqual(self.master, new)

    def test_rotation_after(self) -> None:
        """The keys made afterwards are encrypted with the new key, too."""
        self.document("rekey")
        self.document("rotate")
        self.assertEqual(len(self.keyring().encryption), 2)
        self.assertIsInstance(self.keyring().encryption[0], EncryptionPair)


FILES = ["data", "organization.key", "serverconfig.toml"]
