"""Two people on a running server who write to each other."""

from typing import Any

from twisted.internet import reactor
from twisted.internet.task import deferLater

from mensagod.client.sending import send
from mensagod.delivery.local import LocalRoute
from mensagod.delivery.service import DeliveryService
from mensagod.server.service import MensagoService
from mensagod.values.identity import MAddress, WAddress, WorkspaceID
from mensagod.values.paths import FileName, ServerPath
from tests.commands.cases import CommandTestCase
from tests.delivery.letters import letter
from tests.delivery.stores import Gate, WatchedStore
from tests.serving import Person


def local_route(delivery: DeliveryService) -> LocalRoute:
    """Give the route to the mailboxes of a server."""
    (local,) = [lane.route for lane in delivery.lanes if isinstance(lane.route, LocalRoute)]
    return local


def is_busy(delivery: DeliveryService) -> bool:
    """Tell whether a claim is under way or a worker has messages."""
    return delivery._claiming or any(lane.workers for lane in delivery.lanes)


class MailTestCase(CommandTestCase):
    """Alice is logged in; Bob has an account."""

    async def prepare(self) -> None:
        await super().prepare()
        await self.introduce()

    async def introduce(self) -> None:
        self.alice = await self.settle("alice")
        self.bob = await self.settle("bob")
        if hasattr(self, "service"):
            self.client_ = await self.enter(self.alice)

    def letter(self, to: Person | MAddress | WAddress | None = None, **changes: Any) -> str:
        """Write from Alice, to Bob unless told."""
        recipient = self.bob if to is None else to
        address = recipient.address if isinstance(recipient, Person) else recipient
        return letter(self.organization.encryption, self.alice.address, address, **changes)

    async def send(self, to: Person | MAddress | WAddress | None = None, **changes: Any) -> FileName:
        """Write from Alice and hand it in."""
        recipient = self.bob if to is None else to
        address = recipient.address if isinstance(recipient, Person) else recipient
        return await send(self.client_, self.letter(to, **changes), address.domain)

    def watch_store(self, service: MensagoService | None = None) -> WatchedStore:
        """Put a watched store in place of the server's own."""
        service = service or self.service
        store = WatchedStore(service.assembly.store)
        service.server.store = local_route(service.assembly.delivery).store = store
        return store

    def gate(self) -> Gate:
        """Make a gate, which is open at the end of the test."""
        gate = Gate()
        self.addCleanup(gate.open)
        return gate

    async def until(self, sql: str, *parameters: object) -> None:
        """Wait until a question to the database has a true answer."""
        while not await self.value(sql, *parameters):
            await deferLater(reactor, 0.01)

    async def outcome(self, name: FileName) -> Any:
        """Wait until delivery of a message was tried; give its row, or nothing if it was delivered."""
        await self.until(
            "SELECT NOT EXISTS (SELECT 1 FROM queue WHERE name = %s AND (code IS NULL OR lease IS NOT NULL))",
            name.text,
        )
        rows = await self.rows(
            "SELECT state, code, reason, attempts, due, target FROM queue WHERE name = %s", name.text
        )
        return rows[0] if rows else None

    async def delivered(self, workspace: WorkspaceID) -> list[str]:
        """Give the names in somebody's ``new``, by the database."""
        rows = await self.rows(
            "SELECT name FROM files JOIN folders ON folders.id = folder WHERE path = %s ORDER BY name",
            str(ServerPath.new_messages(workspace)),
        )
        return [row.name for row in rows]

    def on_disk(self, area: str) -> list[str]:
        """Give the names of all files in an area of the store."""
        return sorted(path.name for path in (self.directory / "data" / area).rglob("*") if path.is_file())

    async def assert_consistent(self) -> None:
        """Database and disk say the same; usage is the sum of the files; one CREATE record for each."""
        files = await self.rows(
            "SELECT folders.path, name, size, state FROM files"
            " JOIN folders ON folders.id = folder ORDER BY name"
        )
        self.assertEqual(self.on_disk("wsp"), [row.name for row in files])
        self.assertEqual({row.state for row in files} - {"live"}, set())
        for row in files:
            stored = self.directory / "data" / "/".join(row.path.split()[1:]) / row.name
            self.assertEqual(stored.stat().st_size, row.size)
        queued = await self.rows("SELECT name FROM queue ORDER BY name")
        self.assertEqual(self.on_disk("out"), [row.name for row in queued])
        wrong = await self.rows(
            "SELECT workspace, used, mailboxes.files FROM mailboxes WHERE (used, files) IS DISTINCT FROM"
            " (SELECT (coalesce(sum(size), 0)::bigint, count(*)) FROM files"
            " WHERE files.workspace = mailboxes.workspace)"
        )
        self.assertEqual(wrong, [])
        records = await self.rows("SELECT data FROM updates WHERE type = 'CREATE' ORDER BY data")
        self.assertEqual([row.data for row in records], sorted(f"{row.path} {row.name}" for row in files))
