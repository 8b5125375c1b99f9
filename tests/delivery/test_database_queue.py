"""The queue in a real PostgreSQL."""

from datetime import datetime, timedelta
from uuid import UUID, uuid4

from zope.interface.verify import verifyObject

from mensagod.delivery.database_queue import DatabaseQueue
from mensagod.delivery.interfaces import IQueue
from mensagod.storage import buckets, queue
from mensagod.storage.buckets import Share
from mensagod.storage.contents import Content
from mensagod.storage.queue import BUCKETS, NewMessage, Queued
from mensagod.storage.rows import Transaction, maybe, one
from mensagod.values.identity import DeviceID, Domain, WorkspaceID
from mensagod.values.paths import FileName
from tests.databases import DatabaseTestCase
from tests.delivery import queue_contract
from tests.delivery.fakes import OURS


class DatabaseQueueTestCase(queue_contract.QueueContract, DatabaseTestCase):
    """The real thing."""

    async def prepare(self) -> None:
        self.queue = DatabaseQueue(self.database, uuid4())
        verifyObject(IQueue, self.queue)

    def another(self) -> DatabaseQueue:
        return DatabaseQueue(self.database, uuid4())

    async def put(
        self, domain: Domain = OURS, due_in: float = 0.0, to: str | None = None, *, scheduled: bool = False
    ) -> UUID:
        return await self.database.run(_put, domain, due_in, to, scheduled)

    async def pass_time(self, seconds: float) -> None:
        await self.database.run(_pass_time, timedelta(seconds=seconds))

    async def look(self, message: UUID) -> queue_contract.Seen | None:
        return await self.database.run(_look, message)

    async def finish(self, message: Queued) -> bool:
        return message.id in await self.database.run(queue.take, [message])


class DueTests(DatabaseQueueTestCase, queue_contract.DueContract):
    """The contract for due messages."""


class RecordTests(DatabaseQueueTestCase, queue_contract.RecordContract):
    """The contract for results."""


class SharingTests(DatabaseQueueTestCase, queue_contract.SharingContract):
    """The contract for shares, and processes that take theirs at the same moment."""

    async def test_at_once(self) -> None:
        """Processes that begin at the same moment never have the same bucket."""
        first, second = uuid4(), uuid4()
        connection = self.connect()
        with connection.cursor() as cursor:
            early = buckets.take_share(Transaction(cursor), first)
            self.assertEqual(len(early.buckets), BUCKETS)
            # The second has seen all buckets free, and waits for the first at one of them.
            waiting = self.database.run(buckets.take_share, second)
            while not await self.database.read(_is_waiting):
                pass
            connection.commit()
        late: Share = await waiting
        self.assertEqual(early.buckets & late.buckets, frozenset())
        self.assertEqual((await self.database.run(buckets.take_share, first)).workers, 2)


def _put(txn: Transaction, domain: Domain, due_in: float, to: str | None, scheduled: bool) -> UUID:
    """Put a message into the queue as its acceptance does."""
    target = WorkspaceID.random() if domain == OURS and to is None else None
    content = Content.in_row(b"hello")
    txn.execute("SELECT now() + %s * interval '1 second' AS due", (due_in,))
    due: datetime = one(lambda row: row.due, txn)
    message = NewMessage(
        id=uuid4(),
        target=target,
        sender=WorkspaceID.random(),
        device=DeviceID.random(),
        sender_domain=OURS,
        domain=domain,
        name=FileName.make(1, content.size),
        content=content,
        send_time=due if scheduled else None,
    )
    queue.add(txn, [message])
    if not scheduled:
        txn.execute("UPDATE queue SET due = %s WHERE id = %s", (due, message.id))
    if to is not None:
        txn.execute(
            "UPDATE queue SET destination = %s, bucket = %s WHERE id = %s",
            (to, queue.bucket_of(to), message.id),
        )
    return message.id


def _pass_time(txn: Transaction, past: timedelta) -> None:
    txn.execute(
        "UPDATE queue SET due = due - %(past)s, accepted = accepted - %(past)s,"
        " send_time = send_time - %(past)s",
        {"past": past},
    )
    txn.execute("UPDATE queue_workers SET until = until - %s", (past,))


def _look(txn: Transaction, message: UUID) -> queue_contract.Seen | None:
    txn.execute(
        "SELECT state, round(extract(epoch FROM due - now())) AS due_in, attempts, code, reason"
        " FROM queue WHERE id = %s",
        (message,),
    )
    return maybe(
        lambda row: queue_contract.Seen(
            row.state,
            int(row.due_in),
            row.attempts,
            None if row.code is None else (row.code, row.reason),
        ),
        txn,
    )


def _is_waiting(txn: Transaction) -> bool:
    txn.execute(
        "SELECT count(*) > 0 AS waiting FROM pg_stat_activity"
        " WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    return one(lambda row: bool(row.waiting), txn)
