"""What every queue promises (:class:`mensagod.delivery.interfaces.IQueue`).

A test module takes this module in, not the class, which is no test by itself.
"""

from uuid import UUID, uuid4

from attrs import evolve, frozen
from twisted.trial.unittest import TestCase

from mensagod.delivery.interfaces import IQueue
from mensagod.status import Status
from mensagod.storage.queue import LEASE_SECONDS, WRITING_SECONDS, Cause, LeaseLost, Queued
from mensagod.values.domains import ALL_DOMAINS, NO_DOMAINS, DomainSet
from mensagod.values.identity import SERVER_WORKSPACE, Domain, WorkspaceID
from mensagod.values.paths import FileName, ServerPath
from tests.delivery.fakes import ELSEWHERE, OURS

CAUSE = Cause(Status.DESTINATION_CURRENTLY_UNAVAILABLE, "for a test")


@frozen
class Seen:
    """What a queue knows of a message.

    :ivar due_in: seconds, rounded.
    :ivar cause: code and reason.
    """

    state: str
    due_in: int
    attempts: int
    has_lease: bool
    cause: tuple[int, str] | None


class QueueContract(TestCase):
    """One queue; subclasses say how it is looked at, and how its time passes."""

    queue: IQueue

    async def put(self, domain: Domain = OURS, due_in: float = 0.0) -> UUID:
        """Have an accepted message."""
        raise NotImplementedError

    async def put_pending(self, lease_seconds: float) -> UUID:
        """Have a message whose writer has so many seconds left."""
        raise NotImplementedError

    async def pass_time(self, seconds: float) -> None:
        """Let time pass for the queue."""
        raise NotImplementedError

    async def look(self, message: UUID) -> Seen | None:
        """Look at a message; ``None`` if there is none."""
        raise NotImplementedError

    async def finish(self, message: Queued) -> bool:
        """Remove a delivered message as a route does; tell whether its lease still held."""
        raise NotImplementedError

    async def known_workspace(self) -> WorkspaceID:
        """Have a workspace that the queue's database knows."""
        raise NotImplementedError

    async def claim(self, domains: DomainSet = ALL_DOMAINS, most: int = 9) -> dict[UUID, Queued]:
        return {message.id: message for message in await self.queue.claim(most, domains)}

    async def claim_one(self) -> Queued:
        (message,) = await self.queue.claim(9, ALL_DOMAINS)
        return message

    async def test_claims_what_is_due(self) -> None:
        """A message is claimed when its time has come, and not before."""
        due, later = await self.put(), await self.put(due_in=100)
        self.assertEqual(set(await self.claim()), {due})
        await self.pass_time(99)
        self.assertEqual(set(await self.claim()), {due})
        await self.pass_time(2)
        self.assertEqual(set(await self.claim()), {later})

    async def test_longest_due_first(self) -> None:
        """Of more messages than are asked for those are claimed that have been due for longest."""
        last, first, second = [await self.put(due_in=due_in) for due_in in (-1, -3, -2)]
        self.assertEqual(set(await self.claim(most=2)), {first, second})
        self.assertEqual(set(await self.claim(most=2)), {last})
        self.assertEqual(await self.claim(most=2), {})

    async def test_claims_by_domain(self) -> None:
        """Messages are claimed for the domains that are asked for, be they named or left out."""
        ours, abroad = await self.put(OURS), await self.put(ELSEWHERE)
        for domains, claimed in (
            (NO_DOMAINS, set()),
            (DomainSet.of([ELSEWHERE]), {abroad}),
            (DomainSet.of([OURS]), {ours}),
            (~DomainSet.of([OURS]), {abroad}),
            (~DomainSet.of([ELSEWHERE]), {ours}),
            (~DomainSet.of([OURS, ELSEWHERE]), set()),
            (DomainSet.of([OURS, ELSEWHERE]), {ours, abroad}),
            (ALL_DOMAINS, {ours, abroad}),
        ):
            self.assertEqual(set(await self.claim(domains)), claimed, domains)
            await self.pass_time(LEASE_SECONDS + 1)

    async def test_claims_exclude_each_other(self) -> None:
        """What one worker has no other gets until the lease has ended; then it has a new lease."""
        await self.put()
        first = await self.claim_one()
        self.assertEqual(await self.claim(), {})
        await self.pass_time(LEASE_SECONDS - 1)
        self.assertEqual(await self.claim(), {})
        await self.pass_time(2)
        second = await self.claim_one()
        self.assertEqual(evolve(second, lease=first.lease, attempts=1, accepted=first.accepted), first)
        self.assertEqual(second.attempts, 2)
        self.assertNotEqual(second.lease, first.lease)

    async def test_clock_set_back(self) -> None:
        """A lease from before the clock was set back, which would last for an hour, has ended."""
        await self.put(due_in=-7200)
        await self.claim_one()
        await self.pass_time(-3600)
        self.assertEqual((await self.claim_one()).attempts, 2)
        self.assertEqual(await self.claim(), {})

    async def test_renewal(self) -> None:
        """A renewed lease holds on; a lost one stays lost."""
        await self.put()
        first = await self.claim_one()
        for _ in range(3):
            await self.pass_time(LEASE_SECONDS - 1)
            await self.queue.renew([first.lease, uuid4()])
            self.assertEqual(await self.claim(), {})
        await self.pass_time(LEASE_SECONDS + 1)
        await self.claim_one()
        await self.pass_time(LEASE_SECONDS + 1)
        await self.queue.renew([first.lease])
        self.assertEqual((await self.claim_one()).attempts, 3)

    async def test_late_renewal(self) -> None:
        """A lease that has ended is renewed as long as nobody else has claimed the message."""
        await self.put()
        message = await self.claim_one()
        await self.pass_time(LEASE_SECONDS + 1)
        await self.queue.renew([message.lease])
        self.assertEqual(await self.claim(), {})

    async def test_postponed(self) -> None:
        """A message that is given back is due after that time; the cause is kept."""
        await self.put()
        message = await self.claim_one()
        await self.queue.postpone(message, CAUSE, 60.0)
        self.assertEqual(await self.look(message.id), Seen("queued", 60, 1, False, (501, "for a test")))
        await self.pass_time(59)
        self.assertEqual(await self.claim(), {})
        await self.pass_time(2)
        self.assertEqual((await self.claim_one()).attempts, 2)

    async def test_failed(self) -> None:
        """A message that is given up stays, with the cause, and is never claimed again."""
        await self.put()
        message = await self.claim_one()
        await self.queue.fail(message, CAUSE)
        seen = await self.look(message.id)
        assert seen is not None
        self.assertEqual((seen.state, seen.has_lease, seen.cause), ("failed", False, (501, "for a test")))
        await self.pass_time(10**6)
        self.assertEqual(await self.claim(), {})
        self.assertEqual(await self.queue.claim_abandoned(), [])

    async def test_finished(self) -> None:
        """A message that is delivered is gone."""
        await self.put()
        message = await self.claim_one()
        self.assertTrue(await self.finish(message))
        self.assertIsNone(await self.look(message.id))

    async def test_lost_lease_changes_nothing(self) -> None:
        """A worker that lost its lease changes nothing, and is told so."""
        await self.put()
        late = await self.claim_one()
        await self.pass_time(LEASE_SECONDS + 1)
        await self.claim_one()
        before = await self.look(late.id)
        with self.assertRaises(LeaseLost):
            await self.queue.postpone(late, CAUSE, 1.0)
        with self.assertRaises(LeaseLost):
            await self.queue.fail(late, CAUSE)
        await self.queue.withdraw(late)
        self.assertFalse(await self.finish(late))
        self.assertEqual(await self.look(late.id), before)

    async def test_given_back_twice(self) -> None:
        """A message that was given back is in nobody's hands."""
        await self.put()
        message = await self.claim_one()
        await self.queue.postpone(message, CAUSE, 0.0)
        with self.assertRaises(LeaseLost):
            await self.queue.fail(message, CAUSE)
        self.assertFalse(await self.finish(message))

    async def test_abandoned(self) -> None:
        """A message whose writer has had its time is given for removal, to one only, and never claimed."""
        message = await self.put_pending(100)
        await self.pass_time(99)
        self.assertEqual((await self.queue.claim_abandoned(), await self.claim()), ([], {}))
        await self.pass_time(2)
        self.assertEqual(await self.claim(), {})
        (abandoned,) = await self.queue.claim_abandoned()
        self.assertEqual(abandoned.id, message)
        self.assertEqual(await self.queue.claim_abandoned(), [])
        await self.queue.withdraw(abandoned)
        self.assertIsNone(await self.look(message))

    async def test_abandoned_again(self) -> None:
        """If whoever was to remove a message dies, too, another gets it; the first is too late then."""
        message = await self.put_pending(-1)
        (first,) = await self.queue.claim_abandoned()
        await self.queue.renew([first.lease])
        await self.pass_time(WRITING_SECONDS + 1)
        (second,) = await self.queue.claim_abandoned()
        await self.queue.withdraw(first)
        self.assertIsNotNone(await self.look(message))
        await self.queue.withdraw(second)
        self.assertIsNone(await self.look(message))

    async def test_accepted_is_not_withdrawn(self) -> None:
        """An accepted message is not withdrawn, whatever lease is named."""
        message = await self.put()
        await self.queue.withdraw(await self.claim_one())
        self.assertIsNotNone(await self.look(message))

    async def test_forgotten(self) -> None:
        """Files that no message names are given, but none of a workspace that is unknown."""
        await self.put()
        named = (await self.claim_one()).path
        own, strange, server = (
            ServerPath.outgoing(workspace).child(FileName.make(1, 5))
            for workspace in (await self.known_workspace(), WorkspaceID.random(), SERVER_WORKSPACE)
        )
        forgotten = await self.queue.list_forgotten([named, own, strange, server])
        self.assertEqual(set(forgotten), {own, server})
        self.assertEqual(await self.queue.list_forgotten([]), [])
