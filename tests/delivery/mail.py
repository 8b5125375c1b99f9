"""Two people on a running server who write to each other."""

from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any

from attrs import evolve
from twisted.internet import reactor
from twisted.internet.task import deferLater

from mensagod.client.sending import send
from mensagod.contents.room import Room
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
    """Tell whether a query is under way or a worker has messages."""
    return delivery._querying or any(lane.workers for lane in delivery.lanes)


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

    async def send_to_queue(self, to: Person | MAddress | WAddress | None = None, **changes: Any) -> FileName:
        """Write from Alice a message that is queued and due at once, because it has a send time."""
        return await self.send(to, send_time=datetime.now(UTC), **changes)

    def limit_inline(self, kibibytes: int, service: MensagoService | None = None) -> None:
        """Let contents up to this size stand in their rows; with 0 all are in the store."""
        server = (service or self.service).server
        performance = evolve(server.config.performance, inline_limit=kibibytes)
        server.config = evolve(server.config, performance=performance)

    def watch_store(self, service: MensagoService | None = None) -> WatchedStore:
        """Put a watched store in place of the server's own."""
        service = service or self.service
        store = WatchedStore(service.assembly.store)
        server = service.server
        server.store = local_route(service.assembly.delivery).store = store
        server.room = Room(server.reactor, store, server.files)
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
            "SELECT NOT EXISTS (SELECT 1 FROM queue WHERE name = %s AND code IS NULL)", name.text
        )
        rows = await self.rows(
            "SELECT state, code, reason, attempts, due, target FROM queue WHERE name = %s", name.text
        )
        return rows[0] if rows else None

    async def delivered(self, workspace: WorkspaceID) -> list[str]:
        """Give the names in somebody's ``new``, by the database."""
        rows = await self.rows(
            "SELECT name FROM files JOIN folders ON folders.workspace = files.workspace"
            " AND folders.id = folder WHERE path = %s ORDER BY name",
            str(ServerPath.new_messages(workspace)),
        )
        return [row.name for row in rows]

    async def content_of(self, workspace: WorkspaceID) -> Any:
        """Give the row of the content of the only file in somebody's mailbox."""
        (row,) = await self.rows(
            "SELECT contents.* FROM contents JOIN files ON files.workspace = contents.workspace"
            " AND files.content = contents.key WHERE files.workspace = %s",
            workspace.uuid,
        )
        return row

    def on_disk(self) -> list[str]:
        """Give the keys of all contents in the store, sorted."""
        parts = (self.directory / "data" / "content").rglob("*.*")
        return sorted({part.name.partition(".")[0] for part in parts})

    async def assert_consistent(self) -> None:
        """Database and store say the same; sums are right; each file has one CREATE record."""
        await self.assert_same_contents()
        await self.assert_stored_contents()
        await self.assert_sums()
        files = await self.rows(
            "SELECT path, name FROM files JOIN folders ON folders.workspace = files.workspace"
            " AND folders.id = folder"
        )
        records = await self.rows("SELECT data FROM updates WHERE type = 'CREATE' ORDER BY data")
        self.assertEqual([row.data for row in records], sorted(f"{row.path} {row.name}" for row in files))

    async def assert_same_contents(self) -> None:
        """Each content is that of as many files as it says, and of their size."""
        wrong = await self.rows(
            "SELECT contents.workspace, key, uses FROM contents WHERE uses <> (SELECT count(*) FROM files"
            " WHERE files.workspace = contents.workspace AND content = key AND files.size = contents.size)"
        )
        self.assertEqual(wrong, [])
        inline = await self.rows(
            "SELECT data, hash FROM contents WHERE data IS NOT NULL"
            " UNION ALL SELECT data, hash FROM queue WHERE data IS NOT NULL"
        )
        for row in inline:
            self.assertEqual(blake2b(row.data, digest_size=32).digest(), bytes(row.hash))

    async def assert_stored_contents(self) -> None:
        """The store has what the rows say, each content in one of them, and nothing that no row knows.

        What is being written, or garbage, may not be there yet or any more.
        """
        rows = await self.rows(
            "SELECT key, day, size, hash FROM contents WHERE day IS NOT NULL"
            " UNION ALL SELECT content, day, size, hash FROM queue WHERE day IS NOT NULL"
        )
        idle = await self.rows("SELECT key FROM writings UNION ALL SELECT key FROM garbage")
        known = [str(row.key) for row in [*rows, *idle]]
        self.assertEqual(len(known), len(set(known)))
        self.assertEqual(set(self.on_disk()) - set(known), set())
        for row in rows:
            bucket = self.directory / "data" / "content" / f"{row.day:%Y%m%d}" / row.key.hex[:2]
            parts = sorted(bucket.glob(f"{row.key}.*"), key=lambda part: int(part.suffix[1:]))
            content = b"".join(part.read_bytes() for part in parts)
            self.assertEqual(len(content), row.size)
            self.assertEqual(blake2b(content, digest_size=32).digest(), bytes(row.hash))

    async def assert_sums(self) -> None:
        """Usage is the sum of the files, and what waits the sum of the messages in the queue."""
        wrong = await self.rows(
            "SELECT workspace, used, mailboxes.files, queued FROM mailboxes"
            " WHERE (used, files) IS DISTINCT FROM"
            " (SELECT (coalesce(sum(size), 0)::bigint, count(*)) FROM files"
            " WHERE files.workspace = mailboxes.workspace)"
            " OR queued <> (SELECT coalesce(sum(size), 0) FROM queue WHERE sender = mailboxes.workspace)"
        )
        self.assertEqual(wrong, [])
