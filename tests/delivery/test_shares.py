"""Processes that share the queue (spec 05, *The queue*)."""

from twisted.internet.defer import Deferred

from mensagod.delivery.service import (
    HASTEN_SECONDS,
    POLL_SECONDS,
    RENEW_SECONDS,
    SHARED_POLL_SECONDS,
    DeliveryService,
)
from mensagod.storage.buckets import LEASE_SECONDS, Share
from mensagod.storage.queue import BUCKETS, FARTHEST_HOURS
from tests.delivery.fakes import AWAY, FakeRoute
from tests.delivery.working import WorkingTestCase


class ShareTests(WorkingTestCase):
    """Processes that share the queue."""

    def setUp(self) -> None:
        super().setUp()
        self.other = self.queue.another()
        self.others = FakeRoute(self.other)

    def start_other(self) -> DeliveryService:
        """Start a second process."""
        service = self.make(self.others, queue=self.other)
        service.startService()
        self.addCleanup(self.stop, service)
        return service

    def test_bounds(self) -> None:
        """The messages of a dead process go on within 15 seconds, and a lease outlives a missed renewal."""
        self.assertLessEqual(LEASE_SECONDS, 10)
        self.assertLessEqual(LEASE_SECONDS + RENEW_SECONDS, 13)
        self.assertLess(2 * RENEW_SECONDS, LEASE_SECONDS)

    def test_shared(self) -> None:
        """Two processes work on half of the buckets each, soon after the second has come."""
        first, second = self.start(), self.start_other()
        self.pass_time(2 * RENEW_SECONDS)
        self.assertEqual((len(first.buckets), len(second.buckets)), (BUCKETS // 2, BUCKETS // 2))
        self.assertEqual(first.buckets & second.buckets, frozenset())
        messages = {self.queue.put() for _ in range(100)}
        self.pass_time(POLL_SECONDS)
        self.assertEqual({*self.route.delivered, *self.others.delivered}, messages)
        self.assertEqual(len(self.route.delivered) + len(self.others.delivered), 100)
        self.assertTrue(self.route.delivered and self.others.delivered)

    def test_woken_for_its_own(self) -> None:
        """A message in the bucket of another process wakes only that, at its next look."""
        first = self.start()
        self.start_other()
        self.pass_time(2 * RENEW_SECONDS)
        message = self.queue.put()
        while self.queue.rows[message].message.bucket in first.buckets:
            del self.queue.rows[message]
            message = self.queue.put()
        self.wake(first, message)
        self.clock.advance(0)
        self.assertEqual(self.route.delivered, [])
        self.clock.advance(SHARED_POLL_SECONDS)
        self.assertEqual(self.others.delivered, [message])

    def test_death(self) -> None:
        """Messages in the buckets of a process that died are delivered within 13 seconds."""
        self.start()
        dead = self.start_other()
        self.pass_time(2 * RENEW_SECONDS)
        self.other.fault = AWAY
        messages = {self.queue.put() for _ in range(50)}
        self.pass_time(13)
        self.assertEqual(set(self.route.delivered), messages)
        self.assertEqual((self.others.delivered, dead.buckets), ([], frozenset()))

    def test_held_up(self) -> None:
        """A process that could not show for long that it lives takes no messages."""
        service = self.start()
        self.patch(self.queue, "take_share", self.fail_to_share)
        self.pass_time(LEASE_SECONDS)
        self.queue.put()
        self.pass_time(2 * POLL_SECONDS)
        self.assertEqual((self.route.delivered, service.buckets), ([], frozenset()))

    async def fail_to_share(self) -> object:
        raise AWAY

    def test_stop(self) -> None:
        """A process that stops gives its buckets back after its workers have ended."""
        self.route.is_slow = True
        self.queue.put()
        service = self.start()
        stopped = service.stopService()
        self.assertEqual(len(self.queue.sharing.owners), BUCKETS)
        self.route.go_on()
        self.assertTrue(stopped.called)
        self.assertEqual((self.queue.sharing.owners, self.queue.sharing.workers), ({}, {}))

    def test_stop_while_sharing(self) -> None:
        """A process that stops while it takes its share gives that back, too."""
        gate: Deferred[None] = Deferred()
        take_share = self.queue.take_share

        async def take_slowly() -> Share:
            await gate
            return await take_share()

        self.patch(self.queue, "take_share", take_slowly)
        stopped = self.start().stopService()
        self.assertNoResult(stopped)
        gate.callback(None)
        self.successResultOf(stopped)
        self.assertEqual((self.queue.sharing.owners, self.queue.sharing.workers), ({}, {}))

    def test_stop_without_database(self) -> None:
        """A process stops also if it cannot say so."""
        service = self.start()
        self.queue.fault = AWAY
        self.assertIsNone(self.successResultOf(service.stopService()))
        self.queue.fault = None
        self.assertEqual(len(self.queue.sharing.owners), BUCKETS)

    def test_hastens(self) -> None:
        """What a clock that was ahead has made wait for days is delivered within a minute, and logged."""
        self.start()
        message = self.queue.put(due_in=(FARTHEST_HOURS + 1) * 3600)
        self.pass_time(HASTEN_SECONDS + POLL_SECONDS)
        self.assertEqual(self.route.delivered, [message])
        (line,) = [line for line in self.log if "clock" in line]
        self.assertTrue(line.startswith("1 messages were due only in days"))
