"""The queue in a real PostgreSQL."""

from uuid import UUID, uuid4

from attrs import evolve
from zope.interface.verify import verifyObject

from mensagod.delivery.database_queue import DatabaseQueue
from mensagod.delivery.interfaces import IQueue
from mensagod.storage import queue
from mensagod.storage.queue import LEASE_SECONDS, LeaseLost, Queued, Submission
from mensagod.storage.rows import Transaction, maybe
from mensagod.values.identity import SERVER_DEVICE, Domain, WorkspaceID
from mensagod.values.paths import FileName
from tests.databases import DatabaseTestCase
from tests.delivery import queue_contract
from tests.delivery.fakes import OURS

_PUT = (
    "INSERT INTO queue"
    " (id, sender, device, sender_domain, domain, name, size, state, due, lease, lease_until)"
    " VALUES (%s, gen_random_uuid(), gen_random_uuid(), 'example.com', %s, %s, 5, %s,"
    " now() + %s * interval '1 second', %s, now() + %s * interval '1 second')"
)


class DatabaseQueueTests(queue_contract.QueueContract, DatabaseTestCase):
    """The contract for the real thing."""

    async def prepare(self) -> None:
        self.queue = DatabaseQueue(self.database)
        verifyObject(IQueue, self.queue)

    async def execute(self, sql: str, *parameters: object) -> None:
        await self.database.run(lambda txn: txn.execute(sql, parameters))

    async def put(self, domain: Domain = OURS, due_in: float = 0.0) -> UUID:
        message = uuid4()
        name = FileName.make(1, 5).text
        await self.execute(_PUT, message, str(domain), name, "queued", due_in, None, None)
        return message

    async def put_pending(self, lease_seconds: float) -> UUID:
        message = uuid4()
        name = FileName.make(1, 5).text
        await self.execute(_PUT, message, str(OURS), name, "pending", 0, uuid4(), lease_seconds)
        return message

    async def pass_time(self, seconds: float) -> None:
        await self.execute(
            "UPDATE queue SET due = due - past, accepted = accepted - past, lease_until = lease_until - past"
            " FROM (SELECT %s * interval '1 second' AS past) AS passed",
            seconds,
        )

    async def look(self, message: UUID) -> queue_contract.Seen | None:
        return await self.database.run(_look, message)

    async def finish(self, message: Queued) -> bool:
        return message.id in await self.database.run(queue.finish, [message])

    async def known_workspace(self) -> WorkspaceID:
        workspace = WorkspaceID.random()
        await self.execute(
            "INSERT INTO workspaces (id, domain, status, password_hash)"
            " VALUES (%s, 'example.com', 'active', 'x')",
            workspace.uuid,
        )
        return workspace

    async def test_lost_lease_in_a_transaction(self) -> None:
        """What the route and SEND do in transactions of their own needs the lease, too."""
        await self.put()
        late = await self.claim_one()
        await self.pass_time(LEASE_SECONDS + 1)
        await self.claim_one()
        aimed = evolve(late, target=await self.known_workspace(), target_name=FileName.make(1, 1))
        self.assertEqual(await self.database.run(queue.aim, [aimed]), set())
        with self.assertRaises(LeaseLost):
            await self.database.run(queue.accept, submission_of(late))
        await self.finish(late)
        current = await self.database.run(_targets)
        self.assertEqual(current, (None, None))


def submission_of(message: Queued) -> Submission:
    """Give the message as SEND had it."""
    return Submission(
        id=message.id,
        lease=message.lease,
        sender=message.sender,
        device=SERVER_DEVICE,
        sender_domain=message.sender_domain,
        domain=message.domain,
        name=message.name,
        digest=bytes(32),
    )


def _look(txn: Transaction, message: UUID) -> queue_contract.Seen | None:
    txn.execute(
        "SELECT state, round(extract(epoch FROM due - now())) AS due_in, attempts, lease, code, reason"
        " FROM queue WHERE id = %s",
        (message,),
    )
    return maybe(
        lambda row: queue_contract.Seen(
            row.state,
            int(row.due_in),
            row.attempts,
            row.lease is not None,
            None if row.code is None else (row.code, row.reason),
        ),
        txn,
    )


def _targets(txn: Transaction) -> object:
    txn.execute("SELECT target, target_name FROM queue")
    return maybe(tuple, txn)
