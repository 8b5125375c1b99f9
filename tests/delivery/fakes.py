"""A queue and a route in memory, whose time is a clock of the test."""

from collections.abc import Callable, Mapping, Sequence
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
from mensagod.storage.queue import LEASE_SECONDS, WRITING_SECONDS, Cause, LeaseLost, Queued
from mensagod.values.domains import ALL_DOMAINS, DomainSet
from mensagod.values.identity import SERVER_WORKSPACE, Domain, WorkspaceID
from mensagod.values.paths import FileName, ServerPath

P = ParamSpec("P")
T = TypeVar("T")

OURS = Domain.from_text("example.com")
ELSEWHERE = Domain.from_text("example.org")
LONGEST_LEASE = 60


@define
class Row:
    """A message of the fake queue.

    :ivar message: as it was claimed last.
    :ivar lease_until: in seconds of the clock, as ``due``; ``None`` if nobody has it.
    """

    message: Queued
    state: str
    due: float
    lease_until: float | None = None
    cause: Cause | None = None

    def is_held(self, now: float) -> bool:
        return self.lease_until is not None and now <= self.lease_until <= now + LONGEST_LEASE


@implementer(IQueue)
@define(eq=False, slots=False)
class FakeQueue:
    """What :class:`mensagod.delivery.database_queue.DatabaseQueue` promises, without a database.

    :ivar workspaces: those that are known, besides the server's own.
    :ivar fault: what every method raises, if the test wants that.
    :ivar claims: the domains of each claim.
    """

    clock: Clock
    rows: dict[UUID, Row] = field(factory=dict)
    workspaces: set[WorkspaceID] = field(factory=set)
    fault: Exception | None = None
    claims: list[DomainSet] = field(factory=list)

    def put(self, domain: Domain = OURS, *, due_in: float = 0.0) -> UUID:
        """Have an accepted message."""
        return self._add(domain, "queued", self.clock.seconds() + due_in)

    def put_pending(self, lease_seconds: float) -> UUID:
        """Have a message that is being written."""
        now = self.clock.seconds()
        return self._add(OURS, "pending", now, now + lease_seconds)

    def _add(self, domain: Domain, state: str, due: float, lease_until: float | None = None) -> UUID:
        now = self.clock.seconds()
        sender = WorkspaceID.random()
        self.workspaces.add(sender)
        accepted = datetime.fromtimestamp(now, UTC)
        name = FileName.make(int(now), 5)
        message = Queued(uuid4(), uuid4(), sender, OURS, domain, name, 0, accepted, None, None)
        self.rows[message.id] = Row(message, state, due, lease_until)
        return message.id

    def finish(self, message: Queued) -> bool:
        """Remove a message that is delivered, as a route does; tell whether its lease still held."""
        if self._held(message) is None:
            return False
        del self.rows[message.id]
        return True

    def end_leases(self) -> None:
        """Let all leases have ended, as if their workers had not renewed them."""
        for row in self.rows.values():
            if row.lease_until is not None:
                row.lease_until = self.clock.seconds() - 1

    async def claim(self, most: int, domains: DomainSet) -> Sequence[Queued]:
        self.claims.append(domains)
        self._check()
        now = self.clock.seconds()
        due = [
            row
            for row in sorted(self.rows.values(), key=lambda row: row.due)
            if row.state == "queued" and row.due <= now and not row.is_held(now)
            if row.message.domain in domains
        ]
        return [self._claim(row, LEASE_SECONDS, attempts=1) for row in due[:most]]

    async def renew(self, leases: Sequence[UUID]) -> None:
        self._check()
        for row in self.rows.values():
            if row.state == "queued" and row.lease_until is not None and row.message.lease in leases:
                row.lease_until = self.clock.seconds() + LEASE_SECONDS

    async def postpone(self, message: Queued, cause: Cause, seconds: float) -> None:
        row = self._required(message)
        row.due, row.lease_until, row.cause = self.clock.seconds() + seconds, None, cause

    async def fail(self, message: Queued, cause: Cause) -> None:
        row = self._required(message)
        row.state, row.lease_until, row.cause = "failed", None, cause

    async def claim_abandoned(self) -> Sequence[Queued]:
        self._check()
        now = self.clock.seconds()
        abandoned = [
            row
            for row in self.rows.values()
            if row.state == "pending" and row.lease_until is not None and row.lease_until < now
        ]
        return [self._claim(row, WRITING_SECONDS) for row in abandoned]

    async def withdraw(self, message: Queued) -> None:
        self._check()
        row = self._held(message)
        if row is not None and row.state == "pending":
            del self.rows[message.id]

    async def list_forgotten(self, files: Sequence[ServerPath]) -> Sequence[ServerPath]:
        self._check()
        named = {row.message.path for row in self.rows.values()}
        known = {*self.workspaces, SERVER_WORKSPACE}
        return [file for file in files if file not in named and file.workspace in known]

    def _check(self) -> None:
        if self.fault is not None:
            raise self.fault

    def _claim(self, row: Row, seconds: float, attempts: int = 0) -> Queued:
        row.lease_until = self.clock.seconds() + seconds
        row.message = evolve(row.message, lease=uuid4(), attempts=row.message.attempts + attempts)
        return row.message

    def _held(self, message: Queued) -> Row | None:
        """Give the row of a message whose lease nobody else has got since."""
        row = self.rows.get(message.id)
        if row is None or row.lease_until is None or row.message.lease != message.lease:
            return None
        return row

    def _required(self, message: Queued) -> Row:
        self._check()
        row = self._held(message)
        if row is None:
            raise LeaseLost
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
            return LeaseLost()
        self.delivered.append(message.id)
        return Delivered()


class InlineThreads:
    """Runs work at once, in the thread of the test."""

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return work(*args, **kwargs)


AWAY = ServerUnavailable()
