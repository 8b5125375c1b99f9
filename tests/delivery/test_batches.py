"""Queued messages that are delivered together: what becomes of one touches no other."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from attrs import evolve
from twisted.internet.defer import Deferred, gatherResults

from mensagod.delivery import placing
from mensagod.delivery.labels import ReceiverPart
from mensagod.delivery.local import LocalRoute
from mensagod.delivery.results import (
    Delivered,
    MailboxFull,
    MailboxHeld,
    NoSuchRecipient,
    OwnFault,
    Refused,
    Result,
)
from mensagod.organization.keyring import Keyring
from mensagod.storage import workspaces
from mensagod.storage.attempts import CommitUnknown, Locked
from mensagod.storage.contents import Content
from mensagod.storage.queue import Overtaken, Queued
from mensagod.values.identity import SERVER_DEVICE, MAddress, UserID, WAddress, WorkspaceID
from mensagod.values.paths import ServerPath
from tests.delivery.fakes import InlineThreads
from tests.delivery.letters import letter
from tests.delivery.placed import SIZE, PlacedTestCase
from tests.serving import DOMAIN, Person, settle


class DeliverTests(PlacedTestCase):
    """One transaction for several messages."""

    async def queued_for(self, *people: Person) -> list[Queued]:
        return await self.enqueue(*[self.submission(person) for person in people])

    def assert_types(self, results: list[Any], *types: type) -> None:
        self.assertEqual([type(result) for result in results], list(types))

    async def test_delivered(self) -> None:
        """A message leaves the queue and its sender's account, and stands in the mailbox, counted there."""
        (message,) = await self.queued_for(self.bob)
        self.assertEqual(await self.usage(self.alice), (0, SIZE))
        self.assertEqual(await self.deliver(message), [Delivered(self.bob.workspace)])
        self.assertEqual((await self.usage(self.alice), await self.usage(self.bob)), ((0, 0), (SIZE, 0)))
        self.assertEqual(await self.value("SELECT count(*) FROM queue"), 0)
        self.assertEqual(await self.value("SELECT device FROM updates"), SERVER_DEVICE.uuid)
        await self.assert_consistent()

    async def test_content_stays(self) -> None:
        """A content in the store stays where it is, and its row goes with the message."""
        content = await self.stored(b"long")
        (message,) = await self.enqueue(self.submission(self.bob, content=content))
        await self.deliver(message)
        row = await self.content_of(self.bob.workspace)
        self.assertEqual((row.key, row.day, row.data), (content.id, content.day, None))
        await self.assert_consistent()

    async def test_each_its_own(self) -> None:
        """Each has a result of its own: delivered, nobody there, refused, delivered by another before."""
        messages = await self.queued_for(self.bob, self.carol, self.carol)
        dave, erin = await self.settle("dave"), await self.settle("erin")
        messages += await self.queued_for(dave, erin)
        await self.deliver(messages[2])
        await self.set_status(dave, "archived")
        await self.set_status(erin, "suspended")
        results = await self.deliver(*messages)
        self.assert_types(results, Delivered, Delivered, Overtaken, NoSuchRecipient, Refused)
        self.assertEqual(len(await self.delivered(self.carol.workspace)), 2)
        await self.assert_consistent()

    async def test_late(self) -> None:
        """A worker that was late delivers nothing, and gives no room back twice."""
        (message,) = await self.queued_for(self.bob)
        late = evolve(message, attempts=message.attempts - 1)
        self.assert_types(await self.deliver(late), Overtaken)
        self.assertEqual(await self.usage(self.alice), (0, SIZE))
        await self.assert_consistent()

    async def test_order(self) -> None:
        """Records are numbered without a gap in each mailbox, in the order of the messages."""
        people = [self.bob, self.carol, self.bob, self.carol, self.bob]
        messages = await self.queued_for(*people)
        self.assert_types(await self.deliver(*messages), *[Delivered] * 5)
        for person, count in ((self.bob, 3), (self.carol, 2)):
            rows = await self.rows(
                "SELECT number, data FROM updates WHERE workspace = %s ORDER BY number",
                person.workspace.uuid,
            )
            self.assertEqual([row.number for row in rows], list(range(1, count + 1)))
            contents = await self.rows(
                "SELECT content FROM updates JOIN files ON files.workspace = updates.workspace"
                " AND updates.data LIKE '%%' || files.name WHERE updates.workspace = %s ORDER BY number",
                person.workspace.uuid,
            )
            self.assertEqual(
                [row.content for row in contents],
                [message.content.id for message in messages if message.target == person.workspace],
            )
        await self.assert_consistent()

    async def test_quota(self) -> None:
        """What comes together fills a mailbox up to its last byte and no further."""
        messages = await self.queued_for(self.bob, self.bob, self.bob, self.carol)
        await self.limit(self.bob, 2 * SIZE)
        results = await self.deliver(*messages)
        self.assert_types(results, Delivered, Delivered, MailboxFull, Delivered)
        self.assertEqual(await self.usage(self.bob), (2 * SIZE, 0))
        await self.assert_consistent()

    async def test_quota_with_the_queue(self) -> None:
        """What the recipient has in the queue itself counts against its quota."""
        await self.enqueue(self.submission(self.carol, self.bob))
        await self.limit(self.bob, 2 * SIZE)
        messages = [one for one in (await self.queued_for(self.bob, self.bob)) if one.target]
        self.assert_types(await self.deliver(*messages), Delivered, MailboxFull)
        await self.assert_consistent()

    async def test_to_oneself(self) -> None:
        """A message to oneself is counted once, also on its way."""
        await self.limit(self.alice, SIZE)
        (message,) = await self.queued_for(self.alice)
        self.assertEqual(await self.usage(self.alice), (0, SIZE))
        self.assert_types(await self.deliver(message), Delivered)
        self.assertEqual(await self.usage(self.alice), (SIZE, 0))
        await self.assert_consistent()

    async def test_by_its_label(self) -> None:
        """A message without a target goes where its label says, by ID, name or alias."""
        addresses: list[MAddress | WAddress] = [
            self.bob.address,
            MAddress(UserID.from_text("bob"), DOMAIN),
            WAddress(WorkspaceID.random(), DOMAIN),
        ]
        submissions = [self.submission(None) for _ in addresses]
        await self.accept(*submissions)
        due = await self.due()
        labels = {
            message.id: ReceiverPart(address, DOMAIN)
            for message, address in zip(submissions, addresses, strict=True)
        }
        results = await self.deliver(*[due[message.id] for message in submissions], labels=labels)
        self.assert_types(results, Delivered, Delivered, NoSuchRecipient)
        await self.assert_consistent()

    async def test_new_is_made_again(self) -> None:
        """A mailbox whose directory was lost gets it back."""
        messages = await self.queued_for(self.bob, self.carol, self.bob)
        new = ServerPath.new_messages(self.bob.workspace)
        await self.change("DELETE FROM folders WHERE path = %s", str(new))
        self.assert_types(await self.deliver(*messages), *[Delivered] * 3)
        await self.assert_consistent()

    async def test_archived_meanwhile(self) -> None:
        """A workspace whose mailbox goes at that very moment takes no other message with it."""
        messages = await self.queued_for(self.bob, self.carol)
        find = workspaces.find_targets

        def find_and_remove(txn: Any, targets: Any) -> Any:
            found = find(txn, targets)
            with self.connect() as connection, connection.cursor() as cursor:
                cursor.execute("DELETE FROM mailboxes WHERE workspace = %s", (self.bob.workspace.uuid,))
            return found

        self.patch(workspaces, "find_targets", find_and_remove)
        self.assert_types(await self.deliver(*messages), NoSuchRecipient, Delivered)

    async def test_sender_is_gone(self) -> None:
        """A message of somebody who has been archived since arrives."""
        (message,) = await self.queued_for(self.bob)
        await self.change("DELETE FROM mailboxes WHERE workspace = %s", self.alice.workspace.uuid)
        self.assert_types(await self.deliver(message), Delivered)
        await self.assert_consistent()

    async def test_locked(self) -> None:
        """A mailbox that somebody holds is waited for only a moment; nothing is delivered then."""
        messages = await self.queued_for(self.bob, self.carol)
        held = self.hold([self.bob.workspace])
        with self.assertRaises(Locked):
            await self.deliver(*messages)
        held.rollback()
        self.assertEqual(await self.delivered(self.carol.workspace), [])
        self.assert_types(await self.deliver(*messages), Delivered, Delivered)

    async def test_same_messages_at_once(self) -> None:
        """Several workers with the same messages deliver each of them once."""
        messages = await self.queued_for(*[self.bob] * 5)
        results = await self.at_once(*[messages] * 4)
        delivered = [result for part in results for result in part if isinstance(result, Delivered)]
        self.assertEqual(len(delivered), 5)
        self.assertEqual((await self.usage(self.alice), await self.usage(self.bob)), ((0, 0), (500, 0)))
        await self.assert_consistent()

    async def test_crosswise(self) -> None:
        """Two people write to each other: transactions lock their mailboxes in one order, and both pass."""
        ours = [self.submission(self.bob) for _ in range(6)]
        theirs = [self.submission(self.alice, self.bob) for _ in range(6)]
        messages = await self.enqueue(*ours, *theirs)
        pairs = [[one, other] for one, other in zip(messages[:6], messages[6:], strict=True)]
        for result in await self.at_once(*pairs, *[pair[::-1] for pair in pairs]):
            self.assertIn([type(one) for one in result], ([Delivered] * 2, [Overtaken] * 2))
        self.assertEqual(await self.usage(self.alice), (6 * SIZE, 0))
        await self.assert_consistent()

    async def test_accepted_and_delivered_at_once(self) -> None:
        """What is accepted and what comes from the queue fill one mailbox up together, and no further."""
        messages = await self.queued_for(*[self.bob] * 6)
        await self.limit(self.bob, 7 * SIZE)
        more = [self.submission(self.bob) for _ in range(6)]
        accepting = [self.patiently(self.accept, message) for message in more]
        delivering = [self.patiently(self.deliver, message) for message in messages]
        await gatherResults(accepting + delivering)
        self.assertEqual(await self.usage(self.bob), (7 * SIZE, 0))
        self.assertEqual(await self.usage(self.alice), (0, 5 * SIZE))
        await self.assert_consistent()

    async def at_once(self, *batches: list[Queued]) -> list[Any]:
        return await gatherResults([self.patiently(self.deliver, *batch) for batch in batches])

    def patiently(self, work: Any, *messages: Any) -> Deferred[Any]:
        """Do a transaction again until it was not held up for longer than a moment."""

        async def run() -> Any:
            while True:
                try:
                    return await work(*messages)
                except Locked:
                    continue

        return Deferred.fromCoroutine(run())


class RouteTests(PlacedTestCase):
    """The route to local mailboxes, where a transaction for all messages fails."""

    async def prepare(self) -> None:
        await super().prepare()
        self.told: list[WorkspaceID] = []
        keyring = Keyring(self.organization.primary, (self.organization.encryption,))
        self.route = LocalRoute(
            database=self.database,
            store=self.store,
            threads=InlineThreads(),
            ours=lambda: [DOMAIN],
            keyring=lambda: keyring,
            newer_keyring=self.newer_keyring,
            delivered=self.told.append,
        )

    async def newer_keyring(self, keyring: Keyring) -> Keyring | None:
        return None

    async def types_of(self, *messages: Queued) -> list[type]:
        """Give messages to the route; give the types of their results."""
        results: Mapping[UUID, Result] = await self.route.deliver(messages)
        return [type(results[message.id]) for message in messages]

    async def queued_for(self, *people: Person) -> list[Queued]:
        return await self.enqueue(*[self.submission(person) for person in people])

    async def test_told(self) -> None:
        """Whose messages have arrived is told, once for each."""
        messages = await self.queued_for(self.bob, self.carol, self.bob)
        self.assertEqual(await self.types_of(*messages), [Delivered] * 3)
        expected = [self.bob.workspace, self.carol.workspace, self.bob.workspace]
        self.assertEqual(sorted(self.told, key=str), sorted(expected, key=str))

    async def test_held_mailbox(self) -> None:
        """A mailbox that somebody holds keeps up its own messages only."""
        messages = await self.queued_for(self.bob, self.carol, self.bob)
        held = self.hold([self.bob.workspace])
        self.assertEqual(await self.types_of(*messages), [MailboxHeld, Delivered, MailboxHeld])
        held.rollback()
        self.assertEqual(self.told, [self.carol.workspace])
        self.assertEqual(await self.types_of(messages[0], messages[2]), [Delivered] * 2)
        await self.assert_consistent()

    async def test_held_sender(self) -> None:
        """Messages of a sender whose mailbox somebody holds wait as well."""
        messages = await self.queued_for(self.bob)
        messages += await self.enqueue(self.submission(self.bob, self.carol))
        held = self.hold([self.alice.workspace])
        self.assertEqual((await self.types_of(*messages))[0], MailboxHeld)
        held.rollback()

    async def test_broken_message(self) -> None:
        """A message that makes the transaction fail does so alone: those for the same mailbox arrive, too."""
        messages = await self.queued_for(self.bob, self.carol, self.bob)
        poisoned = messages[0].id
        deliver = placing.deliver

        def fail(txn: Any, messages: Any, labels: Any) -> Any:
            if poisoned in [message.id for message in messages]:
                raise LookupError
            return deliver(txn, messages, labels)

        self.patch(placing, "deliver", fail)
        self.assertEqual(await self.types_of(*messages), [LookupError, Delivered, Delivered])
        await self.assert_consistent()

    async def test_unknown_commit(self) -> None:
        """A commit of which nobody knows is not tried again: its messages are looked for in the queue."""
        messages = await self.queued_for(self.bob, self.carol)
        tries: list[object] = []

        def lose(txn: Any, messages: Any, labels: Any) -> Any:
            tries.append(messages)
            raise CommitUnknown

        self.patch(placing, "deliver", lose)
        self.assertEqual(await self.types_of(*messages), [CommitUnknown] * 2)
        self.assertEqual((len(tries), self.told), (1, []))

    async def test_labels(self) -> None:
        """A message whose recipient was not found when it was accepted is read again, wherever it stands."""
        dave = Person(WorkspaceID.random(), "dave")
        text = letter(self.organization.encryption, self.alice.address, dave.address).encode()
        contents = [Content.in_row(text), await self.stored(text + b"\n")]
        submissions = [self.submission(dave, content=content) for content in contents]
        await self.accept(*submissions)
        due = await self.due()
        messages = [due[message.id] for message in submissions]
        self.assertEqual([message.target for message in messages], [None, None])
        self.assertEqual(await self.types_of(*messages), [NoSuchRecipient] * 2)
        await self.database.run(settle, dave, 0)
        self.assertEqual(await self.types_of(*messages), [Delivered] * 2)
        self.assertEqual(len(await self.delivered(dave.workspace)), 2)
        await self.assert_consistent()

    async def test_lost_content(self) -> None:
        """A content that is missing is a fault of ours, which touches no other message."""
        content = await self.stored(b"long")
        lost = self.submission(None, content=content)
        nowhere = self.submission(None)
        await self.accept(lost, nowhere)
        due = await self.due()
        assert content.key is not None
        self.store.remove(content.key)
        without = evolve(due[nowhere.id], content=evolve(nowhere.content, data=None))
        messages = [due[lost.id], without, *await self.queued_for(self.bob)]
        self.assertEqual(await self.types_of(*messages[:2], messages[-1]), [OwnFault, OwnFault, Delivered])
