"""The queue in memory promises what the real one does, so that tests may rely on it."""

from uuid import UUID

from twisted.internet.task import Clock
from zope.interface.verify import verifyObject

from mensagod.delivery.interfaces import IQueue, IRoute
from mensagod.storage.queue import Queued
from mensagod.values.domains import ALL_DOMAINS
from mensagod.values.identity import Domain, WorkspaceID
from tests.delivery import queue_contract
from tests.delivery.fakes import AWAY, OURS, FakeQueue, FakeRoute


class FakeQueueTests(queue_contract.QueueContract):
    """The contract for the fake."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(10**9)
        self.queue = self.fake = FakeQueue(self.clock)

    async def put(self, domain: Domain = OURS, due_in: float = 0.0) -> UUID:
        return self.fake.put(domain, due_in=due_in)

    async def put_pending(self, lease_seconds: float) -> UUID:
        return self.fake.put_pending(lease_seconds)

    async def pass_time(self, seconds: float) -> None:
        self.clock.advance(seconds)

    async def look(self, message: UUID) -> queue_contract.Seen | None:
        row = self.fake.rows.get(message)
        if row is None:
            return None
        due_in = round(row.due - self.clock.seconds())
        has_lease = row.lease_until is not None
        cause = None if row.cause is None else (int(row.cause.status), row.cause.reason)
        return queue_contract.Seen(row.state, due_in, row.message.attempts, has_lease, cause)

    async def finish(self, message: Queued) -> bool:
        return self.fake.finish(message)

    async def known_workspace(self) -> WorkspaceID:
        workspace = WorkspaceID.random()
        self.fake.workspaces.add(workspace)
        return workspace

    def test_interfaces(self) -> None:
        """The fakes have the methods that they stand in for."""
        verifyObject(IQueue, self.fake)
        verifyObject(IRoute, FakeRoute(self.fake))

    async def test_away(self) -> None:
        """A queue that is away refuses everything."""
        self.fake.put()
        message = await self.claim_one()
        self.fake.fault = AWAY
        for refused in (
            self.queue.claim(1, ALL_DOMAINS),
            self.queue.renew([]),
            self.queue.postpone(message, queue_contract.CAUSE, 1.0),
            self.queue.fail(message, queue_contract.CAUSE),
            self.queue.claim_abandoned(),
            self.queue.withdraw(message),
            self.queue.list_forgotten([]),
        ):
            with self.assertRaises(type(AWAY)):
                await refused
