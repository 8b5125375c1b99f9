"""Working the queue, in a time that the test makes: claims, lanes, retries, leases (spec 05, *The queue*)."""

from collections.abc import Callable
from datetime import timedelta
from itertools import count
from pathlib import Path
from uuid import UUID

from attrs import evolve
from twisted.internet.task import Clock
from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import provider

from mensagod.config import Config
from mensagod.delivery import service as delivery
from mensagod.delivery.interfaces import IRoute
from mensagod.delivery.lanes import HELD_SECONDS, STOP_SECONDS
from mensagod.delivery.recording import Recorder
from mensagod.delivery.results import (
    Delivered,
    MailboxFull,
    MailboxHeld,
    NoSuchRecipient,
    OwnFault,
    Result,
    Unreachable,
)
from mensagod.delivery.service import PAUSE_SECONDS, POLL_SECONDS, RENEW_SECONDS, DeliveryService
from mensagod.delivery.unserved import UnservedDomains
from mensagod.storage.queue import LEASE_SECONDS, Cause, LeaseLost, Queued
from mensagod.values.domains import ALL_DOMAINS, DomainSet
from mensagod.wire.status import Status
from tests.delivery.fakes import AWAY, ELSEWHERE, OURS, FakeQueue, FakeRoute, Row
from tests.serving import make_config

HOUR = 3600.0


class WorkingTestCase(SynchronousTestCase):
    """A service over the queue and the routes of the test.

    :ivar route: takes our domain, or all if the test starts with it alone.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.queue = FakeQueue(self.clock)
        self.route = FakeRoute(self.queue)
        self.config = make_config(Path("/nowhere"), {"host": "", "dbname": "", "user": ""})
        self.log: list[str] = []

        @provider(ILogObserver)
        def observe(event: LogEvent) -> None:
            # Trial's observer of the old kind came first: it empties the field "message", and keeps the text.
            self.log.append(str(event.get("log_legacy") or formatEvent(event)))

        globalLogPublisher.addObserver(observe)
        self.addCleanup(globalLogPublisher.removeObserver, observe)

    def make(self, *routes: IRoute) -> DeliveryService:
        return DeliveryService(
            reactor=self.clock,
            config=self.configuration,
            queue=self.queue,
            routes=routes or (self.route,),
        )

    def configuration(self) -> Config:
        return self.config

    def start(self, *routes: IRoute) -> DeliveryService:
        """Start a service, stopped after the test."""
        service = self.make(*routes)
        service.startService()
        self.addCleanup(self.stop, service)
        return service

    def stop(self, service: DeliveryService) -> None:
        if service.running:
            service.stopService()
            self.clock.advance(STOP_SECONDS)

    def limit(self, workers: int) -> None:
        """Have so many workers in each lane."""
        performance = evolve(self.config.performance, max_delivery_threads=workers)
        self.config = evolve(self.config, performance=performance)

    def row(self, message: UUID) -> Row:
        return self.queue.rows[message]

    def until(self, condition: Callable[[], bool], step: float = 1.0) -> None:
        """Let time pass until something holds."""
        for number in count():
            if condition():
                return
            self.assertLess(number, 10_000, "it never comes to that")
            self.clock.advance(step)


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


class RetryTests(WorkingTestCase):
    """What may pass is tried again."""

    def fail_with(self, result: Result) -> UUID:
        """Have a message whose tries have this result, and a service that has tried once."""
        self.route.result = lambda message: result
        message = self.queue.put()
        self.start()
        return message

    def test_intervals(self) -> None:
        """The intervals are those of the configuration, jittered by a tenth, the last repeating."""
        message = self.fail_with(Unreachable("for a test"))
        row = self.row(message)
        waits = set()
        for attempts, wait in enumerate((60, 300, 900, 1800, 3600, 3600, 3600), 1):
            self.assertEqual((row.message.attempts, row.state, row.lease_until), (attempts, "queued", None))
            jittered = row.due - self.clock.seconds()
            self.assertGreaterEqual(jittered, wait * 0.9)
            self.assertLessEqual(jittered, wait * 1.1)
            waits.add(jittered / wait)
            # To the first look at which it is due, and no further.
            row.due = self.clock.seconds() + POLL_SECONDS
            self.clock.advance(POLL_SECONDS)
        self.assertGreater(len(waits), 1)

    def test_cause(self) -> None:
        """Status and reason of the last try are in the queue and in the log."""
        message = self.fail_with(OwnFault("for a test"))
        cause = Cause(Status.INTERNAL_SERVER_ERROR, "for a test")
        self.assertEqual(self.row(message).cause, cause)
        self.assertEqual(self.log, [f"message {message} not delivered: 300 for a test"])

    def test_final(self) -> None:
        """What cannot pass is not tried again."""
        for error in (NoSuchRecipient("nobody"), MailboxFull("full")):
            message = self.fail_with(error)
            self.assertEqual(self.row(message).state, "failed")
            self.assertEqual(self.row(message).cause, Cause(error.status, str(error)))

    def test_too_old(self) -> None:
        """A try that fails after the age limit is the last: 502 for the way, else what it was."""
        for error, status in (
            (Unreachable("for a test"), Status.DESTINATION_UNAVAILABLE),
            (OwnFault("for a test"), Status.INTERNAL_SERVER_ERROR),
        ):
            message = self.fail_with(error)
            row = self.row(message)
            limit = self.config.federation.max_queue_age * HOUR
            row.due = self.clock.seconds() + limit
            self.clock.advance(limit)
            self.assertEqual((row.message.attempts, row.state), (2, "queued"))
            row.due = self.clock.seconds() + POLL_SECONDS
            self.clock.advance(POLL_SECONDS)
            self.assertEqual((row.message.attempts, row.state), (3, "failed"))
            self.assertEqual(row.cause, Cause(status, "for a test"))

    def test_held_message_ages_from_its_time(self) -> None:
        """A message that its sender held back is not given up for having waited."""
        self.route.result = lambda message: Unreachable("for a test")
        days = timedelta(days=30)
        message = self.queue.put(due_in=days.total_seconds())
        row = self.row(message)
        row.message = evolve(row.message, accepted=row.message.accepted + days)
        self.start()
        self.clock.advance(days.total_seconds())
        self.assertEqual((row.message.attempts, row.state), (1, "queued"))

    def test_delivered_at_last(self) -> None:
        """A message whose way is open again arrives."""
        message = self.fail_with(Unreachable("for a test"))
        self.route.result = None
        self.until(lambda: not self.queue.rows)
        self.assertEqual(self.route.delivered, [message])
        self.assertEqual(self.log[-1], f"message {message} delivered")

    def test_unforeseen(self) -> None:
        """Whatever goes wrong is an own fault, with a traceback in the log and none of it in the report."""
        message = self.fail_with(LookupError("secret details"))
        self.assertEqual(len(self.flushLoggedErrors(LookupError)), 1)
        cause = Cause(Status.INTERNAL_SERVER_ERROR, "internal error (LookupError)")
        self.assertEqual(self.row(message).cause, cause)

    def test_route_that_raises(self) -> None:
        """A route that fails as a whole has that result for each message."""

        def fail(message: Queued) -> Result:
            raise LookupError

        self.route.result = fail
        messages = [self.queue.put(), self.queue.put()]
        self.start()
        self.assertEqual(len(self.flushLoggedErrors(LookupError)), 2)
        self.assertEqual({self.row(message).message.attempts for message in messages}, {1})
        self.assertNotIn(None, [self.row(message).cause for message in messages])

    def test_route_that_forgets(self) -> None:
        """A route that has no result for a message does not leave it out of the queue."""

        async def deliver(messages: object) -> dict[UUID, Result]:
            return {}

        self.patch(self.route, "deliver", deliver)
        message = self.queue.put()
        self.start()
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)
        self.assertIsNotNone(self.row(message).cause)

    def test_each_its_own(self) -> None:
        """Each message of a batch has a result of its own."""
        bad, good = self.queue.put(), self.queue.put()

        def result(message: Queued) -> Result:
            if message.id == bad:
                return Unreachable("for a test")
            self.queue.finish(message)
            return Delivered()

        self.route.result = result
        self.start()
        self.assertEqual(list(self.queue.rows), [bad])
        self.assertEqual(self.log[-1], f"message {good} delivered")


class LeaseTests(WorkingTestCase):
    """Who has a message, and for how long."""

    def test_bounds(self) -> None:
        """What a dead process had goes on within 15 seconds, and leases outlive a missed renewal."""
        self.assertLess(LEASE_SECONDS + POLL_SECONDS, 15)
        self.assertLessEqual(LEASE_SECONDS, 10)
        self.assertLess(2 * RENEW_SECONDS, LEASE_SECONDS)

    def test_renews(self) -> None:
        """A worker keeps its messages for as long as it takes."""
        self.route.is_slow = True
        message = self.queue.put()
        self.start()
        for _ in range(10 * LEASE_SECONDS):
            self.clock.advance(1)
        self.assertEqual(self.row(message).message.attempts, 1)
        self.route.go_on()
        self.assertEqual(self.route.delivered, [message])

    def test_renews_only_what_is_worked_on(self) -> None:
        """What nobody works on is not renewed: what a dead process had is taken within 15 seconds."""
        message = self.queue.put()
        dead = FakeRoute(self.queue, is_slow=True)
        service = self.start(dead)
        stopped = service.stopService()
        self.clock.advance(STOP_SECONDS)
        self.assertTrue(stopped.called)
        self.assertEqual(self.row(message).message.attempts, 1)
        self.start()
        self.clock.advance(POLL_SECONDS)
        self.assertEqual(self.route.delivered, [message])

    def test_taken_over(self) -> None:
        """A worker that lost its message changes nothing; the one that has it now delivers it."""
        self.route.is_slow = True
        message = self.queue.put()
        self.start()
        self.queue.end_leases()
        other = FakeRoute(self.queue)
        self.start(other)
        self.assertEqual(other.delivered, [message])
        self.route.go_on()
        self.assertEqual(self.route.delivered, [])
        self.assertIn(f"another process took over message {message}", self.log)

    def test_taken_over_by_the_same_process(self) -> None:
        """A process that was held up and claims its own message again delivers it once."""
        self.route.is_slow = True
        message = self.queue.put()
        service = self.start()
        self.queue.end_leases()
        service.wake()
        self.clock.advance(PAUSE_SECONDS)
        self.assertEqual(self.route.batches, [[message], [message]])
        self.route.go_on()
        self.assertEqual(self.route.delivered, [])
        self.route.go_on()
        self.assertEqual(self.route.delivered, [message])
        self.assertEqual(service.lanes[0].workers, 0)

    def test_late_failure(self) -> None:
        """A failure of a worker that lost its message is not recorded over what the other one does."""
        self.route.is_slow = True
        self.route.result = lambda message: NoSuchRecipient("nobody")
        message = self.queue.put()
        self.start()
        self.queue.end_leases()
        self.start(FakeRoute(self.queue, is_slow=True))
        before = evolve(self.row(message))
        self.route.go_on()
        self.assertEqual(self.row(message), before)
        self.assertEqual(self.log[-1], f"another process took over message {message}")

    def test_reported_loss(self) -> None:
        """A route that finds a lease lost has nothing recorded."""
        self.route.result = lambda message: LeaseLost()
        message = self.queue.put()
        self.start()
        self.assertIsNone(self.row(message).cause)
        self.assertEqual(self.log, [f"another process took over message {message}"])

    def test_route_away(self) -> None:
        """A route that can do nothing now leaves the message until its lease has ended."""
        self.route.result = lambda message: AWAY
        message = self.queue.put()
        self.start()
        self.assertEqual(self.log, [f"message {message} waits for the database"])
        self.route.result = None
        self.clock.pump([1] * LEASE_SECONDS)
        self.assertEqual(self.route.delivered, [])
        self.clock.pump([1] * POLL_SECONDS)
        self.assertEqual(self.route.delivered, [message])

    def test_not_recorded(self) -> None:
        """A result that could not be recorded is logged; the message is tried again after its lease."""
        for fault, line in (
            (AWAY, "message {} waits for the database"),
            (LookupError(), "the result for message {} is not recorded"),
        ):
            self.route.is_slow = True
            self.route.result = lambda message: Unreachable("for a test")
            message = self.queue.put()
            service = self.start()
            self.queue.fault = fault
            self.route.go_on()
            self.queue.fault = None
            self.assertEqual(self.log[-1], line.format(message))
            self.clock.pump([1] * (LEASE_SECONDS + POLL_SECONDS))
            self.assertEqual(self.row(message).message.attempts, 2)
            self.stop(service)
            self.queue.rows.clear()
            self.route.waiting.clear()
        self.assertEqual(len(self.flushLoggedErrors(LookupError)), 1)

    def test_worker_that_fails(self) -> None:
        """A fault in a worker itself is logged; its message goes on when the lease has ended."""

        async def fail(*_: object) -> None:
            raise LookupError

        record = Recorder.record
        self.patch(Recorder, "record", fail)
        self.route.result = lambda message: Unreachable("for a test")
        message = self.queue.put()
        self.start()
        self.assertEqual(len(self.flushLoggedErrors(LookupError)), 1)
        self.patch(Recorder, "record", record)
        self.route.result = None
        self.clock.pump([1] * (LEASE_SECONDS + POLL_SECONDS))
        self.assertEqual(self.route.delivered, [message])


class HeldTests(WorkingTestCase):
    """Mailboxes that others have locked."""

    def hold(self) -> UUID:
        self.route.result = MailboxHeld
        message = self.queue.put()
        self.start()
        return message

    def test_tried_again(self) -> None:
        """A message whose mailbox is held is tried again in a moment, under the same lease."""
        message = self.hold()
        self.route.result = None
        self.clock.advance(1.5 * HELD_SECONDS[0])
        self.assertEqual(self.route.delivered, [message])
        self.assertEqual(self.route.batches, [[message], [message]])

    def test_others_go_on(self) -> None:
        """Results of the others are recorded meanwhile."""
        held, bad = self.queue.put(), self.queue.put()
        self.route.result = lambda message: (
            MailboxHeld(message) if message.id == held else Unreachable("for a test")
        )
        self.start()
        self.assertIsNotNone(self.row(bad).cause)
        self.assertEqual(self.route.batches, [[held, bad]])
        self.clock.advance(1.5 * HELD_SECONDS[0])
        self.assertEqual(self.route.batches, [[held, bad], [held]])

    def test_left(self) -> None:
        """After some tries the message is left until its lease has ended."""
        message = self.hold()
        self.clock.pump([1.5 * seconds for seconds in HELD_SECONDS])
        self.assertEqual(len(self.route.batches), 1 + len(HELD_SECONDS))
        self.assertEqual(self.log, [f"message {message} waits for its mailbox"])
        self.assertEqual(self.row(message).message.attempts, 1)
        self.route.result = None
        self.until(lambda: not self.queue.rows)
        self.assertLess(self.clock.seconds(), LEASE_SECONDS + POLL_SECONDS + 5)

    def test_as_it_is_now(self) -> None:
        """What is tried again is the message as the route has changed it."""
        self.route.result = lambda message: MailboxHeld(evolve(message, attempts=77))
        self.queue.put()
        self.start()
        seen: list[int] = []

        def look(message: Queued) -> Result:
            seen.append(message.attempts)
            return Unreachable("for a test")

        self.route.result = look
        self.clock.advance(1.5 * HELD_SECONDS[0])
        self.assertEqual(seen, [77])


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
