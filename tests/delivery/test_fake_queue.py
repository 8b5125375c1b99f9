"""The queue in memory promises what the real one does, so that tests may rely on it."""

from uuid import UUID

from twisted.internet.task import Clock
from zope.interface.verify import verifyObject

from mensagod.delivery.interfaces import IQueue, IRoute
from mensagod.storage.queue import Queued
from mensagod.values.domains import ALL_DOMAINS
from mensagod.values.identity import Domain
from tests.delivery import queue_contract
from tests.delivery.fakes import AWAY, OURS, FakeQueue, FakeRoute


class FakeQueueTestCase(queue_contract.QueueContract):
    """The fake."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(2 * 10**9)
        self.queue = self.fake = FakeQueue(self.clock)

    def another(self) -> FakeQueue:
        return self.fake.another()

    async def put(
        self, domain: Domain = OURS, due_in: float = 0.0, to: str | None = None, *, scheduled: bool = False
    ) -> UUID:
        return self.fake.put(domain, due_in=due_in, to=to, scheduled=scheduled)

    async def pass_time(self, seconds: float) -> None:
        self.clock.rightNow += seconds

    async def look(self, message: UUID) -> queue_contract.Seen | None:
        row = self.fake.rows.get(message)
        if row is None:
            return None
        cause = None if row.cause is None else (int(row.cause.status), row.cause.reason)
        due_in = round(row.due - self.clock.seconds())
        return queue_contract.Seen(row.state, due_in, row.message.attempts, cause)

    async def finish(self, message: Queued) -> bool:
        return self.fake.finish(message)


class DueTests(FakeQueueTestCase, queue_contract.DueContract):
    """The contract for due messages."""


class RecordTests(FakeQueueTestCase, queue_contract.RecordContract):
    """The contract for results."""


class SharingTests(FakeQueueTestCase, queue_contract.SharingContract):
    """The contract for shares."""


class FakeTests(FakeQueueTestCase):
    """What tests rely on besides."""

    def test_interfaces(self) -> None:
        """The fakes have the methods that they stand in for."""
        verifyObject(IQueue, self.fake)
        verifyObject(IRoute, FakeRoute(self.fake))

    async def test_away(self) -> None:
        """A queue that is away refuses everything."""
        self.fake.put()
        message = await self.due_one()
        self.fake.fault = AWAY
        for refused in (
            self.queue.take_share(),
            self.queue.give_back(),
            self.queue.list_due([], 1, ALL_DOMAINS, ()),
            self.queue.postpone(message, queue_contract.CAUSE, 1.0),
            self.queue.fail(message, queue_contract.CAUSE),
            self.queue.hasten(),
        ):
            with self.assertRaises(type(AWAY)):
                await refused
