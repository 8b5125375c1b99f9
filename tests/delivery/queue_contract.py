"""What every queue promises (:class:`mensagod.delivery.interfaces.IQueue`).

A test module takes this module in, not the class, which is no test by itself.
"""

from collections.abc import Collection
from uuid import UUID

from attrs import evolve, frozen
from twisted.trial.unittest import TestCase

from mensagod.delivery.interfaces import IQueue
from mensagod.status import Status
from mensagod.storage.buckets import LEASE_SECONDS
from mensagod.storage.queue import BUCKETS, EACH, FARTHEST_HOURS, Cause, Overtaken, Queued, bucket_of
from mensagod.values.domains import ALL_DOMAINS, NO_DOMAINS, DomainSet
from mensagod.values.identity import Domain
from tests.delivery.fakes import ELSEWHERE, OURS

CAUSE = Cause(Status.DESTINATION_CURRENTLY_UNAVAILABLE, "for a test")
ALL_BUCKETS = frozenset(range(BUCKETS))
HOUR = 3600.0


@frozen
class Seen:
    """What a queue knows of a message.

    :ivar due_in: seconds, rounded.
    :ivar cause: code and reason.
    """

    state: str
    due_in: int
    attempts: int
    cause: tuple[int, str] | None


class QueueContract(TestCase):
    """One queue; subclasses say how it is looked at, and how its time passes."""

    queue: IQueue

    def another(self) -> IQueue:
        """Give the same queue as another process has it."""
        raise NotImplementedError

    async def put(
        self, domain: Domain = OURS, due_in: float = 0.0, to: str | None = None, *, scheduled: bool = False
    ) -> UUID:
        """Have an accepted message."""
        raise NotImplementedError

    async def pass_time(self, seconds: float) -> None:
        """Let time pass for the queue."""
        raise NotImplementedError

    async def look(self, message: UUID) -> Seen | None:
        """Look at a message; ``None`` if there is none."""
        raise NotImplementedError

    async def finish(self, message: Queued) -> bool:
        """Remove a delivered message as a route does; tell whether nobody was faster."""
        raise NotImplementedError

    async def due(
        self,
        domains: DomainSet = ALL_DOMAINS,
        most: int = 99,
        buckets: Collection[int] = ALL_BUCKETS,
        busy: Collection[str] = (),
    ) -> dict[UUID, Queued]:
        return {message.id: message for message in await self.queue.list_due(buckets, most, domains, busy)}

    async def due_one(self) -> Queued:
        (message,) = await self.queue.list_due(ALL_BUCKETS, 9, ALL_DOMAINS, ())
        return message


class DueContract(QueueContract):
    """Which messages are due."""

    async def test_due(self) -> None:
        """A message is given when its time has come, and not before; and again until it is dealt with."""
        due, later = await self.put(), await self.put(due_in=100)
        self.assertEqual(set(await self.due()), {due})
        await self.pass_time(99)
        self.assertEqual(set(await self.due()), {due})
        await self.pass_time(2)
        self.assertEqual(set(await self.due()), {due, later})

    async def test_longest_due_first(self) -> None:
        """Of more messages than are asked for those are given that have been due for longest."""
        last, first, second = [await self.put(due_in=due_in) for due_in in (-1, -3, -2)]
        self.assertEqual(list(await self.due(most=2)), [first, second])
        self.assertEqual(list(await self.due()), [first, second, last])

    async def test_by_domain(self) -> None:
        """Messages are given for the domains that are asked for, be they named or left out."""
        ours, abroad = await self.put(OURS), await self.put(ELSEWHERE)
        for domains, given in (
            (NO_DOMAINS, set()),
            (DomainSet.of([ELSEWHERE]), {abroad}),
            (DomainSet.of([OURS]), {ours}),
            (~DomainSet.of([OURS]), {abroad}),
            (~DomainSet.of([ELSEWHERE]), {ours}),
            (~DomainSet.of([OURS, ELSEWHERE]), set()),
            (DomainSet.of([OURS, ELSEWHERE]), {ours, abroad}),
            (ALL_DOMAINS, {ours, abroad}),
        ):
            self.assertEqual(set(await self.due(domains)), given, domains)

    async def test_by_bucket(self) -> None:
        """Messages are given from the buckets that are asked for, and from no other."""
        message = await self.put(ELSEWHERE)
        bucket = bucket_of(str(ELSEWHERE))
        self.assertEqual(set(await self.due(buckets={bucket})), {message})
        self.assertEqual(await self.due(buckets=ALL_BUCKETS - {bucket}), {})
        self.assertEqual(await self.due(buckets=()), {})

    async def test_busy_destinations(self) -> None:
        """Destinations that a worker is busy with are left out, those in the same bucket are not."""
        first, second = _neighbours()
        messages = [await self.put(to=to) for to in (first, second)]
        self.assertEqual(set(await self.due(busy=[first])), {messages[1]})
        self.assertEqual(await self.due(busy=[first, second]), {})
        self.assertEqual(set(await self.due(busy=["example.net"])), set(messages))

    async def test_never_all_of_one_domain(self) -> None:
        """However many messages wait for one domain, and for how long, others are given as well."""
        for _ in range(2 * EACH + 1):
            await self.put(ELSEWHERE, due_in=-9)
        other = await self.put(due_in=-1)
        given = await self.due(most=2 * EACH)
        self.assertIn(other, given)
        self.assertEqual(len(given), EACH + 1)


class RecordContract(QueueContract):
    """Results of tries."""

    async def test_postponed(self) -> None:
        """A message that is postponed is due after that time; the cause is kept."""
        await self.put()
        message = await self.due_one()
        await self.queue.postpone(message, CAUSE, 60.0)
        self.assertEqual(await self.look(message.id), Seen("queued", 60, 1, (501, "for a test")))
        await self.pass_time(59)
        self.assertEqual(await self.due(), {})
        await self.pass_time(2)
        again = await self.due_one()
        self.assertEqual(evolve(again, attempts=0, accepted=message.accepted), message)
        self.assertEqual(again.attempts, 1)

    async def test_failed(self) -> None:
        """A message that is given up stays, with the cause, and is never due again."""
        await self.put()
        message = await self.due_one()
        await self.queue.fail(message, CAUSE)
        self.assertEqual(await self.look(message.id), Seen("failed", 0, 1, (501, "for a test")))
        await self.pass_time(10**6)
        self.assertEqual(await self.due(), {})
        self.assertFalse(await self.finish(message))

    async def test_finished(self) -> None:
        """A message that is delivered is gone; nothing can be recorded of it."""
        await self.put()
        message = await self.due_one()
        self.assertTrue(await self.finish(message))
        self.assertIsNone(await self.look(message.id))
        self.assertFalse(await self.finish(message))
        with self.assertRaises(Overtaken):
            await self.queue.postpone(message, CAUSE, 1.0)
        self.assertIsNone(await self.look(message.id))

    async def test_late_worker_changes_nothing(self) -> None:
        """A worker that was late changes nothing that another has recorded, and is told so."""
        await self.put()
        late = await self.due_one()
        await self.queue.postpone(late, CAUSE, 0.0)
        before = await self.look(late.id)
        with self.assertRaises(Overtaken):
            await self.queue.postpone(late, CAUSE, 1.0)
        with self.assertRaises(Overtaken):
            await self.queue.fail(late, CAUSE)
        self.assertFalse(await self.finish(late))
        self.assertEqual(await self.look(late.id), before)
        self.assertTrue(await self.finish(await self.due_one()))

    async def test_given_up_once(self) -> None:
        """A message that was given up is not postponed by a worker that was late."""
        await self.put()
        late = await self.due_one()
        await self.queue.fail(late, CAUSE)
        for message in (late, evolve(late, attempts=1)):
            with self.assertRaises(Overtaken):
                await self.queue.postpone(message, CAUSE, 1.0)
        seen = await self.look(late.id)
        assert seen is not None
        self.assertEqual(seen.state, "failed")

    async def test_hastened(self) -> None:
        """What lies further ahead than any retry, because a clock was ahead, is due now."""
        far = await self.put(due_in=(FARTHEST_HOURS + 1) * HOUR)
        near = await self.put(due_in=(FARTHEST_HOURS - 1) * HOUR)
        scheduled = await self.put(due_in=(FARTHEST_HOURS + 1) * HOUR, scheduled=True)
        self.assertEqual(await self.queue.hasten(), 1)
        self.assertEqual(set(await self.due()), {far})
        self.assertEqual(await self.queue.hasten(), 0)
        for message, hours in ((near, FARTHEST_HOURS - 1), (scheduled, FARTHEST_HOURS + 1)):
            seen = await self.look(message)
            assert seen is not None
            self.assertEqual(round(seen.due_in / HOUR), hours)

    async def test_clock_set_back(self) -> None:
        """A message that was accepted under a clock that was ahead ages from the time that is found out."""
        await self.put()
        await self.pass_time(-10 * 365 * 24 * HOUR)
        self.assertEqual(await self.due(), {})
        self.assertEqual(await self.queue.hasten(), 1)
        ahead = await self.due_one()
        now = await self.put()
        self.assertLessEqual(ahead.accepted, (await self.due())[now].accepted)

    async def test_postponed_is_not_scheduled(self) -> None:
        """After a try a message waits for a retry, whatever time its sender has asked for."""
        await self.put(due_in=-1, scheduled=True)
        message = await self.due_one()
        await self.queue.postpone(message, CAUSE, (FARTHEST_HOURS + 1) * HOUR)
        self.assertEqual(await self.queue.hasten(), 1)


class SharingContract(QueueContract):
    """How processes share the buckets out."""

    async def rounds(self, *queues: IQueue) -> list[frozenset[int]]:
        """Have each process take its share twice, one after the other; at each moment they are disjoint."""
        shares: dict[int, frozenset[int]] = {}
        for _ in range(2):
            for number, one in enumerate(queues):
                shares[number] = (await one.take_share()).buckets
                self.assert_disjoint(*shares.values())
        return list(shares.values())

    def assert_disjoint(self, *shares: frozenset[int]) -> None:
        self.assertEqual(len(frozenset[int]().union(*shares)), sum(map(len, shares)))

    async def test_alone(self) -> None:
        """One process works on everything."""
        share = await self.queue.take_share()
        self.assertEqual((share.buckets, share.workers), (ALL_BUCKETS, 1))

    async def test_even(self) -> None:
        """Two, three and four processes have even shares, and each bucket is somebody's."""
        queues = [self.queue]
        for _ in range(3):
            queues.append(self.another())
            shares = await self.rounds(*queues)
            self.assertEqual(frozenset[int]().union(*shares), ALL_BUCKETS)
            sizes = [len(share) for share in shares]
            self.assertLessEqual(max(sizes) - min(sizes), len(queues))

    async def test_newcomer(self) -> None:
        """A newcomer gets what the others give back, and nothing before that."""
        await self.queue.take_share()
        newcomer = self.another()
        share = await newcomer.take_share()
        self.assertEqual((share.buckets, share.workers), (frozenset(), 2))
        mine = await self.queue.take_share()
        self.assertEqual((len(mine.buckets), mine.workers), (BUCKETS // 2, 2))
        self.assertEqual((await newcomer.take_share()).buckets, ALL_BUCKETS - mine.buckets)

    async def test_keeps_its_buckets(self) -> None:
        """A process keeps its buckets from one time to the next, so that nothing changes hands in vain."""
        other = self.another()
        before = await self.rounds(self.queue, other)
        await self.pass_time(LEASE_SECONDS - 1)
        self.assertEqual(await self.rounds(self.queue, other), before)

    async def test_stop(self) -> None:
        """What a process gives back when it stops the others have at once."""
        other = self.another()
        await self.rounds(self.queue, other)
        await other.give_back()
        share = await self.queue.take_share()
        self.assertEqual((share.buckets, share.workers), (ALL_BUCKETS, 1))
        await other.give_back()

    async def test_death(self) -> None:
        """The share of a dead process is the others' as soon as its lease is over, and not before."""
        dead = self.another()
        before, _ = await self.rounds(self.queue, dead)
        await self.pass_time(LEASE_SECONDS - 1)
        self.assertEqual((await self.queue.take_share()).buckets, before)
        await self.pass_time(2)
        share = await self.queue.take_share()
        self.assertEqual((share.buckets, share.workers), (ALL_BUCKETS, 1))

    async def test_held_up(self) -> None:
        """A process that was held up for long gets a share as a newcomer does."""
        late = self.another()
        await self.rounds(self.queue, late)
        await self.pass_time(LEASE_SECONDS + 1)
        await self.queue.take_share()
        self.assertEqual((await late.take_share()).buckets, frozenset())
        mine, others = await self.rounds(self.queue, late)
        self.assertEqual(mine | others, ALL_BUCKETS)

    async def test_clock_set_back(self) -> None:
        """A process whose lease lies far ahead counts as dead until it shows that it lives."""
        other = self.another()
        await self.rounds(self.queue, other)
        await self.pass_time(-HOUR)
        share = await self.queue.take_share()
        self.assertEqual((share.buckets, share.workers), (ALL_BUCKETS, 1))
        mine, others = await self.rounds(self.queue, other)
        self.assertEqual((len(mine), len(others)), (BUCKETS // 2, BUCKETS // 2))


def _neighbours() -> tuple[str, str]:
    """Find two destinations in one bucket."""
    seen: dict[int, str] = {}
    number = 0
    while True:
        name = f"{number}.example.org"
        if (bucket := bucket_of(name)) in seen:
            return seen[bucket], name
        seen[bucket] = name
        number += 1
