"""ADDENTRY and REVOKE (spec 04, *Identity*): every error, through a real socket."""

from datetime import UTC, datetime, timedelta

from attrs import evolve
from twisted.internet.defer import gatherResults

from mensagod.client import identity
from mensagod.client.connection import ClientConnection
from mensagod.client.errors import UnexpectedAnswer
from mensagod.client.lookups import get_workspace_id
from mensagod.config import Config
from mensagod.crypto.hashing import hash_bytes
from mensagod.crypto.signing import SigningPair
from mensagod.keycards.making import UserKeys, sign_user
from mensagod.keycards.signatures import add_hash
from mensagod.status import Status
from mensagod.storage import additions, workspaces
from mensagod.storage.workspaces import MOST_FORMER_NAMES, Taken
from mensagod.values.identity import Domain, UserID, WorkspaceID
from mensagod.values.times import format_date, format_timestamp
from tests.commands.identity_cases import Holder, IdentityTestCase, flipped, without
from tests.serving import DOMAIN

BAD, NONCOMPLIANT = Status.BAD_KEYCARD_DATA, Status.NONCOMPLIANT_KEYCARD_DATA
EXTRA = Domain.from_text("example.net")


class AddEntryTests(IdentityTestCase):
    """Users' cards grow, entry by entry."""

    def configure(self, config: Config) -> Config:
        return evolve(config, global_=evolve(config.global_, extra_domains=(EXTRA,)))

    async def prepare(self) -> None:
        await super().prepare()
        self.client_, self.alice = await self.holder("alice")
        self.keys = UserKeys()

    async def test_login(self) -> None:
        """Without a login there is nothing to add."""
        for action in ("ADDENTRY", "REVOKE"):
            await self.assert_answer(await self.client(), action, {}, Status.UNAUTHORIZED)

    async def test_missing(self) -> None:
        """The first request has a Base-Entry."""
        for fields in ({}, {"Base-Entry": ""}, {"User-Signature": "ED25519:x"}):
            answer = await self.assert_answer(self.client_, "ADDENTRY", fields, Status.BAD_REQUEST)
            self.assertEqual(answer.info, "Missing required field Base-Entry")

    async def test_grows(self) -> None:
        """Root, rotation, revocation and another rotation: all is served as it was signed, and verifies."""
        await self.add(self.client_, self.alice, Name="Alice")
        await self.add(self.client_, self.alice)
        await self.revoke(self.client_, self.alice)
        await self.add(self.client_, self.alice)
        await self.assert_card(self.alice)
        self.assertEqual(len(self.alice.card), 4)

    async def test_order_of_fields(self) -> None:
        """Body fields may come in any order; what is stored is in the canonical one."""
        base = self.alice.root(self.keys)
        first, *others = base.text.split("\r\n")[:-1]
        shuffled = "".join(f"{line}\r\n" for line in (first, *reversed(others)))
        answer = await self.begin(self.client_, shuffled)
        entry = self.signed(base, answer, self.keys)
        await self.assert_answer(
            self.client_, "ADDENTRY", {"User-Signature": entry.fields["User-Signature"]}, Status.OK
        )
        self.alice.took(entry, self.keys)
        await self.assert_card(self.alice)

    async def test_unreadable(self) -> None:
        """What cannot be read, or stands where it must not, is 411."""
        base = self.alice.root(self.keys)
        signature = self.keys.contact_signing.sign(b"")
        for text in (
            "x",
            "Type:User\n",
            base.text[:-2],
            base.text + base.text,
            base.text + "Colour:blue\r\n",
            base.text.replace("Type:User\r\n", ""),
            base.text.replace("Type:User", "Type:Organization"),
            base.text.replace("Index:1", "Index:one"),
            base.text + f"Name:{'x' * 9000}\r\n",
            base.with_line("Organization-Signature", signature).text,
            base.with_line("Previous-Hash", hash_bytes(b"")).text,
            base.with_line("Hash", hash_bytes(b"")).text,
            base.with_line("User-Signature", signature).text,
            f"{base.text}Custody-Signature:{signature}\r\n",
            (await self.current_organization()).text,
            base.text.replace("Index:1", "Index:2") + f"Revoke:{hash_bytes(b'')}\r\n",
        ):
            await self.assert_refused(self.client_, text, BAD)

    async def test_keys_of_another(self) -> None:
        """Where the organization's keycard is not that of the keys, nothing is signed: 303."""
        other = (await self.current_organization()).with_line(
            "Primary-Verification-Key", self.keys.contact_signing.public
        )
        await self.change("UPDATE keycard_entries SET text = %s WHERE workspace IS NULL", other.text)
        await self.assert_refused(self.client_, self.alice.root(self.keys).text, Status.SERVER_UNAVAILABLE)

    async def test_incomplete(self) -> None:
        """A missing field, or a value out of its range, is 412."""
        base = self.alice.root(self.keys)
        for name in base.fields:
            if name != "Type":
                await self.assert_refused(self.client_, without(base, name).text, NONCOMPLIANT)
        for name, value in (("Time-To-Live", "0"), ("Time-To-Live", "31"), ("Index", "0")):
            await self.assert_refused(self.client_, base.with_line(name, value).text, NONCOMPLIANT)

    async def test_whose(self) -> None:
        """Another workspace or domain than the session's is 411, before anything about its time."""
        base = self.alice.root(self.keys, Timestamp="2020-01-01T00:00:00Z", Expires="2020-02-01")
        other = base.with_line("Workspace-ID", WorkspaceID.random())
        for entry in (other, base.with_line("Domain", "example.net"), base.with_line("Domain", "x.org")):
            await self.assert_refused(self.client_, entry.text, BAD)
        await self.assert_refused(self.client_, base.text, NONCOMPLIANT)

    async def test_time(self) -> None:
        """The Timestamp is within a day, and the entry has not expired, else 412."""
        now = datetime.now(UTC)
        for moment, expires in (
            (now - timedelta(days=1, minutes=1), now + timedelta(days=5)),
            (now + timedelta(days=1, minutes=1), now + timedelta(days=5)),
            (now - timedelta(hours=23), now - timedelta(days=1)),
            (now, now + timedelta(days=1096)),
        ):
            base = self.alice.root(
                self.keys, Timestamp=format_timestamp(moment), Expires=format_date(expires)
            )
            await self.assert_refused(self.client_, base.text, NONCOMPLIANT)

    async def test_index(self) -> None:
        """The Index follows the current entry's, else 412."""
        await self.add(self.client_, self.alice)
        await self.assert_refused(self.client_, self.alice.root(self.keys).text, NONCOMPLIANT)
        base = self.alice.rotation(self.keys).with_line("Index", "3")
        await self.assert_refused(self.client_, base.text, NONCOMPLIANT)
        bob, holder = await self.holder("bob")
        late = holder.root(self.keys).with_line("Index", "2")
        late = late.with_line("Custody-Signature", base.fields["Custody-Signature"])
        await self.assert_refused(bob, late.text, NONCOMPLIANT)

    async def test_custody(self) -> None:
        """The Custody-Signature is the previous key's, else 413; without it 412; the key must change."""
        await self.add(self.client_, self.alice)
        base = self.alice.rotation(self.keys)
        wrong = base.with_line("Custody-Signature", flipped(base.authentication("Custody-Signature")))
        await self.assert_refused(self.client_, wrong.text, Status.INVALID_SIGNATURE)
        await self.assert_refused(self.client_, without(base, "Custody-Signature").text, NONCOMPLIANT)
        same = self.alice.rotation(self.alice.keys[-1])
        await self.assert_refused(self.client_, same.text, NONCOMPLIANT)

    async def test_second_step(self) -> None:
        """Wrong hashes are 412, a wrong signature 413, malformed values 400 and 309; nothing is added."""
        base = self.alice.root(self.keys)
        other = str(hash_bytes(b"something else"))
        for fields, status in (
            ({"Previous-Hash": other}, NONCOMPLIANT),
            ({"Hash": other}, NONCOMPLIANT),
            ({"Hash": "MD5:abcdefgh"}, Status.ALGORITHM_NOT_SUPPORTED),
            ({"Hash": "?"}, Status.BAD_REQUEST),
            ({"User-Signature": "?"}, Status.BAD_REQUEST),
            ({"User-Signature": "BLAKE2B-256:abcde"}, Status.ALGORITHM_NOT_SUPPORTED),
            ({"User-Signature": "ED25519:abcde"}, BAD),
            ({"User-Signature": "flipped"}, Status.INVALID_SIGNATURE),
        ):
            answer = await self.begin(self.client_, base.text)
            signature = self.signed(base, answer, self.keys).authentication("User-Signature")
            sent = {"User-Signature": signature, **fields}
            if sent["User-Signature"] == "flipped":
                sent["User-Signature"] = flipped(signature)
            await self.assert_answer(self.client_, "ADDENTRY", sent, status)
        await self.assert_answer(
            self.client_,
            "ISCURRENT",
            {"Index": 1, "Workspace-ID": self.alice.person.workspace},
            Status.NOT_FOUND,
        )

    async def test_another_algorithm(self) -> None:
        """The client may hash with another algorithm, and send everything again."""
        base = self.alice.root(self.keys)
        answer = await self.begin(self.client_, base.text)
        entry = self.signed(base, answer, self.keys)
        entry = sign_user(add_hash(without(entry, "Hash", "User-Signature"), "SHA-256"), self.keys)
        fields = {name: entry.fields[name] for name in ("Previous-Hash", "Hash", "User-Signature")}
        fields["Base-Entry"] = "ignored"
        await self.assert_answer(self.client_, "ADDENTRY", fields, Status.OK)
        self.alice.took(entry, self.keys)
        await self.assert_card(self.alice)

    async def test_given_up(self) -> None:
        """CANCEL and other commands give the second step up; a signature then comes out of place."""
        base = self.alice.root(self.keys)
        answer = await self.begin(self.client_, base.text)
        signature = self.signed(base, answer, self.keys).fields["User-Signature"]
        await self.assert_answer(self.client_, "CANCEL", {}, Status.OK)
        fields = {"User-Signature": signature}
        await self.assert_answer(self.client_, "ADDENTRY", fields, Status.BAD_REQUEST)
        await self.begin(self.client_, base.text)
        await self.assert_answer(self.client_, "IDLE", {}, Status.BAD_REQUEST, "Session state mismatch")
        await self.assert_answer(self.client_, "ADDENTRY", fields, Status.BAD_REQUEST)

    async def test_seen_at_once(self) -> None:
        """A new entry is served at once, however often the card was asked for before."""
        for _ in range(5):
            await self.add(self.client_, self.alice)
            await self.assert_card(self.alice)

    async def test_unready_organization(self) -> None:
        """With other keys than those of the organization's card nothing is signed, nor without a card."""
        base = self.alice.root(self.keys).text
        server = self.service.server
        keyring = server.keyring
        server.keys.keyring = evolve(keyring, signing=SigningPair.generate())
        await self.assert_refused(self.client_, base, Status.SERVER_UNAVAILABLE)
        server.keys.keyring = keyring
        await self.begin(self.client_, base)
        await self.assert_answer(self.client_, "CANCEL", {}, Status.OK)
        await self.change("DELETE FROM keycard_entries")
        await self.assert_refused(self.client_, base, Status.SERVER_UNAVAILABLE)

    async def test_archived_meanwhile(self) -> None:
        """A workspace that was archived between the steps gets no entry."""
        base = self.alice.root(self.keys)
        entry = self.signed(base, await self.begin(self.client_, base.text), self.keys)
        await self.change(
            "UPDATE workspaces SET status = 'archived', password_hash = NULL WHERE id = %s",
            self.alice.person.workspace.uuid,
        )
        fields = {"User-Signature": entry.fields["User-Signature"]}
        await self.assert_answer(self.client_, "ADDENTRY", fields, NONCOMPLIANT)
        self.assertEqual(
            await self.value("SELECT count(*) FROM keycard_entries WHERE workspace IS NOT NULL"), 0
        )

    async def test_race(self) -> None:
        """Of two devices that add one Index at once, one hears 200, the other 412."""
        await self.add(self.client_, self.alice)
        second = await self.enter(self.alice.person)
        prepared = []
        for client in (self.client_, second):
            keys = UserKeys()
            base = self.alice.rotation(keys)
            entry = self.signed(base, await self.begin(client, base.text), keys)
            prepared.append((client, entry, keys))
        answers = await gatherResults(
            [
                client.request(
                    "ADDENTRY",
                    {"User-Signature": entry.fields["User-Signature"]},
                    Status.OK,
                    NONCOMPLIANT,
                )
                for client, entry, _ in prepared
            ]
        )
        self.assertEqual({answer.status for answer in answers}, {Status.OK, NONCOMPLIANT})
        won = next(index for index, answer in enumerate(answers) if answer.status is Status.OK)
        self.alice.took(prepared[won][1], prepared[won][2])
        await self.assert_card(self.alice)

    async def finish(self, revoke: bool = False) -> Status:
        """Add or revoke by hand; give the status of the second step."""
        action, keys = "REVOKE" if revoke else "ADDENTRY", UserKeys()
        base = self.alice.revocation(keys) if revoke else self.alice.next(keys)
        fields: dict[str, object] = {"Base-Entry": base.text}
        if revoke:
            fields["Password-Hash"] = self.alice.person.password
        answer = await self.assert_answer(self.client_, action, fields, Status.CONTINUE)
        entry = self.signed(base, answer, keys)
        answer = await self.ask(self.client_, action, {"User-Signature": entry.fields["User-Signature"]})
        if answer.status is Status.OK:
            self.alice.took(entry, keys)
        return answer.status

    async def test_growth(self) -> None:
        """A card grows by at most so many entries an hour; a thief's cannot keep the owner from revoking."""
        self.patch(additions, "MOST_ENTRIES", 3)
        self.patch(additions, "MORE_REVOCATIONS", 1)
        for _ in range(3):
            self.assertEqual(await self.finish(), Status.OK)
        self.assertEqual(await self.finish(), Status.LIMIT_REACHED)
        self.assertEqual(await self.finish(revoke=True), Status.OK)
        self.assertEqual(await self.finish(revoke=True), Status.LIMIT_REACHED)
        await self.change("UPDATE keycard_entries SET created = created - interval '1 hour' WHERE number < 3")
        self.assertEqual(await self.finish(), Status.OK)
        self.assertEqual(await self.finish(), Status.LIMIT_REACHED)
        await self.assert_card(self.alice)


class NameTests(IdentityTestCase):
    """The workspace's user ID follows its entries."""

    def configure(self, config: Config) -> Config:
        return evolve(config, global_=evolve(config.global_, extra_domains=(EXTRA,)))

    async def found(self, name: str) -> WorkspaceID | None:
        answer = await self.ask(await self.client(), "GETWID", {"User-ID": name})
        text = answer.data.get("Workspace-ID")
        return None if text is None else WorkspaceID.from_text(text)

    async def test_follows(self) -> None:
        """A new name is found at once, the former one no more; it stays reserved, and can be taken back."""
        client, alice = await self.holder("alice")
        wid = alice.person.workspace
        await self.add(client, alice, User_ID="Alicia")
        self.assertEqual((await self.found("alicia"), await self.found("alice")), (wid, None))
        other, bob = await self.holder()
        keys = UserKeys()
        answer = await self.assert_refused(
            other, bob.root(keys, User_ID="alice").text, Status.RESOURCE_EXISTS
        )
        self.assertEqual(answer.data, {"Field": "User-ID"})
        await self.add(client, alice, User_ID="alice")
        self.assertEqual((await self.found("alicia"), await self.found("alice")), (None, wid))
        await self.assert_card(alice)

    async def test_former(self) -> None:
        """Of former names a workspace has at most five; it can go back to one of them."""
        client, alice = await self.holder("alice")
        for number in range(MOST_FORMER_NAMES):
            await self.add(client, alice, User_ID=f"alice{number}")
        keys = UserKeys()
        base = alice.rotation(keys, User_ID="alicia")
        entry = self.signed(base, await self.begin(client, base.text), keys)
        signature = {"User-Signature": entry.fields["User-Signature"]}
        await self.assert_answer(client, "ADDENTRY", signature, Status.LIMIT_REACHED)
        await self.assert_card(alice)
        await self.add(client, alice, User_ID="alice")
        self.assertEqual(
            (await self.found("alice"), await self.found("alicia")), (alice.person.workspace, None)
        )

    async def test_without(self) -> None:
        """An entry without a name changes nothing."""
        client, alice = await self.holder("alice")
        await self.add(client, alice)
        self.assertEqual(await self.found("alice"), alice.person.workspace)

    async def test_first_name(self) -> None:
        """A workspace without a name gets one by its entry."""
        client, holder = await self.holder()
        await self.add(client, holder, User_ID="carol")
        self.assertEqual(await self.found("carol"), holder.person.workspace)

    async def test_taken(self) -> None:
        """Names of workspaces, preregistrations and aliases are taken."""
        admin, _ = await self.admin()
        await self.settle("bob")
        await admin.request("PREREG", {"User-ID": "dave"}, Status.OK)
        client, alice = await self.holder("alice")
        for name in ("bob", "BOB", "dave", "abuse", "support", "admin"):
            base = alice.root(UserKeys(), User_ID=name)
            await self.assert_refused(client, base.text, Status.RESOURCE_EXISTS)

    async def test_own_alias(self) -> None:
        """So is an alias of one's own: only the operator gives and takes them."""
        client, alice = await self.holder("alice")
        await self.change(
            "INSERT INTO names (domain, user_id, workspace, kind, unicode)"
            " VALUES ('example.com', 'sales', %s, 'alias', '15')",
            alice.person.workspace.uuid,
        )
        base = alice.root(UserKeys(), User_ID="sales")
        await self.assert_refused(client, base.text, Status.RESOURCE_EXISTS)
        # Also if it was given between the steps.
        name = UserID.from_text("sales")
        renaming = self.database.run(workspaces.rename, name, DOMAIN, alice.person.workspace)
        await self.assertFailure(renaming, Taken)

    async def test_taken_meanwhile(self) -> None:
        """Of two that ask for one name at once one gets it; the other's entry is not added."""
        prepared = []
        for _ in range(2):
            client, holder = await self.holder()
            keys = UserKeys()
            base = holder.root(keys, User_ID="frank")
            entry = self.signed(base, await self.begin(client, base.text), keys)
            prepared.append((client, entry, holder))
        answers = await gatherResults(
            [
                client.request(
                    "ADDENTRY",
                    {"User-Signature": entry.fields["User-Signature"]},
                    Status.OK,
                    Status.RESOURCE_EXISTS,
                )
                for client, entry, _ in prepared
            ]
        )
        self.assertEqual({answer.status for answer in answers}, {Status.OK, Status.RESOURCE_EXISTS})
        for answer, (_, _, holder) in zip(answers, prepared, strict=True):
            fields = {"Owner": holder.address, "Start-Index": 1}
            expected = Status.TRANSFER if answer.status is Status.OK else Status.NOT_FOUND
            await self.assert_answer(await self.client(), "GETCARD", fields, expected)

    async def test_never_given_out(self) -> None:
        """The operator's names, mixed scripts and the form of an ID are 411 where nobody has them yet."""
        person = await self.settle("erin", domain=EXTRA)
        client, holder = await self.enter(person), Holder(person)
        for name in ("admin", "abuse", "support", "p\u0430ypal", str(WorkspaceID.random())):
            await self.assert_refused(client, holder.root(UserKeys(), User_ID=name).text, BAD)

    async def test_administrator(self) -> None:
        """The administrator keeps the name."""
        client, person = await self.admin()
        holder = Holder(person)
        await self.assert_refused(client, holder.root(UserKeys(), User_ID="boss").text, BAD)
        await self.add(client, holder, User_ID="admin")
        await self.add(client, holder)
        found = await get_workspace_id(client, UserID.from_text("admin"))
        self.assertEqual(found, person.workspace)

    async def test_unicode(self) -> None:
        """Names outside ASCII work, in whatever form they come."""
        client, holder = await self.holder()
        await self.add(client, holder, User_ID="Sen\u0303orJones")
        self.assertEqual(await self.found("señorjones"), holder.person.workspace)
        await self.assert_card(holder)


class RevokeTests(IdentityTestCase):
    """REVOKE."""

    async def prepare(self) -> None:
        await super().prepare()
        self.client_, self.alice = await self.holder("alice")
        self.keys = UserKeys()

    async def refuse(self, client: ClientConnection, status: Status, base: str, password: object) -> None:
        fields = {"Base-Entry": base, "Password-Hash": password}
        await self.assert_answer(client, "REVOKE", fields, status)
        await self.assert_answer(client, "IDLE", {}, Status.OK)

    async def test_errors(self) -> None:
        """Password, Revoke, keys and Custody-Signature are checked."""
        password = self.alice.person.password
        await self.add(self.client_, self.alice)
        base = self.alice.revocation(self.keys)
        await self.refuse(self.client_, Status.BAD_REQUEST, base.text, None)
        await self.refuse(self.client_, Status.BAD_REQUEST, base.text, "short")
        await self.refuse(self.client_, Status.UNAUTHORIZED, base.text, "not this password")
        await self.refuse(self.client_, BAD, "x", password)
        rotation = self.alice.rotation(self.keys)
        await self.refuse(self.client_, NONCOMPLIANT, rotation.text, password)
        await self.refuse(self.client_, NONCOMPLIANT, without(base, "Revoke").text, password)
        other = base.with_line("Revoke", hash_bytes(b"another"))
        await self.refuse(self.client_, NONCOMPLIANT, other.text, password)
        old = self.alice.card[-1].fields["Verification-Key"]
        await self.refuse(self.client_, NONCOMPLIANT, base.with_line("Verification-Key", old).text, password)
        signature = rotation.fields["Custody-Signature"]
        text = base.text + f"Custody-Signature:{signature}\r\n"
        await self.refuse(self.client_, BAD, text, password)

    async def test_wrong_password_takes_its_time(self) -> None:
        """The refusal of a wrong password comes after the delay of the configuration."""
        await self.add(self.client_, self.alice)
        fields = {"Base-Entry": self.alice.revocation(self.keys).text, "Password-Hash": "wrong" * 4}
        await self.assert_delayed(self.client_, "REVOKE", fields, Status.UNAUTHORIZED)

    async def test_old_keys(self) -> None:
        """The keys of a revocation differ from each other, and none ever stood in the card."""
        for _ in range(3):
            await self.add(self.client_, self.alice)
        password = self.alice.person.password
        base = self.alice.revocation(self.keys)
        for one, other in (
            ("Verification-Key", "Contact-Request-Verification-Key"),
            ("Encryption-Key", "Contact-Request-Encryption-Key"),
        ):
            same = base.with_line(one, base.fields[other])
            await self.refuse(self.client_, NONCOMPLIANT, same.text, password)
            for line in (one, other):
                old = base.with_line(line, self.alice.card[0].fields[one])
                await self.refuse(self.client_, NONCOMPLIANT, old.text, password)
        await self.revoke(self.client_, self.alice)
        await self.assert_card(self.alice)

    async def test_nothing_to_revoke(self) -> None:
        """Without a card there is nothing to revoke."""
        text = self.alice.root(self.keys).text + f"Revoke:{hash_bytes(b'')}\r\n"
        await self.refuse(self.client_, BAD, text, self.alice.person.password)
        text = text.replace("Index:1", "Index:2")
        await self.refuse(self.client_, NONCOMPLIANT, text, self.alice.person.password)

    async def test_previous_hash(self) -> None:
        """The server gives the Revoke value as Previous-Hash."""
        first = await self.add(self.client_, self.alice)
        base = self.alice.revocation(self.keys)
        fields = {"Base-Entry": base.text, "Password-Hash": self.alice.person.password}
        answer = await self.assert_answer(self.client_, "REVOKE", fields, Status.CONTINUE)
        self.assertEqual(answer.data["Previous-Hash"], str(first.hash))
        await self.assert_answer(self.client_, "CANCEL", {}, Status.OK)
        await self.revoke(self.client_, self.alice)
        await self.assert_card(self.alice)

    async def test_client_checks(self) -> None:
        """The client signs nothing that the organization it knows has not signed."""
        organization = await self.current_organization()
        other = organization.with_line("Primary-Verification-Key", UserKeys().contact_signing.public)
        base = self.alice.root(self.keys)
        adding = identity.add_entry(self.client_, base, self.keys, other)
        with self.assertRaises(UnexpectedAnswer):
            await adding
