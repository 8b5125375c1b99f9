"""The service that works the queue (spec 05, *The queue*).

Theory of operation
-------------------

A *route* (:class:`mensagod.delivery.interfaces.IRoute`) delivers the messages for some domains. Routes are in
a list; the first one that takes a domain gets its messages. A *lane* (:mod:`mensagod.delivery.lanes`) is a
route with workers of its own, so that messages that one route is slow with never occupy the workers of
another.

The bound on workers alone would not achieve that: what a lane without a free worker got would have to wait in
memory. So only messages for lanes that have a free worker are taken from the queue. That is why a route says
which domains it takes as a set, and not by a function: the set becomes a condition of the query. As long as
every lane has a free worker there is no such condition, and one query serves all lanes.

Several processes share the queue by its buckets (:mod:`mensagod.storage.buckets`): each takes messages from
its own only. Within the process, no two workers have messages for the same destination at the same time.

A query gives up to :data:`MOST` messages; each lane puts its share into one worker. Queries are made

* when somebody calls :meth:`DeliveryService.wake` because a message was queued in a bucket of this process:
  at once while no worker is busy, else at most every :data:`PAUSE_SECONDS`, so that under load more messages
  go together, which costs less for each;
* when a worker ends, because its lane has room;
* every :data:`POLL_SECONDS`, for messages that became due by themselves, such as retries; and every
  :data:`SHARED_POLL_SECONDS` if there are several processes, for what others have queued in these buckets.

A process shows every :data:`RENEW_SECONDS` that it lives. If it is held up for longer than
:data:`mensagod.storage.buckets.LEASE_SECONDS`, others take its buckets over; what it still does with their
messages harms nobody (:mod:`mensagod.storage.queue`).
"""

import math
from collections.abc import Callable, Iterable, Sequence

from twisted.application.service import MultiService
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from mensagod.config import Config
from mensagod.delivery.interfaces import IQueue, IRoute
from mensagod.delivery.lanes import Lane
from mensagod.delivery.recording import Recorder
from mensagod.errors import ServerUnavailable
from mensagod.lifecycle.periodic import Periodic
from mensagod.storage.buckets import LEASE_SECONDS, Share
from mensagod.storage.clocks import ClockAgreement
from mensagod.threads.lock import Lock
from mensagod.values.domains import NO_DOMAINS, DomainSet

POLL_SECONDS = 4
"""How often due messages are looked for without being asked to."""

SHARED_POLL_SECONDS = 0.25
"""The same if other processes may have queued some."""

RENEW_SECONDS = 3
"""How often the process shows that it lives, and takes its share of the buckets."""

HASTEN_SECONDS = 60
"""How often messages are looked for that a clock set back has made wait for too long."""

PAUSE_SECONDS = 0.1
"""How long after a query :meth:`DeliveryService.wake` makes the next one if a worker is busy. It does so even
if that worker does not end, which may be held up."""

MOST = 64
"""How many messages one query gives at most."""

_NOTHING = Share(frozenset(), 1)


class DeliveryService(MultiService):
    """Takes due messages from the queue and has them delivered.

    :param config: gives the present configuration.
    :param routes: in the order in which they are asked; what none of them takes stays in the queue.
    :param clocks: confirms that a message is too old to be tried again.
    """

    _log = Logger(namespace="mensagod.delivery")

    def __init__(
        self,
        *,
        reactor: IReactorTime,
        config: Callable[[], Config],
        queue: IQueue,
        routes: Iterable[IRoute],
        clocks: ClockAgreement,
    ):
        super().__init__()
        self._clock = reactor
        self._config = config
        self._queue = queue
        recorder = Recorder(clocks, config, queue)
        self.lanes = tuple(Lane(reactor, route, recorder, self._worker_ended) for route in routes)
        for lane in self.lanes:
            lane.setServiceParent(self)
        for seconds, work, complaint in (
            (RENEW_SECONDS, self._take_share, "the queue cannot be shared out"),
            (POLL_SECONDS, self._query_all, "due messages cannot be looked for"),
            (SHARED_POLL_SECONDS, self._poll_shared, "due messages of others cannot be looked for"),
            (HASTEN_SECONDS, self._hasten, "due times cannot be checked"),
        ):
            Periodic(reactor, seconds, work, complaint).setServiceParent(self)
        self._share = _NOTHING
        self._sharing = Lock()
        self._shared = 0.0
        self._querying = False
        self._asked = False
        self._queried = -math.inf
        self._waking: IDelayedCall | None = None

    @property
    def buckets(self) -> frozenset[int]:
        """The buckets that this process works on; none if it could not show for long that it lives."""
        is_valid = self._clock.seconds() - self._shared < LEASE_SECONDS
        return self._share.buckets if is_valid else _NOTHING.buckets

    def wake(self, bucket: int) -> None:
        """Look for due messages soon: one was queued in ``bucket``."""
        if bucket in self._share.buckets:
            self._wake_soon()

    def stopService(self) -> Deferred[None]:
        """Take nothing more, let busy workers end, and give the buckets back."""
        self._cancel_waking()
        stopped: Deferred[object] = super().stopService()
        return stopped.addCallback(lambda _: Deferred.fromCoroutine(self._give_back()))

    @property
    def _has_workers(self) -> bool:
        return any(lane.workers for lane in self.lanes)

    def _wake_soon(self) -> None:
        if self.running and self._waking is None:
            pause = self._queried + PAUSE_SECONDS - self._clock.seconds() if self._has_workers else 0.0
            self._waking = self._clock.callLater(max(0.0, pause), self._wake)

    def _wake(self) -> None:
        self._waking = None
        Deferred.fromCoroutine(self._query_all()).addErrback(self._failed)

    def _cancel_waking(self) -> None:
        if self._waking is not None:
            self._waking.cancel()
            self._waking = None

    def _worker_ended(self) -> None:
        """Query without a pause that only this worker was the reason for."""
        self._cancel_waking()
        self._wake_soon()

    async def _take_share(self) -> None:
        async with self._sharing:
            begun = self._clock.seconds()
            before = self._share.buckets
            self._share = await self._queue.take_share()
            self._shared = begun
        if not self._share.buckets <= before:
            self._wake_soon()

    async def _give_back(self) -> None:
        # What was asked for before would come after it, and leave the buckets to nobody for a while.
        async with self._sharing:
            self._share = _NOTHING
            try:
                await self._queue.give_back()
            except ServerUnavailable:
                # Then others take the buckets when this process counts as dead.
                return

    async def _hasten(self) -> None:
        if hastened := await self._queue.hasten():
            self._log.warn(
                "{number} messages were due only in days, because a clock was ahead: they are due now",
                number=hastened,
            )

    async def _poll_shared(self) -> None:
        """Query for what other processes have queued."""
        if self._share.workers > 1 and self._clock.seconds() - self._queried >= SHARED_POLL_SECONDS:
            await self._query_all()

    async def _query_all(self) -> None:
        """Query until no message is due or no lane has a free worker."""
        if self._querying:
            self._asked = True
            return
        self._querying = True
        self._asked = False
        try:
            while self.running and await self._query():
                pass
        except ServerUnavailable:
            return
        finally:
            self._querying = False
        if self._asked:
            self._wake_soon()

    async def _query(self) -> bool:
        """Take messages for the lanes that have a free worker; tell whether there may be more."""
        most = self._config().performance.max_delivery_threads
        free = [(lane, domains) for lane, domains in self._shares() if lane.workers < most]
        wanted = NO_DOMAINS
        for _, domains in free:
            wanted |= domains
        buckets = self.buckets
        if wanted.is_empty or not buckets:
            return False
        self._queried = self._clock.seconds()
        busy = [destination for lane in self.lanes for destination in lane.destinations]
        messages = await self._queue.list_due(buckets, MOST, wanted, busy)
        for lane, domains in free:
            share = [message for message in messages if message.domain in domains]
            if share:
                lane.begin(share)
        return len(messages) == MOST

    def _failed(self, failure: Failure) -> None:
        """Log what only a fault of ours can cause; the next query is made as if nothing had happened."""
        self._log.failure("due messages cannot be looked for", failure)

    def _shares(self) -> Sequence[tuple[Lane, DomainSet]]:
        """Give each lane with the domains that no lane before it takes."""
        shares = []
        taken = NO_DOMAINS
        for lane in self.lanes:
            shares.append((lane, lane.route.domains - taken))
            taken |= lane.route.domains
        return shares
