"""Messages that are accepted: what is delivered at once, what is queued, what is refused."""

from datetime import UTC, datetime, timedelta
from typing import Any

from twisted.internet.defer import Deferred, gatherResults

from mensagod.delivery.placing import Accepted, SenderHeld, Submission
from mensagod.errors import QuotaExceeded, ServerUnavailable
from mensagod.storage import contents
from mensagod.storage.attempts import Locked
from mensagod.storage.contents import Owned
from mensagod.storage.queue import bucket_of
from mensagod.storage.sends import TooManyMessages
from mensagod.values.identity import SERVER_DEVICE, Domain, MAddress, UserID, WAddress, WorkspaceID
from mensagod.values.paths import ServerPath
from tests.delivery.placed import SIZE, PlacedTestCase
from tests.serving import DOMAIN, Person

EXTRA = Domain.from_text("example.net")
ELSEWHERE = Domain.from_text("example.org")


class DeliveredTests(PlacedTestCase):
    """Messages that are live as soon as they are accepted."""

    async def assert_delivered(self, results: list[Any], *targets: Person) -> None:
        self.assertEqual([result.delivered for result in results], [person.workspace for person in targets])
        self.assertEqual({result.bucket for result in results}, {None})
        self.assertEqual(await self.value("SELECT count(*) FROM queue"), 0)
        await self.assert_consistent()

    async def test_delivered(self) -> None:
        """It stands in the mailbox and never in the queue; the zero device has made it."""
        message = self.submission(self.bob)
        await self.assert_delivered(await self.accept(message), self.bob)
        self.assertEqual((await self.content_of(self.bob.workspace)).key, message.content.id)
        self.assertEqual(await self.usage(self.bob), (SIZE, 0))
        self.assertEqual(await self.usage(self.alice), (0, 0))
        self.assertEqual(await self.value("SELECT device FROM updates"), SERVER_DEVICE.uuid)

    async def test_several(self) -> None:
        """Messages of one transaction have numbers without a gap in each mailbox, and names of their own."""
        people = [self.bob, self.carol, self.bob, self.carol, self.bob]
        results = await self.accept(*[self.submission(person) for person in people])
        await self.assert_delivered(results, *people)
        for person, count in ((self.bob, 3), (self.carol, 2)):
            rows = await self.rows(
                "SELECT number FROM updates WHERE workspace = %s ORDER BY number", person.workspace.uuid
            )
            self.assertEqual([row.number for row in rows], list(range(1, count + 1)))
            self.assertEqual(len(await self.delivered(person.workspace)), count)

    async def test_in_the_store(self) -> None:
        """A content in the store stays where it is, and its row goes to the mailbox."""
        message = self.submission(self.bob, content=await self.stored(b"long"))
        await self.assert_delivered(await self.accept(message), self.bob)
        row = await self.content_of(self.bob.workspace)
        self.assertEqual((row.key, row.day, row.data), (message.content.id, message.content.day, None))
        self.assertEqual(await self.value("SELECT count(*) FROM writings"), 0)

    async def test_names(self) -> None:
        """Names and aliases, of the main domain and of others, lead to the same mailboxes as the IDs."""
        dave = await self.settle("bob", domain=EXTRA)
        await self.change(
            "INSERT INTO names (domain, user_id, workspace, kind, unicode)"
            " VALUES ('example.net', 'robert', %s, 'alias', '15')",
            self.bob.workspace.uuid,
        )
        addresses: list[MAddress | WAddress] = [
            self.bob.address,
            MAddress(UserID.from_text("bob"), DOMAIN),
            MAddress(UserID.from_text("robert"), EXTRA),
            dave.address,
            MAddress(UserID.from_text("bob"), EXTRA),
        ]
        results = await self.accept(*[self.submission(address) for address in addresses])
        await self.assert_delivered(results, self.bob, self.bob, self.bob, dave, dave)

    async def test_to_oneself(self) -> None:
        """A message to oneself fits if there is room for it once."""
        await self.limit(self.alice, SIZE)
        await self.assert_delivered(await self.accept(self.submission(self.alice)), self.alice)
        self.assertEqual(await self.usage(self.alice), (SIZE, 0))

    async def test_last_byte(self) -> None:
        """The last byte of a quota may be used."""
        await self.limit(self.bob, 2 * SIZE)
        results = await self.accept(*[self.submission(self.bob) for _ in range(2)])
        await self.assert_delivered(results, self.bob, self.bob)

    async def test_new_is_made_again(self) -> None:
        """A mailbox whose directory was lost gets it back, for all that comes."""
        new = ServerPath.new_messages(self.bob.workspace)
        await self.change("DELETE FROM folders WHERE path = %s", str(new))
        people = [self.bob, self.carol, self.bob]
        results = await self.accept(*[self.submission(person) for person in people])
        await self.assert_delivered(results, *people)


class QueuedTests(PlacedTestCase):
    """Messages that cannot be delivered at once."""

    async def assert_queued(self, message: Submission, target: Person | None, *, wait: bool = True) -> None:
        """It is in the bucket of its target, or of the domain, and counts against its sender's quota."""
        (result,) = await self.accept(message, wait=wait)
        destination = str(message.domain if target is None else target.workspace)
        self.assertEqual(result, Accepted(message.name, bucket=bucket_of(destination)))
        self.assertEqual(await self.target_of(message), None if target is None else target.workspace)
        self.assertEqual(await self.delivered(self.bob.workspace), [])
        await self.assert_consistent()

    async def test_nobody(self) -> None:
        """Who does not exist, any more or yet, is found out by delivery, for the report."""
        for address in (
            WAddress(WorkspaceID.random(), DOMAIN),
            MAddress(UserID.from_text("nobody"), DOMAIN),
            MAddress(UserID.from_text("bob"), EXTRA),
            WAddress(self.bob.workspace, EXTRA),
            MAddress(UserID.from_text("admin"), DOMAIN),
        ):
            await self.assert_queued(self.submission(address), None)
        for status in ("pending", "archived"):
            await self.set_status(self.bob, status)
            await self.assert_queued(self.submission(self.bob), None)

    async def test_closed(self) -> None:
        """So is who takes no messages now."""
        for status in ("disabled", "suspended", "unpaid"):
            await self.set_status(self.bob, status)
            await self.assert_queued(self.submission(self.bob), self.bob)

    async def test_no_mailbox(self) -> None:
        """So is a workspace that is being removed."""
        await self.change("DELETE FROM mailboxes WHERE workspace = %s", self.bob.workspace.uuid)
        await self.assert_queued(self.submission(self.bob), self.bob)

    async def test_unreadable(self) -> None:
        """What no key opens, and what is for another domain, waits in the bucket of its domain."""
        await self.assert_queued(self.submission(None), None)
        await self.assert_queued(self.submission(None, domain=ELSEWHERE), None)
        self.assertEqual(await self.usage(self.alice), (0, 2 * SIZE))

    async def test_send_time(self) -> None:
        """What has a time waits for it."""
        due = datetime.now(UTC) + timedelta(days=1)
        message = self.submission(self.bob, send_time=due)
        await self.assert_queued(message, self.bob)
        (row,) = await self.rows("SELECT due, send_time, accepted FROM queue")
        self.assertEqual((row.due, row.send_time, row.accepted), (due, due, due))
        self.assertEqual(await self.due(), {})

    async def test_full(self) -> None:
        """For a mailbox without room for all that comes at once, all wait: delivery takes what fits."""
        await self.limit(self.bob, SIZE - 1)
        await self.assert_queued(self.submission(self.bob), self.bob)
        await self.limit(self.bob, 2 * SIZE)
        results = await self.accept(*[self.submission(self.bob) for _ in range(3)])
        self.assertEqual({result.bucket for result in results}, {bucket_of(str(self.bob.workspace))})
        await self.assert_consistent()

    async def test_in_the_store(self) -> None:
        """A content in the store stays where it is, and its row goes to the queue."""
        content = await self.stored(b"long")
        await self.assert_queued(self.submission(None, content=content), None)
        (row,) = await self.rows("SELECT content, day, data FROM queue")
        self.assertEqual((row.content, row.day, row.data), (content.id, content.day, None))

    async def test_locked(self) -> None:
        """A mailbox that somebody holds is waited for only a moment, and holds nobody else up."""
        messages = [self.submission(self.bob), self.submission(self.carol)]
        held = self.hold([self.bob.workspace])
        with self.assertRaises(Locked):
            await self.accept(*messages)
        self.assertEqual(await self.value("SELECT count(*) FROM submissions"), 0)
        first, second = await self.accept(*messages, wait=False)
        self.assertEqual((first.bucket, first.delivered), (bucket_of(str(self.bob.workspace)), None))
        self.assertEqual(second.delivered, self.carol.workspace)
        held.rollback()
        await self.assert_consistent()

    async def test_held_sender(self) -> None:
        """If the sender's mailbox is held, what it sends is delivered, and what would be queued is 303."""
        held = self.hold([self.alice.workspace])
        messages = [self.submission(self.bob), self.submission(None, content=await self.stored(b"long"))]
        first, second = await self.accept(*messages, wait=False)
        held.rollback()
        self.assertEqual(first.delivered, self.bob.workspace)
        self.assertIsInstance(second, SenderHeld)
        self.assertIsInstance(second, ServerUnavailable)
        self.assertEqual(await self.value("SELECT key FROM garbage"), messages[1].content.id)
        self.assertEqual(await self.value("SELECT count(*) FROM submissions"), 1)
        await self.assert_consistent()


class RefusedTests(PlacedTestCase):
    """Messages that are refused, or known."""

    async def test_sender_is_full(self) -> None:
        """A sender without room can send nothing, also not what would be delivered at once."""
        await self.limit(self.alice, SIZE - 1)
        messages = [self.submission(self.bob), self.submission(None)]
        for result in await self.accept(*messages):
            self.assertIsInstance(result, QuotaExceeded)
        self.assertEqual(await self.value("SELECT count(*) FROM submissions"), 0)
        await self.limit(self.alice, SIZE)
        (result,) = await self.accept(messages[0])
        self.assertEqual(result.delivered, self.bob.workspace)
        await self.assert_consistent()

    async def test_together_too_much(self) -> None:
        """Of messages of one sender that come together as many are accepted as fit, the first ones first."""
        await self.limit(self.alice, 2 * SIZE)
        results = await self.accept(*[self.submission(None) for _ in range(3)])
        self.assertEqual([type(result) for result in results], [Accepted, Accepted, QuotaExceeded])
        self.assertEqual(await self.usage(self.alice), (0, 2 * SIZE))
        await self.assert_consistent()

    async def test_content_is_not_used(self) -> None:
        """The content of a message that is refused, or known, is still one that is being written."""
        first = self.submission(self.bob, content=await self.stored(b"long"))
        await self.accept(first)
        again = self.submission(self.bob, content=await self.stored(b"long"))
        (result,) = await self.accept(again)
        self.assertEqual(result, Accepted(first.name))
        await self.limit(self.alice, 1)
        refused = self.submission(self.bob, content=await self.stored(b"another"))
        await self.accept(refused)
        rows = await self.rows("SELECT key FROM writings")
        self.assertEqual({row.key for row in rows}, {again.content.id, refused.content.id})
        self.assertEqual(len(await self.delivered(self.bob.workspace)), 1)
        await self.assert_consistent()

    async def test_took_too_long(self) -> None:
        """A content whose writer counted as dead is not used, because it may be erased; others are."""
        content = await self.stored(b"long")
        owned = Owned(self.alice.workspace, self.submission(None, content=content).content.key)  # type: ignore[arg-type]
        await self.database.run(contents.discard_writings, [owned])
        late, good = self.submission(self.bob, content=content), self.submission(self.bob)
        first, second = await self.accept(late, good)
        self.assertIsInstance(first, ServerUnavailable)
        self.assertEqual(second.delivered, self.bob.workspace)
        self.assertEqual(await self.value("SELECT count(*) FROM submissions"), 1)
        await self.assert_consistent()

    async def test_rate(self) -> None:
        """A device that has reached its limit is refused; others that come with it are not."""
        await self.accept(self.submission(self.bob), rate=2)
        results = await self.accept(
            *[self.submission(self.bob) for _ in range(2)], self.submission(self.bob, self.carol), rate=2
        )
        self.assertEqual([type(result) for result in results], [Accepted, TooManyMessages, Accepted])
        self.assertEqual(len(await self.delivered(self.bob.workspace)), 3)
        await self.assert_consistent()

    async def test_known(self) -> None:
        """What was submitted before counts against no limit and changes nothing."""
        message = self.submission(None)
        await self.limit(self.alice, SIZE)
        await self.accept(message, rate=1)
        again = self.submission(None, content=message.content)
        self.assertEqual(await self.accept(again, rate=1), [Accepted(message.name)])
        self.assertEqual(await self.usage(self.alice), (0, SIZE))
        await self.assert_consistent()


class AtOnceTests(PlacedTestCase):
    """Transactions at the same moment."""

    async def accept_all(self, *messages: Submission) -> list[Any]:
        """Accept each message in a transaction of its own, all at once."""
        accepting = [Deferred.fromCoroutine(self.accept_patiently(message)) for message in messages]
        return [result for (result,) in await gatherResults(accepting)]

    async def accept_patiently(self, message: Submission) -> list[Any]:
        while True:
            try:
                return await self.accept(message)
            except Locked:
                # The machine is busy: the others had the mailbox for longer than a moment.
                continue

    async def test_quota_of_the_recipient(self) -> None:
        """A mailbox is filled up to its last byte, and no further; the rest waits."""
        await self.limit(self.bob, 5 * SIZE)
        results = await self.accept_all(*[self.submission(self.bob) for _ in range(12)])
        self.assertEqual(len([result for result in results if result.delivered]), 5)
        self.assertEqual(len([result for result in results if result.bucket is not None]), 7)
        self.assertEqual(await self.usage(self.bob), (5 * SIZE, 0))
        self.assertEqual(await self.usage(self.alice), (0, 7 * SIZE))
        await self.assert_consistent()

    async def test_quota_of_the_sender(self) -> None:
        """A sender has as many messages in the queue as fit, and not one more."""
        await self.limit(self.alice, 5 * SIZE)
        results = await self.accept_all(*[self.submission(None) for _ in range(12)])
        self.assertEqual(len([result for result in results if isinstance(result, Accepted)]), 5)
        self.assertEqual(len([result for result in results if isinstance(result, QuotaExceeded)]), 7)
        self.assertEqual(await self.usage(self.alice), (0, 5 * SIZE))
        await self.assert_consistent()

    async def test_same_message(self) -> None:
        """The same message in several transactions is accepted by one; all have the name of that."""
        message = self.submission(self.bob)
        again = [self.submission(self.bob, content=message.content) for _ in range(6)]
        results = await self.accept_all(*again)
        self.assertEqual(len({result.name for result in results}), 1)
        self.assertEqual(len([result for result in results if result.delivered]), 1)
        self.assertEqual(len(await self.delivered(self.bob.workspace)), 1)
        await self.assert_consistent()
