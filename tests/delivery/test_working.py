"""Working the queue: when due messages are looked for, lanes, the end (spec 05, *The queue*)."""

from collections.abc import Collection
from uuid import UUID

from mensagod.delivery import service as delivery
from mensagod.delivery.lanes import STOP_SECONDS
from mensagod.delivery.results import MailboxHeld, Unreachable
from mensagod.delivery.service import (
    PAUSE_SECONDS,
    POLL_SECONDS,
    DeliveryService,
)
from mensagod.delivery.unserved import UnservedDomains
from mensagod.status import Status
from mensagod.storage.queue import EACH
from mensagod.values.domains import ALL_DOMAINS, DomainSet
from mensagod.values.identity import Domain
from tests.delivery.fakes import AWAY, ELSEWHERE, OURS, FakeRoute
from tests.delivery.working import WorkingTestCase


def abroad(count: int) -> list[Domain]:
    """Give other domains."""
    return [Domain.from_text(f"{number}.example.org") for number in range(count)]


class QueryTests(WorkingTestCase):
    """When due messages are looked for, and how many."""

    def test_at_the_start(self) -> None:
        """What is due is delivered at the start."""
        message = self.queue.put()
        self.start()
        self.assertEqual(self.route.delivered, [message])
        self.assertEqual(self.queue.rows, {})

    def test_woken(self) -> None:
        """What is queued is delivered at once."""
        service = self.start()
        message = self.queue.put()
        self.wake(service, message)
        self.clock.advance(0)
        self.assertEqual(self.route.delivered, [message])

    def test_polls(self) -> None:
        """What becomes due by itself is delivered at the next look."""
        self.start()
        self.clock.advance(0)
        message = self.queue.put(due_in=1)
        self.pass_time(POLL_SECONDS - 0.5)
        self.assertEqual(self.route.delivered, [])
        self.pass_time(0.5)
        self.assertEqual(self.route.delivered, [message])

    def test_gathers(self) -> None:
        """While a worker is busy, what is queued is gathered for a short time."""
        service = self.start()
        self.clock.advance(0)
        self.route.is_slow = True
        batches = [[self.queue.put()]]
        self.wake(service, batches[0][0])
        self.clock.advance(0)
        batches.append([])
        for _ in range(3):
            batches[1].append(self.queue.put())
            self.wake(service, batches[1][-1])
            self.clock.advance(PAUSE_SECONDS / 4)
            self.assertEqual(self.route.batches, batches[:1])
        self.clock.advance(PAUSE_SECONDS / 4)
        self.assertEqual(self.route.batches, batches)

    def test_ends_early(self) -> None:
        """A worker that ends has the next begin at once."""
        service = self.start()
        self.clock.advance(0)
        self.route.is_slow = True
        first = self.queue.put()
        self.wake(service, first)
        self.clock.advance(0)
        second = self.queue.put()
        self.wake(service, second)
        self.route.go_on()
        self.clock.advance(0)
        self.assertEqual(self.route.batches, [[first], [second]])

    def test_asked_while_querying(self) -> None:
        """A message that is queued while a query is under way is not left to the next look."""
        service = self.start()
        self.clock.advance(0)
        list_due = self.queue.list_due
        late: list[UUID] = []

        async def list_slowly(
            buckets: Collection[int], most: int, domains: DomainSet, busy: Collection[str]
        ) -> object:
            due = await list_due(buckets, most, domains, busy)
            if not late:
                late.append(self.queue.put())
                self.wake(service, late[0])
                self.clock.advance(0)
            return due

        self.patch(self.queue, "list_due", list_slowly)
        service.wake(0)
        self.clock.advance(0)
        self.clock.advance(0)
        self.assertEqual(self.route.delivered, late)

    def test_many(self) -> None:
        """However many messages wait, all are delivered, each worker having one query's worth."""
        self.patch(delivery, "MOST", 3)
        messages = [self.queue.put() for _ in range(20)]
        self.start()
        self.until(lambda: not self.queue.rows, 0)
        self.assertEqual(self.route.delivered, messages)
        self.assertEqual({len(batch) for batch in self.route.batches}, {3, 2})

    def test_one_query_for_all_lanes(self) -> None:
        """A message costs two queries in all, however many lanes there are."""
        ours = FakeRoute(self.queue, DomainSet.of([OURS]))
        service = self.start(ours, FakeRoute(self.queue), UnservedDomains())
        self.clock.advance(0)
        self.queue.queries.clear()
        self.wake(service, self.queue.put())
        self.clock.advance(0)
        self.clock.advance(0)
        self.assertEqual(len(ours.delivered), 1)
        self.assertEqual(self.queue.queries, [ALL_DOMAINS] * 2)

    def test_idle(self) -> None:
        """A process that is alone asks every few seconds only."""
        self.start()
        self.clock.advance(0)
        self.queue.queries.clear()
        self.pass_time(10 * POLL_SECONDS)
        self.assertEqual(len(self.queue.queries), 10)

    def test_stopped(self) -> None:
        """A service that is stopped takes nothing, and leaves no timer behind."""
        service = self.start()
        self.wake(service, self.queue.put(due_in=1))
        stopped = service.stopService()
        self.assertTrue(stopped.called)
        self.queue.put()
        service.wake(0)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.route.batches, [])

    def test_away(self) -> None:
        """While the queue is away, nothing is logged here; work goes on when it is back."""
        message = self.queue.put()
        self.queue.fault = AWAY
        self.start()
        self.pass_time(3 * POLL_SECONDS)
        self.assertEqual(self.log, [])
        self.queue.fault = None
        self.pass_time(POLL_SECONDS)
        self.assertEqual(self.route.delivered, [message])

    def test_fault(self) -> None:
        """Queries that fail are logged once, and made again; after a success the next fault is logged."""
        self.start()
        self.clock.advance(0)
        for _ in range(2):
            self.queue.put()
            self.patch(self.queue, "list_due", self.fail_to_list)
            self.pass_time(2 * POLL_SECONDS)
            self.assertEqual(len(self.flushLoggedErrors(LookupError)), 1)
            self.assertEqual(self.log.pop(), "due messages cannot be looked for")
            self.patch(self.queue, "list_due", self.list_due)
            self.pass_time(POLL_SECONDS)
            self.assertEqual(self.queue.rows, {})
            self.clock.advance(0)

    def test_fault_when_woken(self) -> None:
        """A query that fails when a message was queued is logged, and does not end the others."""
        service = self.start()
        self.clock.advance(0)
        message = self.queue.put()
        self.patch(self.queue, "list_due", self.fail_to_list)
        self.wake(service, message)
        self.clock.advance(0)
        self.assertEqual(len(self.flushLoggedErrors(LookupError)), 1)
        self.patch(self.queue, "list_due", self.list_due)
        self.wake(service, message)
        self.clock.advance(0)
        self.assertEqual(self.route.delivered, [message])

    def setUp(self) -> None:
        super().setUp()
        self.list_due = self.queue.list_due

    async def fail_to_list(self, *_: object) -> object:
        raise LookupError


class BusyTests(WorkingTestCase):
    """Destinations that a worker is busy with."""

    def test_one_worker(self) -> None:
        """Messages for one destination have one worker at a time; those for others do not wait for it."""
        self.route.is_slow = True
        first = self.queue.put(ELSEWHERE)
        service = self.start()
        second, other = self.queue.put(ELSEWHERE), self.queue.put()
        self.wake(service, second)
        self.clock.advance(PAUSE_SECONDS)
        self.assertEqual(self.route.batches, [[first], [other]])
        self.route.go_on()
        self.clock.advance(PAUSE_SECONDS)
        self.assertEqual(self.route.batches, [[first], [other], [second]])

    def test_held_mailbox_only(self) -> None:
        """While a worker waits for a mailbox, it is busy with that one only."""
        held = self.queue.put(ELSEWHERE)
        other = self.queue.put()
        destination = self.row(other).message.destination
        self.route.result = lambda message: MailboxHeld() if message.id == held else Unreachable("for a test")
        service = self.start()
        self.assertEqual(service.lanes[0].destinations, [str(ELSEWHERE)])
        later = self.queue.put(to=destination)
        self.clock.advance(PAUSE_SECONDS)
        self.assertIn([later], self.route.batches)
        self.assertEqual(self.route.batches.count([held, other]), 1)

    def test_never_all_of_one_domain(self) -> None:
        """A mass of messages for one domain does not keep the first message for another one waiting."""
        self.route.is_slow = True
        mass = [self.queue.put(ELSEWHERE, due_in=-9) for _ in range(3 * EACH)]
        other = self.queue.put()
        self.start()
        self.assertEqual(self.route.batches, [[*mass[:EACH], other]])


class LaneTests(WorkingTestCase):
    """Routes with workers of their own."""

    def setUp(self) -> None:
        super().setUp()
        self.ours = FakeRoute(self.queue, DomainSet.of([OURS]))
        self.others = FakeRoute(self.queue)

    def test_first_that_takes_it(self) -> None:
        """A message goes the first route that takes its domain."""
        messages = {domain: self.queue.put(domain) for domain in (ELSEWHERE, OURS)}
        self.start(self.ours, self.others)
        self.assertEqual(self.ours.delivered, [messages[OURS]])
        self.assertEqual(self.others.delivered, [messages[ELSEWHERE]])

    def test_no_route(self) -> None:
        """What no route takes stays in the queue, untouched."""
        message = self.queue.put(ELSEWHERE)
        self.start(self.ours)
        self.assertEqual((self.row(message).message.attempts, self.row(message).cause), (0, None))

    def test_slow_route(self) -> None:
        """A route whose workers are all busy takes no messages, and keeps no other from them."""
        self.limit(2)
        self.patch(delivery, "MOST", 1)
        self.others.is_slow = True
        far = [self.queue.put(domain) for domain in abroad(5)]
        here = self.queue.put(OURS)
        service = self.start(self.ours, self.others)
        self.clock.advance(0)
        self.assertEqual(self.ours.delivered, [here])
        self.assertEqual(self.others.batches, [[far[0]], [far[1]]])
        self.assertEqual([lane.workers for lane in service.lanes], [0, 2])
        later = self.queue.put(OURS)
        self.wake(service, later)
        self.clock.advance(PAUSE_SECONDS)
        self.assertEqual(self.ours.delivered, [here, later])
        self.others.go_on()
        self.clock.advance(PAUSE_SECONDS)
        self.assertEqual(self.others.batches, [[far[0]], [far[1]], [far[2]]])

    def test_all_busy(self) -> None:
        """While no lane has a free worker the queue is not asked."""
        self.limit(1)
        self.ours.is_slow = self.others.is_slow = True
        for domain in (OURS, ELSEWHERE):
            self.queue.put(domain)
        self.start(self.ours, self.others)
        self.queue.put()
        self.queue.queries.clear()
        self.clock.advance(POLL_SECONDS)
        self.assertEqual(self.queue.queries, [])

    def test_full_lane_costs_little(self) -> None:
        """While one lane is full, the others are served at the pace of the pause, whatever is handed in."""
        self.limit(1)
        self.ours.is_slow = True
        self.queue.put()
        service = self.start(self.ours, self.others)
        self.clock.advance(PAUSE_SECONDS)
        self.queue.queries.clear()
        for _ in range(10):
            self.wake(service, self.queue.put())
            self.clock.advance(PAUSE_SECONDS / 4)
        self.assertEqual(self.queue.queries, [~DomainSet.of([OURS])] * 2)

    def test_one_worker(self) -> None:
        """With one worker everything is delivered, one query after the other."""
        self.limit(1)
        self.patch(delivery, "MOST", 1)
        self.route.is_slow = True
        messages = [self.queue.put() for _ in range(3)]
        self.start()
        for number in (1, 2, 3):
            self.assertEqual(self.route.batches, [[message] for message in messages[:number]])
            self.route.go_on()
            self.clock.advance(0)
        self.assertEqual(self.route.delivered, messages)

    def test_unserved(self) -> None:
        """Other domains are out of reach, for now: 501."""
        message = self.queue.put(ELSEWHERE)
        self.start(self.ours, UnservedDomains())
        cause = self.row(message).cause
        assert cause is not None
        self.assertEqual(cause.status, Status.DESTINATION_CURRENTLY_UNAVAILABLE)
        self.assertEqual(cause.reason, "this server does not deliver to other domains yet")


class StopTests(WorkingTestCase):
    """The end of the service."""

    def begun(self) -> tuple[UUID, DeliveryService]:
        """Have a worker that is busy."""
        self.route.is_slow = True
        message = self.queue.put()
        service = self.start()
        return message, service

    def test_waits(self) -> None:
        """Busy workers end first."""
        message, service = self.begun()
        stopped = service.stopService()
        self.clock.advance(STOP_SECONDS - 1)
        self.assertFalse(stopped.called)
        self.route.go_on()
        self.assertTrue(stopped.called)
        self.assertEqual(self.route.delivered, [message])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_not_for_ever(self) -> None:
        """What does not end in ten seconds stays in the queue."""
        _, service = self.begun()
        stopped = service.stopService()
        self.clock.advance(STOP_SECONDS)
        self.assertTrue(stopped.called)
        self.route.go_on()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_waits_for_no_mailbox(self) -> None:
        """A mailbox that is held is left to another process."""
        message, service = self.begun()
        self.route.result = lambda message: MailboxHeld()
        stopped = service.stopService()
        self.route.go_on()
        self.assertTrue(stopped.called)
        self.assertEqual(self.log, [f"message {message} waits for its mailbox"])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_starts_again(self) -> None:
        """A service that was stopped can be started again."""
        service = self.start()
        service.stopService()
        message = self.queue.put()
        service.startService()
        self.clock.advance(0)
        self.assertEqual(self.route.delivered, [message])
