"""Retries, leases and mailboxes that are held, over days in milliseconds (spec 05, *The queue*)."""

from datetime import timedelta
from uuid import UUID

from attrs import evolve

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
from mensagod.delivery.service import PAUSE_SECONDS, POLL_SECONDS, RENEW_SECONDS
from mensagod.status import Status
from mensagod.storage.clocks import CONFIRM_SECONDS
from mensagod.storage.queue import LEASE_SECONDS, Cause, LeaseLost, Queued
from tests.delivery.fakes import AWAY, FakeRoute
from tests.delivery.working import WorkingTestCase

HOUR = 3600.0


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

    def try_after(self, message: UUID, seconds: float) -> None:
        """Have a message tried again then, with clocks that agree."""
        row = self.row(message)
        row.due = self.clock.seconds() + seconds
        self.clock.advance(seconds - POLL_SECONDS)
        self.clocks.note(self.now())
        self.clock.advance(POLL_SECONDS)

    def test_too_old(self) -> None:
        """A try that fails after the age limit is the last if one ten minutes before did, too: 502 for the
        way, else what it was.
        """
        for error, status in (
            (Unreachable("for a test"), Status.DESTINATION_UNAVAILABLE),
            (OwnFault("for a test"), Status.INTERNAL_SERVER_ERROR),
        ):
            message = self.fail_with(error)
            row = self.row(message)
            limit = self.config.federation.max_queue_age * HOUR
            for attempts, wait in enumerate((limit, POLL_SECONDS, CONFIRM_SECONDS - POLL_SECONDS), 2):
                self.try_after(message, wait)
                self.assertEqual((row.message.attempts, row.state), (attempts, "queued"))
            self.try_after(message, POLL_SECONDS)
            self.assertEqual((row.message.attempts, row.state), (5, "failed"))
            self.assertEqual(row.cause, Cause(status, "for a test"))

    def test_wrong_clock(self) -> None:
        """While the database's clock and the machine's disagree no message is given up for its age."""
        message = self.fail_with(Unreachable("for a test"))
        self.try_after(message, self.config.federation.max_queue_age * HOUR + POLL_SECONDS)
        for _ in range(3):
            row = self.row(message)
            row.due = self.clock.seconds() + HOUR
            self.clock.advance(HOUR - POLL_SECONDS)
            self.clocks.note(self.now() + timedelta(days=3652))
            self.clock.advance(POLL_SECONDS)
            self.assertEqual((row.state, row.cause), ("queued", Cause(Unreachable.status, "for a test")))
        for _ in range(2):
            self.assertEqual(row.state, "queued")
            self.try_after(message, CONFIRM_SECONDS)
        self.assertEqual(row.state, "failed")

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
