"""Working the queue: when messages are claimed, lanes, the end (spec 05, *The queue*)."""

from uuid import UUID

from mensagod.delivery import service as delivery
from mensagod.delivery.lanes import STOP_SECONDS
from mensagod.delivery.results import (
    MailboxHeld,
)
from mensagod.delivery.service import PAUSE_SECONDS, POLL_SECONDS, DeliveryService
from mensagod.delivery.unserved import UnservedDomains
from mensagod.status import Status
from mensagod.values.domains import ALL_DOMAINS, DomainSet
from tests.delivery.fakes import AWAY, ELSEWHERE, OURS, FakeRoute
from tests.delivery.working import WorkingTestCase


class ClaimTests(WorkingTestCase):
    """When messages are claimed, and how many."""

    def test_at_the_start(self) -> None:
        """What is due is delivered at the start."""
        message = self.queue.put()
        self.start()
        self.assertEqual(self.route.delivered, [message])
        self.assertEqual(self.queue.rows, {})

    def test_woken(self) -> None:
        """What is handed in is delivered at once."""
        service = self.start()
        message = self.queue.put()
        service.wake()
        self.clock.advance(0)
        self.assertEqual(self.route.delivered, [message])

    def test_polls(self) -> None:
        """What becomes due by itself is delivered at the next look."""
        self.start()
        message = self.queue.put(due_in=1)
        self.clock.advance(POLL_SECONDS - 1)
        self.assertEqual(self.route.delivered, [])
        self.clock.advance(1)
        self.assertEqual(self.route.delivered, [message])

    def test_gathers(self) -> None:
        """While a worker is busy, what is handed in is gathered for a short time."""
        service = self.start()
        self.route.is_slow = True
        batches = [[self.queue.put()]]
        service.wake()
        self.clock.advance(0)
        batches.append([])
        for _ in range(3):
            batches[1].append(self.queue.put())
            service.wake()
            self.clock.advance(PAUSE_SECONDS / 4)
            self.assertEqual(self.route.batches, batches[:1])
        self.clock.advance(PAUSE_SECONDS / 4)
        self.assertEqual(self.route.batches, batches)

    def test_ends_early(self) -> None:
        """A worker that ends has the next begin at once."""
        service = self.start()
        self.route.is_slow = True
        first = self.queue.put()
        service.wake()
        self.clock.advance(0)
        second = self.queue.put()
        service.wake()
        self.route.go_on()
        self.clock.advance(0)
        self.assertEqual(self.route.batches, [[first], [second]])

    def test_asked_while_claiming(self) -> None:
        """A message that is accepted while a claim is under way is not left to the next look."""
        service = self.start()
        claim = self.queue.claim
        late: list[UUID] = []

        async def claim_slowly(most: int, domains: DomainSet) -> object:
            claimed = await claim(most, domains)
            if not late:
                late.append(self.queue.put())
                service.wake()
                self.clock.advance(0)
            return claimed

        self.patch(self.queue, "claim", claim_slowly)
        service.wake()
        self.clock.advance(0)
        self.clock.advance(0)
        self.assertEqual(self.route.delivered, late)

    def test_many(self) -> None:
        """However many messages wait, all are delivered, each worker having one claim's worth."""
        self.patch(delivery, "CLAIM_LIMIT", 3)
        messages = [self.queue.put() for _ in range(20)]
        self.start()
        self.until(lambda: not self.queue.rows, 0)
        self.assertEqual(self.route.delivered, messages)
        self.assertEqual({len(batch) for batch in self.route.batches}, {3, 2})

    def test_one_claim_for_all_lanes(self) -> None:
        """A message costs two claims in all, however many lanes there are."""
        ours = FakeRoute(self.queue, DomainSet.of([OURS]))
        service = self.start(ours, FakeRoute(self.queue), UnservedDomains())
        self.queue.claims.clear()
        self.queue.put()
        service.wake()
        self.clock.advance(0)
        self.clock.advance(0)
        self.assertEqual(len(ours.delivered), 1)
        self.assertEqual(self.queue.claims, [ALL_DOMAINS] * 2)

    def test_stopped(self) -> None:
        """A service that is stopped claims nothing, and leaves no timer behind."""
        service = self.start()
        service.wake()
        stopped = service.stopService()
        self.assertTrue(stopped.called)
        self.queue.put()
        service.wake()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.route.batches, [])

    def test_away(self) -> None:
        """While the queue is away, nothing is logged here; work goes on when it is back."""
        message = self.queue.put()
        self.queue.fault = AWAY
        self.start()
        self.clock.pump([POLL_SECONDS] * 3)
        self.assertEqual(self.log, [])
        self.queue.fault = None
        self.clock.advance(POLL_SECONDS)
        self.assertEqual(self.route.delivered, [message])

    def test_fault(self) -> None:
        """Claims that fail are logged once, and made again; after a success the next fault is logged."""
        self.queue.fault = LookupError()
        self.start()
        self.clock.pump([POLL_SECONDS] * 3)
        self.assertEqual(len(self.flushLoggedErrors(LookupError)), 1)
        self.assertEqual(self.log, ["due messages cannot be claimed"])
        self.queue.fault = None
        message = self.queue.put()
        self.clock.advance(POLL_SECONDS)
        self.assertEqual(self.route.delivered, [message])
        self.queue.fault = LookupError()
        self.clock.advance(POLL_SECONDS)
        self.assertEqual(len(self.flushLoggedErrors(LookupError)), 1)


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
        self.assertEqual((self.row(message).message.attempts, self.row(message).lease_until), (0, None))

    def test_slow_route(self) -> None:
        """A route whose workers are all busy takes no messages, and keeps no other from them."""
        self.limit(2)
        self.patch(delivery, "CLAIM_LIMIT", 1)
        self.others.is_slow = True
        abroad = [self.queue.put(ELSEWHERE) for _ in range(5)]
        here = self.queue.put(OURS)
        service = self.start(self.ours, self.others)
        self.clock.advance(0)
        self.assertEqual(self.ours.delivered, [here])
        self.assertEqual(self.others.batches, [[abroad[0]], [abroad[1]]])
        self.assertEqual([lane.workers for lane in service.lanes], [0, 2])
        self.assertEqual([self.row(message).message.attempts for message in abroad], [1, 1, 0, 0, 0])
        later = self.queue.put(OURS)
        service.wake()
        self.clock.advance(PAUSE_SECONDS)
        self.assertEqual(self.ours.delivered, [here, later])
        self.others.go_on()
        self.clock.advance(PAUSE_SECONDS)
        self.assertEqual(self.others.batches, [[abroad[0]], [abroad[1]], [abroad[2]]])

    def test_all_busy(self) -> None:
        """While no lane has a free worker the queue is not asked."""
        self.limit(1)
        self.ours.is_slow = self.others.is_slow = True
        for domain in (OURS, ELSEWHERE):
            self.queue.put(domain)
        self.start(self.ours, self.others)
        self.queue.put()
        self.queue.claims.clear()
        self.clock.advance(POLL_SECONDS)
        self.assertEqual(self.queue.claims, [])

    def test_full_lane_costs_little(self) -> None:
        """While one lane is full, the others are served at the pace of the pause, whatever is handed in."""
        self.limit(1)
        self.ours.is_slow = True
        self.queue.put()
        service = self.start(self.ours, self.others)
        self.queue.claims.clear()
        for _ in range(10):
            self.queue.put()
            service.wake()
            self.clock.advance(PAUSE_SECONDS / 4)
        self.assertEqual(self.queue.claims, [~DomainSet.of([OURS])] * 2)

    def test_one_worker(self) -> None:
        """With one worker everything is delivered, one claim after the other."""
        self.limit(1)
        self.patch(delivery, "CLAIM_LIMIT", 1)
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
        """What does not end in ten seconds is left to whoever takes it over."""
        _, service = self.begun()
        stopped = service.stopService()
        self.clock.advance(STOP_SECONDS)
        self.assertTrue(stopped.called)
        self.route.go_on()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_waits_for_no_mailbox(self) -> None:
        """A mailbox that is held is left to another process."""
        message, service = self.begun()
        self.route.result = MailboxHeld
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
        self.assertEqual(self.route.delivered, [message])
