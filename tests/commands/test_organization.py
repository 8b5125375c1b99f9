"""ORGREVOKE, and what a change of the organization's keys means for connected clients (spec 03 and 04)."""

from datetime import UTC, datetime
from threading import Event

from attrs import evolve
from psycopg2.errors import LockNotAvailable
from twisted.internet import reactor
from twisted.internet.task import deferLater

from mensagod.client import identity, login
from mensagod.client.connection import ClientConnection
from mensagod.client.errors import RequestRefused
from mensagod.client.lookups import get_card
from mensagod.config import Config
from mensagod.crypto.cryptostring import CryptoString
from mensagod.crypto.sealing import SealBroken, SecretKey
from mensagod.keycards.making import UserKeys
from mensagod.keycards.organizations import OrganizationHistory
from mensagod.keycards.verification import Verification, verify_card
from mensagod.organization import keycard
from mensagod.organization.key_file import read_candidates
from mensagod.organization.keycard import Replacement, ReplacementStep
from mensagod.status import Status
from mensagod.storage.keycards import ORGANIZATION, hold_organization, lock_organization
from mensagod.storage.rows import Transaction
from tests.commands.identity_cases import Holder, IdentityTestCase
from tests.serving import Person
from tests.waiting import until

WAITING = (
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
)
"""How many transactions wait for another one."""


class OrgRevokeTests(IdentityTestCase):
    """Off unless the operator says otherwise."""

    async def test_off(self) -> None:
        """Strangers hear 401, others 403, the administrator too; the password is asked for first of all."""
        await self.assert_answer(await self.client(), "ORGREVOKE", {}, Status.UNAUTHORIZED)
        client, _ = await self.holder("alice")
        await self.assert_answer(client, "ORGREVOKE", {}, Status.FORBIDDEN)
        admin, person = await self.admin()
        for fields in ({}, {"Password-Hash": "short"}):
            await self.assert_answer(admin, "ORGREVOKE", fields, Status.BAD_REQUEST)
        fields = {"Password-Hash": person.password}
        await self.assert_answer(admin, "ORGREVOKE", fields, Status.FORBIDDEN)
        self.assertEqual(len(await self.organization_card()), 1)


class LifecycleTests(IdentityTestCase):
    """Keys change while people are connected."""

    def configure(self, config: Config) -> Config:
        return evolve(config, security=evolve(config.security, remote_orgrevoke=True))

    async def change_elsewhere(self, step: ReplacementStep) -> None:
        """Do what another process does to the organization, and wait until the server knows."""
        masters = read_candidates(self.directory / "organization.key")
        current = await self.current_organization()
        change = await self.database.run(step, masters, current.hash, datetime.now(UTC))
        server = self.service.server
        await until(lambda: server.keyring.signing.public == change.entry.primary_key)
        while (await self.current_organization()).index != change.entry.index:
            await deferLater(reactor, 0.02)

    async def log_in_with(self, client: ClientConnection, person: Person, key: CryptoString) -> None:
        await login.log_in(client, person.workspace, person.password, person.credentials, key)

    async def judge(self, holder: Holder) -> Verification:
        """Judge a user's card as anybody would."""
        history = OrganizationHistory.from_entries(await self.organization_card())
        texts = await get_card(await self.client(), holder.address)
        return verify_card(texts, datetime.now(UTC), history)

    async def test_rotation(self) -> None:
        """Sessions go on, logins and messages sealed to either key work, and cards verify."""
        client, alice = await self.holder("alice")
        await self.add(client, alice)
        old = (await self.current_organization()).encryption_key
        box = self.organization.encryption.encryption_key.seal(b"a message")
        await self.change_elsewhere(keycard.rotate)
        await self.assert_answer(client, "IDLE", {"CountUpdates": "0"}, Status.OK)
        new = (await self.current_organization()).encryption_key
        self.assertNotEqual(old, new)
        for key in (old, new):
            await self.log_in_with(await self.client(), alice.person, key)
        self.assertEqual(self.service.server.keyring.open(box), b"a message")
        self.assertTrue((await self.judge(alice)).verifies)
        await self.add(client, alice)
        self.assertTrue((await self.judge(alice)).verifies)
        _, bob = entering = await self.holder("bob")
        await self.add(entering[0], bob)
        self.assertTrue((await self.judge(bob)).verifies)

    async def test_revocation(self) -> None:
        """ORGREVOKE: at once there are new keys for DNS; nothing sealed to the old one opens any more."""
        admin, person = await self.admin()
        client, alice = await self.holder("alice")
        await self.add(client, alice)
        old = (await self.current_organization()).encryption_key
        box = self.organization.encryption.encryption_key.seal(b"a message")
        wrong = {"Password-Hash": "not the password at all"}
        await self.assert_answer(admin, "ORGREVOKE", wrong, Status.UNAUTHORIZED)
        made = await identity.organization_revoke(admin, person.password)
        current = await self.current_organization()
        self.assertEqual(
            (made.index, made.primary_key, made.encryption_key),
            (2, current.primary_key, current.encryption_key),
        )
        self.assertFalse(await identity.is_current(client, 1))
        self.assertTrue(await identity.is_current(client, 2))
        await self.assert_answer(client, "IDLE", {"CountUpdates": "0"}, Status.OK)
        with self.assertRaises(RequestRefused) as refused:
            await self.log_in_with(await self.client(), alice.person, old)
        self.assertEqual(refused.exception.response.status, Status.KEY_FAILURE)
        await self.log_in_with(await self.client(), alice.person, current.encryption_key)
        self.assertRaises(SealBroken, self.service.server.keyring.open, box)
        before = await self.judge(alice)
        self.assertFalse(before.verifies)
        self.assertFalse(before.is_usable)
        await self.add(client, alice)
        after = await self.judge(alice)
        self.assertTrue(after.is_usable)

    async def test_overtaken(self) -> None:
        """Who revokes while another process changes the card is refused with 303, and changes nothing."""
        admin, person = await self.admin()
        masters = read_candidates(self.directory / "organization.key")
        current, changed, goes_on = await self.current_organization(), Event(), Event()

        def rotate_slowly(txn: Transaction) -> Replacement:
            change = keycard.rotate(txn, masters, current.hash, datetime.now(UTC))
            changed.set()
            goes_on.wait(60)
            return change

        rotating = self.database.run(rotate_slowly)
        await until(changed.is_set)
        fields = {"Password-Hash": person.password}
        revoking = admin.request("ORGREVOKE", fields, Status.SERVER_UNAVAILABLE)
        while not await self.value(WAITING):
            await deferLater(reactor, 0.02)
        goes_on.set()
        change = await rotating
        self.assertIn("Somebody else", (await revoking).info)
        card = await self.organization_card()
        self.assertEqual((len(card), card[-1].text), (2, change.entry.text))

    async def test_file_of_before(self) -> None:
        """Where organization.key does not open the keys any more, ORGREVOKE is 303: not a fault of ours."""
        admin, person = await self.admin()
        (master,) = read_candidates(self.directory / "organization.key")
        await self.database.run(keycard.reencrypt, master, SecretKey.generate())
        fields = {"Password-Hash": person.password}
        answer = await self.assert_answer(admin, "ORGREVOKE", fields, Status.SERVER_UNAVAILABLE)
        self.assertIn("organization.key", answer.info)
        self.assertEqual(len(await self.organization_card()), 1)

    async def test_between_the_steps(self) -> None:
        """An entry whose organization's card changed between its steps is 412; the next try succeeds."""
        client, alice = await self.holder("alice")
        await self.add(client, alice)
        for step in (keycard.rotate, keycard.revoke):
            keys = UserKeys()
            base = alice.rotation(keys)
            entry = self.signed(base, await self.begin(client, base.text), keys)
            await self.change_elsewhere(step)
            fields = {"User-Signature": entry.fields["User-Signature"]}
            await self.assert_answer(client, "ADDENTRY", fields, Status.NONCOMPLIANT_KEYCARD_DATA)
        await self.add(client, alice)
        self.assertTrue((await self.judge(alice)).is_usable)

    async def test_during_the_first_step(self) -> None:
        """An entry whose organization's keys change while it is checked is 412, too."""
        client, alice = await self.holder("alice")
        held, goes_on = Event(), Event()

        def hold_lookups(txn: Transaction) -> None:
            txn.execute("LOCK TABLE lookups IN EXCLUSIVE MODE")
            held.set()
            goes_on.wait(60)

        holding = self.database.run(hold_lookups)
        await until(held.is_set)
        fields = {"Base-Entry": alice.root(UserKeys(), User_ID="alicia").text}
        adding = client.request("ADDENTRY", fields, Status.NONCOMPLIANT_KEYCARD_DATA)
        while not await self.value(WAITING):
            await deferLater(reactor, 0.02)
        await self.change_elsewhere(keycard.rotate)
        goes_on.set()
        await holding
        self.assertIn("begin again", (await adding).info)
        await self.add(client, alice, User_ID="alicia")

    def test_held(self) -> None:
        """While entries of users are added the organization's card stays as it is, and only then."""
        first, second, changing = self.connect(), self.connect(), self.connect()
        for adding in (first, second):
            self.assertIsNotNone(hold_organization(Transaction(adding.cursor())))
        for adding in (first, second):
            change = changing.cursor()
            change.execute("SET LOCAL lock_timeout = '10ms'")
            with self.assertRaises(LockNotAvailable):
                lock_organization(Transaction(change))
            changing.rollback()
            adding.rollback()
        lock_organization(Transaction(changing.cursor()))

    async def test_keys_not_noticed_yet(self) -> None:
        """An entry right after another process changed the keys is signed with the new ones."""
        client, alice = await self.holder("alice")
        masters = read_candidates(self.directory / "organization.key")
        for step in (keycard.rotate, keycard.revoke):
            current = await self.database.read(keycard.current_entry)
            change = await self.database.run(step, masters, current.hash, datetime.now(UTC))
            keys = UserKeys()
            await identity.add_entry(client, base := alice.next(keys), keys, change.entry)
            texts = await get_card(client, alice.address)
            alice.took(type(base).from_text(texts[-1]), keys)


class IsCurrentTests(IdentityTestCase):
    """ISCURRENT."""

    async def test_fields(self) -> None:
        """Index and Workspace-ID are checked."""
        await self.assert_fields(
            await self.client(),
            "ISCURRENT",
            {"Index": "1"},
            {"Index": ("x", "-1", "1.0", str(2**31))},
            {"Workspace-ID": ("x", "alice")},
        )

    async def test_answers(self) -> None:
        """YES for the newest, NO for all others, 404 without a card; for anybody."""
        client, alice = await self.holder("alice")
        stranger = await self.client()
        fields = {"Index": 1, "Workspace-ID": alice.person.workspace}
        await self.assert_answer(stranger, "ISCURRENT", fields, Status.NOT_FOUND)
        for index in (1, 2):
            await self.add(client, alice)
            answers = [
                await identity.is_current(stranger, asked, alice.person.workspace) for asked in range(4)
            ]
            self.assertEqual(answers, [asked == index for asked in range(4)])
        self.assertTrue(await identity.is_current(stranger, 1))

    async def test_not_there(self) -> None:
        """404 for the zero ID, and for who is archived or was never registered, as with GETCARD."""
        client, alice = await self.holder("alice")
        await self.add(client, alice)
        stranger = await self.client()
        for index in (1, 2):
            nobody = {"Index": index, "Workspace-ID": ORGANIZATION}
            await self.assert_answer(stranger, "ISCURRENT", nobody, Status.NOT_FOUND)
        for status in ("archived", "preregistered"):
            await self.change(
                "UPDATE workspaces SET status = %s, password_hash = NULL WHERE id = %s",
                status,
                alice.person.workspace.uuid,
            )
            fields = {"Index": 1, "Workspace-ID": alice.person.workspace}
            await self.assert_answer(stranger, "ISCURRENT", fields, Status.NOT_FOUND)
