"""Processes that share a database and a store follow each other's changes (spec 06, *Running many*)."""

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.task import deferLater

from mensagod.client import sending
from mensagod.client.connection import ClientConnection
from mensagod.client.errors import RequestRefused
from mensagod.client.identity import add_entry
from mensagod.client.lookups import get_card
from mensagod.keycards.entries import OrganizationEntry
from mensagod.keycards.making import UserKeys
from mensagod.organization.key_file import read_organization_key
from mensagod.organization.keyring import KeyringFault, choose_master
from mensagod.status import Status
from mensagod.storage import keys
from mensagod.storage.rows import Transaction
from mensagod.values.identity import WAddress, WorkspaceID
from tests.commands.identity_cases import Holder
from tests.installation.places import execute
from tests.serving import DOMAIN
from tests.system.joined import CHANGED, PROMISED_SECONDS, SLACK_SECONDS, JoinedTestCase

BEHIND = "its next start would fail"
UNUSABLE = "have changed and cannot be used"


class MessageTests(JoinedTestCase):
    async def test_both_ways(self) -> None:
        """Each process delivers to sessions of the other, which are told within a second."""
        await self.exchange()

    async def test_one_goes(self) -> None:
        """When the first process ends, the one that has joined goes on alone."""
        self.assertEqual(self.servers[0].stop(), 0)
        self.near = await self.enter(self.alice, 1)
        await self.exchange()


class CardTests(JoinedTestCase):
    async def test_entry(self) -> None:
        """An entry that a user adds at one process is on the card at the other one within a second."""
        alice = Holder(self.alice)
        organization = OrganizationEntry.from_text((await get_card(self.near))[0])
        for number in range(1, 4):
            pairs = UserKeys()
            alice.took(await add_entry(self.near, alice.next(pairs), pairs, organization), pairs)
            await self.has_entries(self.far, number, alice.address)
        texts = await get_card(self.far, alice.address)
        self.assertEqual(texts, [entry.text for entry in alice.card])

    async def has_entries(self, client: ClientConnection, number: int, owner: WAddress | None = None) -> None:
        """Check that a process gives a card with so many entries within a second."""
        begun = time.monotonic()
        while (await self.count_entries(client, owner)) != number:
            await deferLater(reactor, 0.02)
        self.assertLess(time.monotonic() - begun, PROMISED_SECONDS + SLACK_SECONDS)

    async def count_entries(self, client: ClientConnection, owner: WAddress | None) -> int:
        try:
            return len(await get_card(client, owner))
        except RequestRefused as refused:
            self.assertEqual(refused.status, Status.NOT_FOUND)
            return 0

    async def test_organization(self) -> None:
        """So is an entry that the command adds to the organization's card."""
        for number in (2, 3):
            self.org(number % 2, "rotate")
            for client in (self.near, self.far):
                await self.has_entries(client, number)


class KeyTests(JoinedTestCase):
    async def test_rotation(self) -> None:
        """A rotation is known to both processes within a second; both open what was sealed before it, and
        what is sealed to the new key before they have heard of that.
        """
        old = self.key
        self.org(1, "rotate")
        await self.exchange()
        self.logged(CHANGED, CHANGED)
        await self.exchange(old)
        await self.enter(self.bob, 0)
        await self.enter(self.alice, 1)

    async def test_revocation(self) -> None:
        """So is a revocation; what was sealed before it is refused by both."""
        old = self.key
        self.org(1, "revoke")
        self.logged(CHANGED, CHANGED)
        await self.exchange()
        for sender, letter in (
            (self.near, self.letter(self.alice, self.bob, old)),
            (self.far, self.letter(self.bob, self.alice, old)),
        ):
            self.assertEqual(await self.refused(sender, letter), Status.BAD_REQUEST)

    async def test_rotations_at_once(self) -> None:
        """Of two rotations at the same moment none is lost; one that came too late says so."""
        results = self.at_once("rotate")
        self.assertEqual(results[0], (0, ""))
        if results[1][0]:
            self.assertIn("Another process has changed the organization's keycard", results[1][1])
        done = [status for status, _ in results].count(0)
        self.assertEqual(self.org(0, "show").document["index"], 1 + done)
        await self.exchange()

    async def test_rekeys_at_once(self) -> None:
        """Of two new keys at the same moment one is used; the other is not made, and nobody is disturbed."""
        results = self.at_once("rekey")
        self.assertEqual(results[0], (0, ""))
        self.assertEqual(results[1][0], 1)
        self.assertIn("does not decrypt", results[1][1])
        self.assertEqual(len([file for file in self.key_files() if self.decrypts(file)]), 1)
        self.assertEqual(list(self.directory.rglob("organization.key.new")), [])
        await self.exchange()

    async def test_scheduled(self) -> None:
        """Messages that waited from before a rotation and a rekey are delivered, by whichever process."""
        later = datetime.now(UTC) + timedelta(hours=1)
        for sender, who, to in ((self.near, self.alice, self.bob), (self.far, self.bob, self.alice)):
            await sending.send(sender, self.letter(who, to, send_time=later), DOMAIN)
        self.org(0, "rotate")
        self.logged(CHANGED, CHANGED)
        self.org(0, "rekey")
        self.logged(CHANGED, BEHIND)
        self.hasten()
        await self.told(self.far)
        await self.told(self.near)

    async def test_rekey_elsewhere(self) -> None:
        """A process without the new key file goes on until the keys change. Then it says 303, and no message
        is lost, and the other one works. With the file it goes on.
        """
        self.org(0, "rekey")
        self.logged(CHANGED, BEHIND)
        await self.exchange()
        later = datetime.now(UTC) + timedelta(hours=1)
        nobody = WorkspaceID.random()
        for to in (self.alice, nobody):
            await sending.send(self.far, self.letter(self.bob, to, send_time=later), DOMAIN)
        old = self.key
        self.org(0, "rotate")
        self.logged(CHANGED, UNUSABLE)
        letter = self.letter(self.bob, self.alice, old)
        self.assertEqual(await self.refused(self.far, letter), Status.SERVER_UNAVAILABLE)
        await sending.send(self.near, self.letter(self.alice, self.bob), DOMAIN)
        self.hasten()
        # Its target is known, so that no key is needed.
        await self.told(self.near)
        new, behind = self.key_files()
        behind.write_bytes(new.read_bytes())
        self.servers[1].line(CHANGED)
        await self.told(self.far)
        await sending.send(self.far, letter, DOMAIN)
        await self.told(self.near)
        while execute(self.parameters, codes) != [int(Status.ADDRESS_NOT_FOUND)]:
            await deferLater(reactor, 0.05)

    async def refused(self, client: ClientConnection, letter: str) -> int:
        """Send in vain; give the status."""
        with self.assertRaises(RequestRefused) as refused:
            await sending.send(client, letter, DOMAIN)
        return int(refused.exception.status)

    def hasten(self) -> None:
        """Have all messages of the queue due now."""
        execute(self.parameters, lambda txn: txn.execute("UPDATE queue SET due = now()"))

    def decrypts(self, file: Path) -> bool:
        """Tell whether a key file belongs to the database."""
        stored = execute(self.parameters, keys.live_keys)
        try:
            choose_master(stored, [read_organization_key(file)])
        except KeyringFault:
            return False
        return True


def codes(txn: Transaction) -> list[int | None]:
    """Give the results of the messages in the queue."""
    txn.execute("SELECT code FROM queue")
    return [row.code for row in txn.fetchall()]
