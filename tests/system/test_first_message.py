"""From an empty installation to a message between two people."""

from datetime import UTC, datetime

from twisted.internet import reactor
from twisted.internet.task import deferLater

from mensagod.client.connection import ClientConnection
from mensagod.crypto.sealing import EncryptionPair
from mensagod.delivery.envelopes import seal_message
from mensagod.status import Status
from mensagod.values.identity import WAddress
from tests.serving import DOMAIN, ServerTestCase


class FirstMessageTests(ServerTestCase):
    """Two people, one message."""

    async def test_first_message(self) -> None:
        """What one sends, the other is told of, lists and downloads byte for byte."""
        admin, _ = await self.admin()
        alice_client, alice = await self.member(admin, "alice")
        bob_client, bob = await self.member(admin, "bob")
        message = seal_message(
            b'{"body":"hello"}',
            WAddress(alice.workspace, DOMAIN),
            WAddress(bob.workspace, DOMAIN),
            sender_org_key=self.organization.encryption.public,
            recipient_org_key=self.organization.encryption.public,
            recipient_key=EncryptionPair.generate().public,
            date=datetime.now(UTC),
        )
        await alice_client.request("SEND", {"Message": message, "Domain": "example.com"}, Status.OK)
        self.assertEqual(await self.wait_for_updates(bob_client), "1")
        listing = await bob_client.request("LIST", {"Path": f"/ wsp {bob.workspace} new"}, Status.OK)
        path = f"/ wsp {bob.workspace} new {listing.data['Files']}"
        self.assertEqual(await self.download(bob_client, path), message.encode())

    async def wait_for_updates(self, client: ClientConnection) -> str:
        """Keep asking until the server says that something changed."""
        while True:
            answer = await client.request("IDLE", {}, Status.OK)
            if "UpdateCount" in answer.data:
                return answer.data["UpdateCount"]
            await deferLater(reactor, 0.01)

    async def download(self, client: ClientConnection, path: str) -> bytes:
        """Fetch a file."""
        content = bytearray()

        class Sink:
            def write(self, data: bytes) -> None:
                content.extend(data)

        async with client.turn() as turn:
            answer = await turn.request("DOWNLOAD", {"Path": path}, Status.CONTINUE)
            size = int(answer.data["Size"])
            await turn.receive("DOWNLOAD", {"Path": path, "Size": str(size)}, size, Sink())
        return bytes(content)
