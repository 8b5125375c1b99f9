"""Retries, late workers and mailboxes that are held, over days in milliseconds (spec 05, *The queue*)."""

from datetime import timedelta
from uuid import UUID

from attrs import evolve

from mensagod.delivery.lanes import AWAY_SECONDS, HELD_SECONDS
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
from mensagod.delivery.service import POLL_SECONDS
from mensagod.status import Status
from mensagod.storage.clocks import CONFIRM_SECONDS
from mensagod.storage.queue import Cause, Overtaken, Queued
from tests.delivery.fakes import AWAY, FakeRoute, Row
from tests.delivery.working import STEP_SECONDS, WorkingTestCase

HOUR = 3600.0


class RetryTests(WorkingTestCase):
    """What may pass is tried again."""

    def fail_with(self, result: Result) -> UUID:
        """Have a message whose tries have this result, and a service that has tried once."""
        self.route.result = lambda message: result
        message = self.queue.put()
        self.start()
        return message

    def try_again(self, row: Row) -> None:
        """Go to the first look at which a message is due, and no further."""
        attempts = row.message.attempts
        row.due = self.clock.seconds()
        self.until(lambda: row.message.attempts > attempts, STEP_SECONDS)

    def test_intervals(self) -> None:
        """The intervals are those of the configuration, jittered by a tenth, the last repeating."""
        message = self.fail_with(Unreachable("for a test"))
        row = self.row(message)
        waits = set()
        for attempts, wait in enumerate((60, 300, 900, 1800, 3600, 3600, 3600), 1):
            self.assertEqual((row.message.attempts, row.state), (attempts, "queued"))
            jittered = row.due - self.clock.seconds()
            self.assertGreaterEqual(jittered, wait * 0.9)
            self.assertLessEqual(jittered, wait * 1.1)
            waits.add(jittered / wait)
            self.try_again(row)
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
        days = 30 * 24 * HOUR
        message = self.queue.put(due_in=days, scheduled=True)
        self.start()
        self.clock.advance(days)
        self.clock.advance(POLL_SECONDS)
        row = self.row(message)
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


class LateTests(WorkingTestCase):
    """Workers that were late, and results that could not be recorded."""

    def test_overtaken(self) -> None:
        """A worker that was late changes nothing; whoever was faster has delivered the message."""
        self.route.is_slow = True
        message = self.queue.put()
        self.start()
        self.queue.sharing.workers.clear()
        other = self.queue.another()
        faster = FakeRoute(other)
        service = self.make(faster, queue=other)
        service.startService()
        self.addCleanup(self.stop, service)
        self.assertEqual(faster.delivered, [message])
        self.route.go_on()
        self.assertEqual(self.route.delivered, [])
        self.assertEqual(self.log[-1], f"another process has worked on message {message}")

    def test_late_failure(self) -> None:
        """A failure of a worker that was late is not recorded over what another one has recorded."""
        self.route.is_slow = True
        self.route.result = lambda message: NoSuchRecipient("nobody")
        message = self.queue.put()
        self.start()
        row = self.row(message)
        row.message = evolve(row.message, attempts=1)
        row.due += 100
        before = evolve(row)
        self.route.go_on()
        self.assertEqual(self.row(message), before)
        self.assertEqual(self.log[-1], f"another process has worked on message {message}")

    def test_reported_by_the_route(self) -> None:
        """A route that finds that another worker was faster has nothing recorded."""
        self.route.is_slow = True
        self.route.result = lambda message: Overtaken()
        message = self.queue.put()
        self.start()
        self.route.go_on()
        self.assertIsNone(self.row(message).cause)
        self.assertEqual(self.log, [f"another process has worked on message {message}"])

    def test_route_away(self) -> None:
        """A route that can do nothing now has the message again after a pause."""
        self.route.result = lambda message: AWAY
        message = self.queue.put()
        self.start()
        self.assertEqual(self.log, [f"message {message} waits for the database"])
        self.clock.pump([AWAY_SECONDS / 4] * 3)
        self.assertEqual(self.route.batches, [[message]])
        self.route.result = None
        self.clock.pump([AWAY_SECONDS / 4] * 2)
        self.assertEqual(self.route.delivered, [message])

    def test_not_recorded(self) -> None:
        """A result that could not be recorded is logged; the message is tried again after a pause."""
        for fault, line in (
            (AWAY, "message {} waits for the database"),
            (LookupError(), "the result for message {} is not recorded"),
        ):
            self.route.result = lambda message: Unreachable("for a test")
            self.queue.write_fault = fault
            message = self.queue.put()
            service = self.start()
            self.clock.pump([AWAY_SECONDS / 4] * 3)
            self.assertEqual(self.log[1:], [line.format(message)])
            self.queue.write_fault = None
            self.clock.pump([AWAY_SECONDS / 4] * 2)
            self.assertEqual(self.row(message).message.attempts, 1)
            self.stop(service)
            self.queue.rows.clear()
            self.log.clear()
        self.assertEqual(len(self.flushLoggedErrors(LookupError)), 1)

    def test_worker_that_fails(self) -> None:
        """A fault in a worker itself is logged; its message is tried again after a pause."""

        async def fail(*_: object) -> None:
            raise LookupError

        record = Recorder.record
        self.patch(Recorder, "record", fail)
        self.route.result = lambda message: Unreachable("for a test")
        message = self.queue.put()
        service = self.start()
        self.clock.pump([AWAY_SECONDS / 4] * 3)
        self.assertEqual(len(self.flushLoggedErrors(LookupError)), 1)
        self.patch(Recorder, "record", record)
        self.route.result = None
        self.clock.pump([AWAY_SECONDS / 4] * 2)
        self.assertEqual(self.route.delivered, [message])
        self.assertEqual(service.lanes[0].workers, 0)

    def test_stops_without_a_pause(self) -> None:
        """A service that stops makes no pause for what could not be done."""
        self.route.is_slow = True
        self.route.result = lambda message: AWAY
        self.queue.put()
        service = self.start()
        stopped = service.stopService()
        self.route.go_on()
        self.assertTrue(stopped.called)
        self.assertEqual(self.clock.getDelayedCalls(), [])


class HeldTests(WorkingTestCase):
    """Mailboxes that others have locked."""

    def hold(self) -> UUID:
        self.route.result = lambda message: MailboxHeld()
        message = self.queue.put()
        self.start()
        return message

    def test_tried_again(self) -> None:
        """A message whose mailbox is held is tried again in a moment."""
        message = self.hold()
        self.route.result = None
        self.clock.advance(1.5 * HELD_SECONDS[0])
        self.assertEqual(self.route.delivered, [message])
        self.assertEqual(self.route.batches, [[message], [message]])

    def test_others_go_on(self) -> None:
        """Results of the others are recorded meanwhile."""
        held, bad = self.queue.put(), self.queue.put()
        self.route.result = lambda message: MailboxHeld() if message.id == held else Unreachable("for a test")
        self.start()
        self.assertIsNotNone(self.row(bad).cause)
        self.assertEqual(self.route.batches, [[held, bad]])
        self.clock.advance(1.5 * HELD_SECONDS[0])
        self.assertEqual(self.route.batches, [[held, bad], [held]])

    def test_left(self) -> None:
        """After some tries its worker ends, and another one begins anew; the message is untouched."""
        message = self.hold()
        self.clock.pump([1.5 * seconds for seconds in HELD_SECONDS])
        self.assertEqual(self.route.batches, [[message]] * (1 + len(HELD_SECONDS) + 1))
        self.assertEqual(self.log, [f"message {message} waits for its mailbox"])
        self.assertEqual((self.row(message).message.attempts, self.row(message).cause), (0, None))
        self.route.result = None
        self.clock.advance(1.5 * HELD_SECONDS[0])
        self.assertEqual(self.route.delivered, [message])
