"""A queue and a route in memory, whose time is a clock of the test."""

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import ParamSpec, TypeVar
from uuid import UUID, uuid4

from attrs import define, evolve, field
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from zope.interface import implementer

from mensagod.delivery.interfaces import IQueue, IRoute
from mensagod.delivery.results import Delivered, Result
from mensagod.errors import ServerUnavailable
from mensagod.storage.buckets import LEASE_SECONDS, Share
from mensagod.storage.contents import Content
from mensagod.storage.queue import (
    BUCKETS,
    EACH,
    FARTHEST_HOURS,
    Cause,
    Overtaken,
    Queued,
    bucket_of,
)
from mensagod.values.domains import ALL_DOMAINS, DomainSet
from mensagod.values.identity import Domain, WorkspaceID
from mensagod.values.paths import FileName

P = ParamSpec("P")
T = TypeVar("T")

OURS = Domain.from_text("example.com")
ELSEWHERE = Domain.from_text("example.org")


@define
class Row:
    """A message of the fake queue.

    :ivar message: as it is listed when it is due.
    :ivar due: in seconds of the clock.
    :ivar is_scheduled: whether its sender has asked for that time.
    """

    message: Queued
    due: float
    is_scheduled: bool
    state: str = "queued"
    cause: Cause | None = None


@define
class Sharing:
    """What the processes at one queue have in common.

    :ivar workers: until when each process counts as living, in seconds of the clock.
    :ivar owners: the process of each bucket that has one.
    """

    workers: dict[UUID, float] = field(factory=dict)
    owners: dict[int, UUID] = field(factory=dict)


@implementer(IQueue)
@define(eq=False, slots=False)
class FakeQueue:
    """What :class:`mensagod.delivery.database_queue.DatabaseQueue` promises, without a database.

    :ivar fault: what every method raises, if the test wants that.
    :ivar write_fault: what every method raises that changes a message, if the test wants that.
    :ivar queries: the domains of each query for due messages.
    """

    clock: Clock
    rows: dict[UUID, Row] = field(factory=dict)
    sharing: Sharing = field(factory=Sharing)
    process: UUID = field(factory=uuid4)
    fault: Exception | None = None
    write_fault: Exception | None = None
    queries: list[DomainSet] = field(factory=list)

    def another(self) -> "FakeQueue":
        """Give the same queue as another process has it."""
        return FakeQueue(self.clock, self.rows, self.sharing)

    def put(
        self, domain: Domain = OURS, *, due_in: float = 0.0, to: str | None = None, scheduled: bool = False
    ) -> UUID:
        """Have an accepted message.

        :param to: its destination; a workspace of its own unless given, or the domain if that is not ours.
        """
        now = self.clock.seconds()
        target = WorkspaceID.random() if domain == OURS and to is None else None
        destination = to or str(target or domain)
        content = Content.in_row(b"hello")
        message = Queued(
            bucket=bucket_of(destination),
            id=uuid4(),
            destination=destination,
            target=target,
            sender=WorkspaceID.random(),
            sender_domain=OURS,
            domain=domain,
            name=FileName.make(int(now), content.size),
            attempts=0,
            accepted=datetime.fromtimestamp(now + (max(0.0, due_in) if scheduled else 0.0), UTC),
            content=content,
        )
        self.rows[message.id] = Row(message, now + due_in, scheduled)
        return message.id

    def finish(self, message: Queued) -> bool:
        """Remove a message that is delivered, as a route does; tell whether nobody was faster."""
        if self._find(message) is None:
            return False
        del self.rows[message.id]
        return True

    async def take_share(self) -> Share:
        self._check()
        now = self.clock.seconds()
        workers, owners = self.sharing.workers, self.sharing.owners
        workers[self.process] = now + LEASE_SECONDS
        for process, until in tuple(workers.items()):
            if not now <= until <= now + 2 * LEASE_SECONDS:
                del workers[process]
        most = -(-BUCKETS // len(workers))
        for bucket in self._mine()[most:]:
            del owners[bucket]
        free = [bucket for bucket in range(BUCKETS) if owners.get(bucket) not in workers]
        for bucket in free[: max(0, most - len(self._mine()))]:
            owners[bucket] = self.process
        return Share(frozenset(self._mine()), len(workers))

    async def give_back(self) -> None:
        self._check()
        for bucket in self._mine():
            del self.sharing.owners[bucket]
        self.sharing.workers.pop(self.process, None)

    async def list_due(
        self,
        buckets: Collection[int],
        most: int,
        domains: DomainSet = ALL_DOMAINS,
        busy: Collection[str] = (),
    ) -> Sequence[Queued]:
        self.queries.append(domains)
        self._check()
        now = self.clock.seconds()
        found: list[Queued] = []
        taken = dict.fromkeys(buckets, 0)
        for row in sorted(self.rows.values(), key=lambda row: row.due):
            message = row.message
            if row.state != "queued" or row.due > now or taken.get(message.bucket, EACH) >= EACH:
                continue
            if message.domain in domains and message.destination not in busy:
                taken[message.bucket] += 1
                found.append(message)
        return found[:most]

    async def postpone(self, message: Queued, cause: Cause, seconds: float) -> None:
        self._record(message, "queued", cause).due = self.clock.seconds() + seconds

    async def fail(self, message: Queued, cause: Cause) -> None:
        self._record(message, "failed", cause).due = self.clock.seconds()

    async def hasten(self) -> int:
        self._check()
        now = self.clock.seconds()
        farthest = now + FARTHEST_HOURS * 3600
        far = [
            row
            for row in self.rows.values()
            if row.state == "queued" and not row.is_scheduled and row.due > farthest
        ]
        for row in far:
            row.due = now
            accepted = min(row.message.accepted, datetime.fromtimestamp(now, UTC))
            row.message = evolve(row.message, accepted=accepted)
        return len(far)

    def _mine(self) -> list[int]:
        return sorted(bucket for bucket, owner in self.sharing.owners.items() if owner == self.process)

    def _check(self) -> None:
        if self.fault is not None:
            raise self.fault

    def _find(self, message: Queued) -> Row | None:
        """Give the row of a message of which no other try was recorded since."""
        row = self.rows.get(message.id)
        is_same = row is not None and row.state == "queued" and row.message.attempts == message.attempts
        return row if is_same else None

    def _record(self, message: Queued, state: str, cause: Cause) -> Row:
        self._check()
        if self.write_fault is not None:
            raise self.write_fault
        row = self._find(message)
        if row is None:
            raise Overtaken
        row.message = evolve(row.message, attempts=row.message.attempts + 1)
        row.state, row.cause, row.is_scheduled = state, cause, False
        return row


@implementer(IRoute)
@define(eq=False, slots=False)
class FakeRoute:
    """Delivers what it gets, unless the test says otherwise.

    :ivar result: gives the result of a message that is not to be delivered.
    :ivar is_slow: whether batches wait until the test lets them go on.
    :ivar waiting: the batches that wait.
    :ivar batches: all batches so far.
    """

    queue: FakeQueue
    domains: DomainSet = ALL_DOMAINS
    result: Callable[[Queued], Result] | None = None
    is_slow: bool = False
    waiting: list[Deferred[None]] = field(factory=list)
    batches: list[list[UUID]] = field(factory=list)
    delivered: list[UUID] = field(factory=list)

    async def deliver(self, messages: Sequence[Queued]) -> Mapping[UUID, Result]:
        self.batches.append([message.id for message in messages])
        if self.is_slow:
            gate: Deferred[None] = Deferred()
            self.waiting.append(gate)
            await gate
        return {message.id: self._deliver(message) for message in messages}

    def go_on(self) -> None:
        """Let the first batch that waits go on."""
        self.waiting.pop(0).callback(None)

    def _deliver(self, message: Queued) -> Result:
        if self.result is not None:
            return self.result(message)
        if not self.queue.finish(message):
            return Overtaken()
        self.delivered.append(message.id)
        return Delivered()


class InlineThreads:
    """Runs work at once, in the thread of the test."""

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return work(*args, **kwargs)


AWAY = ServerUnavailable()
