"""Messages that are delivered together: what becomes of one touches no other (spec 05, *Local delivery*)."""

from typing import Any

from twisted.internet import reactor
from twisted.internet.task import deferLater

from mensagod.delivery import placing, service
from mensagod.delivery.results import (
    Delivered,
    MailboxFull,
    MailboxHeld,
    NoSuchRecipient,
    OwnFault,
    Result,
)
from mensagod.storage import queue, workspaces
from mensagod.storage.queue import LeaseLost, Queued
from mensagod.values.identity import WAddress, WorkspaceID
from mensagod.values.paths import FileName, ServerPath
from tests.delivery.mail import MailTestCase, is_busy, local_route
from tests.serving import DOMAIN


class BatchTestCase(MailTestCase):
    """Messages that wait, claimed by nobody who lives, and what delivers them."""

    async def prepare(self) -> None:
        await super().prepare()
        self.carol = await self.settle("carol")
        self.delivery = self.service.assembly.delivery
        await self.delivery.stopService()

    async def claim(self, *names: FileName) -> list[Queued]:
        """Claim all messages; give them in the order of their names in ``out``."""
        claimed = {message.name: message for message in await self.database.run(queue.claim, 99)}
        return [claimed[name] for name in names]

    async def deliver(self, *messages: Queued) -> list[Result]:
        results = await local_route(self.delivery).deliver(messages)
        return [results[message.id] for message in messages]

    def assert_types(self, results: list[Result], *types: type) -> None:
        self.assertEqual([type(result) for result in results], list(types))

    def hold(self, workspace: WorkspaceID) -> Any:
        """Lock a mailbox, as another process may, until the connection rolls back."""
        connection = self.connect()
        with connection.cursor() as cursor:
            cursor.execute("SELECT FROM mailboxes WHERE workspace = %s FOR UPDATE", (workspace.uuid,))
        return connection


class BatchTests(BatchTestCase):
    """One call for many messages."""

    async def test_each_its_own(self) -> None:
        """Each has a result of its own: delivered, nobody there, file gone, lease lost."""
        good = await self.send()
        nobody = await self.send(WAddress(WorkspaceID.random(), DOMAIN))
        gone = await self.send()
        lost = await self.send(self.carol)
        messages = await self.claim(good, nobody, gone, lost)
        self.service.server.store.remove(messages[2].path)
        await self.change("UPDATE queue SET lease = gen_random_uuid() WHERE name = %s", lost.text)
        results = await self.deliver(*messages)
        self.assert_types(results, Delivered, NoSuchRecipient, OwnFault, LeaseLost)
        self.assertEqual(len(await self.delivered(self.bob.workspace)), 1)
        self.assertEqual(await self.delivered(self.carol.workspace), [])

    async def test_order(self) -> None:
        """Records are numbered without a gap in each mailbox, whoever else got messages meanwhile."""
        names = [await self.send(person) for person in (self.bob, self.carol, self.bob, self.carol, self.bob)]
        self.assert_types(await self.deliver(*await self.claim(*names)), *[Delivered] * 5)
        for person, count in ((self.bob, 3), (self.carol, 2)):
            rows = await self.rows(
                "SELECT number FROM updates WHERE workspace = %s ORDER BY number", person.workspace.uuid
            )
            self.assertEqual([row.number for row in rows], list(range(1, count + 1)))
        await self.assert_consistent()

    async def test_quota(self) -> None:
        """What comes together fills a mailbox up to its last byte and no further."""
        size = len(self.letter().encode())
        await self.change(
            "UPDATE mailboxes SET quota = %s WHERE workspace = %s", 2 * size, self.bob.workspace.uuid
        )
        names = [await self.send() for _ in range(3)] + [await self.send(self.carol)]
        results = await self.deliver(*await self.claim(*names))
        self.assert_types(results, Delivered, Delivered, MailboxFull, Delivered)

    async def test_quota_goes(self) -> None:
        """A quota that is taken away at that very moment makes no mailbox full."""
        await self.change("UPDATE mailboxes SET quota = 1000000")
        (message,) = await self.claim(await self.send())
        find = workspaces.find_recipients

        def lift(txn: Any, addresses: Any) -> Any:
            found = find(txn, addresses)
            with self.connect() as connection, connection.cursor() as cursor:
                cursor.execute("UPDATE mailboxes SET quota = 0")
            return found

        self.patch(workspaces, "find_recipients", lift)
        (result,) = await self.deliver(message)
        assert isinstance(result, MailboxHeld)
        self.assert_types(await self.deliver(result.message), Delivered)

    async def test_new_is_made_again(self) -> None:
        """A mailbox whose directory was lost gets it back, for all that comes."""
        new = ServerPath.new_messages(self.bob.workspace)
        await self.change("DELETE FROM folders WHERE path = %s", str(new))
        names = [await self.send(person) for person in (self.bob, self.carol, self.bob)]
        self.assert_types(await self.deliver(*await self.claim(*names)), *[Delivered] * 3)
        await self.assert_consistent()

    async def test_archived_while_moving(self) -> None:
        """A workspace that goes while its file moves takes no other message with it."""
        messages = await self.claim(await self.send(), await self.send(self.carol))
        connection = self.connect()

        def archive(path: ServerPath) -> None:
            with connection, connection.cursor() as cursor:
                cursor.execute("DELETE FROM mailboxes WHERE workspace = %s", (self.bob.workspace.uuid,))

        self.watch_store().before_move = archive
        self.assert_types(await self.deliver(*messages), NoSuchRecipient, Delivered)
        self.assertEqual(self.on_disk("out"), [messages[0].name.text])

    async def test_does_not_move_back(self) -> None:
        """A file that has gone to a workspace that went, and does not come back, is tried again."""
        (message,) = await self.claim(await self.send())
        store = self.watch_store()

        def archive(path: ServerPath) -> None:
            with self.connect() as connection, connection.cursor() as cursor:
                cursor.execute("DELETE FROM mailboxes WHERE workspace = %s", (self.bob.workspace.uuid,))
            store.before_move = fail

        def fail(path: ServerPath) -> None:
            raise OSError(5, "Input/output error")

        store.before_move = archive
        self.assert_types(await self.deliver(message), OSError)
        self.assertEqual(self.on_disk("out"), [])
        store.before_move = store.before_write
        await self.change("UPDATE queue SET lease_until = '2001-01-01'")
        self.assert_types(await self.deliver(*await self.claim(message.name)), NoSuchRecipient)
        self.assertEqual(self.on_disk("out"), [message.name.text])

    async def test_breaks_at_the_end(self) -> None:
        """Whatever goes wrong with one after others arrived, that they did is known."""
        messages = await self.claim(await self.send(), await self.send(self.carol))
        store = self.watch_store()

        def archive(path: ServerPath) -> None:
            if path == messages[0].path:
                with self.connect() as connection, connection.cursor() as cursor:
                    cursor.execute("DELETE FROM mailboxes WHERE workspace = %s", (self.bob.workspace.uuid,))
            else:
                store.before_move = fail

        def fail(path: ServerPath) -> None:
            raise RuntimeError

        store.before_move = archive
        self.assert_types(await self.deliver(*messages), RuntimeError, Delivered)


class BusyTests(BatchTestCase):
    """Messages that cannot go on with the others."""

    async def test_held_mailbox(self) -> None:
        """A mailbox that somebody holds keeps up its own messages only, at both steps."""
        for quota in (0, 1_000_000):
            await self.change("UPDATE mailboxes SET quota = %s", quota)
            messages = await self.claim(await self.send(), await self.send(self.carol))
            held = self.hold(self.bob.workspace)
            first, second = await self.deliver(*messages)
            self.assertIsInstance(second, Delivered)
            assert isinstance(first, MailboxHeld)
            # Without a quota, nothing is locked before the file moves.
            self.assertEqual(first.message.target is None, bool(quota))
            held.rollback()
            self.assert_types(await self.deliver(first.message), Delivered)
        await self.assert_consistent()

    async def test_service(self) -> None:
        """The service delivers by itself what could not go on with the others."""
        await self.send()
        await self.send(self.carol)
        held = self.hold(self.bob.workspace)
        self.delivery.startService()
        await self.until("SELECT count(*) = 1 FROM queue")
        self.assertEqual(len(await self.delivered(self.carol.workspace)), 1)
        held.rollback()
        await self.until("SELECT count(*) = 0 FROM queue")
        self.assertEqual(len(await self.delivered(self.bob.workspace)), 1)
        await self.assert_consistent()

    async def test_many(self) -> None:
        """However many wait for a mailbox, no more workers are busy than may be, and others' mail arrives."""
        for _ in range(self.most + 5):
            await self.send()
        held = self.hold(self.bob.workspace)
        self.delivery.startService()
        await self.until("SELECT count(*) = 0 FROM queue WHERE target IS NULL")
        await self.send(self.carol)
        await self.until("SELECT count(*) = 1 FROM updates")
        self.assertEqual(len(await self.delivered(self.carol.workspace)), 1)
        for lane in self.delivery.lanes:
            self.assertLessEqual(lane.workers, self.most)
        held.rollback()
        await self.change("UPDATE queue SET lease_until = '2001-01-01'")
        self.delivery.wake()
        await self.until("SELECT count(*) = 0 FROM queue")
        self.assertEqual(len(await self.delivered(self.bob.workspace)), self.most + 5)
        await self.assert_consistent()

    @property
    def most(self) -> int:
        return self.service.server.config.performance.max_delivery_threads

    async def test_broken_step(self) -> None:
        """A message that makes a step fail does so alone: the others arrive."""
        poisoned = await self.send()
        await self.send(self.carol)
        aim = placing.aim

        def fail(txn: Any, messages: Any, **more: Any) -> Any:
            if poisoned in [message.name for message in messages]:
                raise RuntimeError
            return aim(txn, messages, **more)

        self.patch(placing, "aim", fail)
        self.delivery.startService()
        row = await self.outcome(poisoned)
        self.assertEqual((row.state, row.code), ("queued", 300))
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        await self.until("SELECT count(*) = 1 FROM queue")
        self.assertEqual(len(await self.delivered(self.carol.workspace)), 1)


class ManyTests(BatchTestCase):
    """More messages than one worker takes."""

    async def test_more_than_a_batch(self) -> None:
        """All of them arrive, whatever the number."""
        self.patch(service, "CLAIM_LIMIT", 3)
        for _ in range(20):
            await self.send()
        self.delivery.startService()
        await self.until("SELECT count(*) = 0 FROM queue")
        while is_busy(self.delivery):
            await deferLater(reactor, 0.01)
        self.assertEqual(len(await self.delivered(self.bob.workspace)), 20)
        await self.assert_consistent()
