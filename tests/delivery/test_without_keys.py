"""Local delivery by a process that has no keys of the organization for now."""

from datetime import UTC, datetime, timedelta

from attrs import evolve

from mensagod.client.sending import send
from mensagod.delivery.local import LocalRoute
from mensagod.delivery.results import Delivered
from mensagod.errors import ServerUnavailable
from mensagod.organization.keyring import Keyring
from mensagod.storage import queue
from mensagod.values.identity import WAddress, WorkspaceID
from tests.delivery.letters import letter
from tests.serving import DOMAIN, ServerTestCase


class WithoutKeysTests(ServerTestCase):
    async def test_known_targets(self) -> None:
        """Only messages whose targets have to be read in them wait for keys."""
        delivery = self.service.assembly.delivery
        await delivery.stopService()
        alice, bob = await self.settle("alice"), await self.settle("bob")
        client = await self.enter(alice)
        later = datetime.now(UTC) + timedelta(hours=1)
        for to in (bob.address, WAddress(WorkspaceID.random(), DOMAIN)):
            text = letter(self.organization.encryption, alice.address, to, send_time=later)
            await send(client, text, DOMAIN)
        await self.change("UPDATE queue SET due = now()")
        messages = await self.database.run(queue.list_due, range(queue.BUCKETS), 10)
        known, unknown = sorted(messages, key=lambda message: message.target is None)
        [route] = [lane.route for lane in delivery.lanes if isinstance(lane.route, LocalRoute)]

        def no_keys() -> Keyring:
            raise ServerUnavailable

        results = await evolve(route, keyring=no_keys).deliver(messages)
        self.assertIsInstance(results[known.id], Delivered)
        self.assertIsInstance(results[unknown.id], ServerUnavailable)
        self.assertEqual(await self.value("SELECT id FROM queue WHERE attempts = 0"), unknown.id)
