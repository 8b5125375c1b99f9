"""The service that works the queue (spec 05, *The queue*).

Theory of operation
-------------------

A *route* (:class:`mensagod.delivery.interfaces.IRoute`) delivers the messages for some domains. Routes are in
a list; the first one that takes a domain gets its messages. A *lane* (:mod:`mensagod.delivery.lanes`) is a
route with workers of its own, so that messages that one route is slow with never occupy the workers of
another.

The bound on workers alone would not achieve that. Messages are due in one order for all routes, and a claimed
message has to be worked on: if a lane without a free worker got messages, they would have to wait in memory,
with leases that somebody renews, and in the end fill it. So messages are claimed only for lanes that have a
free worker. That is why a route says which domains it takes as a set, and not by a function: the set becomes
a condition of the claim. As long as every lane has a free worker there is no such condition, and one claim
serves all lanes: the number of lanes costs no round trips.

A claim takes up to :data:`CLAIM_LIMIT` messages; each lane puts its share into one worker. Claims are made

* when somebody calls :meth:`DeliveryService.wake` because a message was accepted: at once while no worker is
  busy, else at most every :data:`PAUSE_SECONDS`, so that under load more messages go together, which costs
  less for each;
* when a worker ends, because its lane has room;
* every :data:`POLL_SECONDS`, for messages that became due by themselves: retries, held messages, and those
  whose process died, so that their leases were not renewed.

What a worker is busy with is renewed every :data:`RENEW_SECONDS`. If a process is held up for longer than a
lease, another takes its messages over; each change in the queue names the lease that it relies on, so the
late worker changes nothing.
"""

from collections.abc import Callable, Iterable, Sequence

from twisted.application.service import MultiService
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from mensagod.config import Config
from mensagod.delivery.interfaces import IQueue, IRoute
from mensagod.delivery.lanes import Lane
from mensagod.delivery.recording import Recorder
from mensagod.lifecycle.periodic import Periodic
from mensagod.storage.clocks import ClockAgreement
from mensagod.values.domains import NO_DOMAINS, DomainSet

POLL_SECONDS = 4
"""How often due messages are claimed without being asked to. Together with the lease it bounds how long the
messages of a dead process rest."""

RENEW_SECONDS = 3
"""How often leases are renewed."""

PAUSE_SECONDS = 0.1
"""How long after a claim :meth:`DeliveryService.wake` makes the next one if a worker is busy. It does so even
if that worker does not end, which may be held up."""

CLAIM_LIMIT = 64
"""How many messages are claimed at once at most."""


class DeliveryService(MultiService):
    """Claims due messages and has them delivered.

    :param config: gives the present configuration.
    :param routes: in the order in which they are asked; what none of them takes stays in the queue.
    :param clocks: confirms that a message is too old to be tried again.
    """

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
        self._claims = Periodic(reactor, POLL_SECONDS, self._claim, "due messages cannot be claimed")
        renewals = Periodic(reactor, RENEW_SECONDS, self._renew, "leases cannot be renewed")
        for part in (*self.lanes, self._claims, renewals):
            part.setServiceParent(self)
        self._claiming = False
        self._asked = False
        self._claimed = 0.0
        self._waking: IDelayedCall | None = None

    def wake(self) -> None:
        """Claim soon: a message was accepted, or a worker has ended."""
        if self.running and self._waking is None:
            pause = self._claimed + PAUSE_SECONDS - self._clock.seconds() if self._has_workers else 0.0
            self._waking = self._clock.callLater(max(0.0, pause), self._wake)

    def stopService(self) -> Deferred[None]:
        """Claim nothing more, and let busy workers end."""
        self._cancel_waking()
        stopped: Deferred[object] = super().stopService()
        return stopped.addCallback(lambda _: None)

    @property
    def _has_workers(self) -> bool:
        return any(lane.workers for lane in self.lanes)

    def _wake(self) -> None:
        self._waking = None
        Deferred.fromCoroutine(self._claims.run())

    def _cancel_waking(self) -> None:
        if self._waking is not None:
            self._waking.cancel()
            self._waking = None

    def _worker_ended(self) -> None:
        """Claim without a pause that only this worker was the reason for."""
        self._cancel_waking()
        self.wake()

    async def _claim(self) -> None:
        """Claim until no message is due or no lane has a free worker."""
        if self._claiming:
            self._asked = True
            return
        self._claiming = True
        self._asked = False
        try:
            while self.running and await self._claim_once():
                pass
        finally:
            self._claiming = False
        if self._asked:
            self.wake()

    async def _claim_once(self) -> bool:
        """Claim messages for the lanes that have a free worker; tell whether there may be more."""
        most = self._config().performance.max_delivery_threads
        free = [(lane, domains) for lane, domains in self._shares() if lane.workers < most]
        wanted = NO_DOMAINS
        for _, domains in free:
            wanted |= domains
        if wanted.is_empty:
            return False
        self._claimed = self._clock.seconds()
        messages = await self._queue.claim(CLAIM_LIMIT, wanted)
        for lane, domains in free:
            share = [message for message in messages if message.domain in domains]
            if share:
                lane.begin(share)
        return len(messages) == CLAIM_LIMIT

    def _shares(self) -> Sequence[tuple[Lane, DomainSet]]:
        """Give each lane with the domains that no lane before it takes."""
        shares = []
        taken = NO_DOMAINS
        for lane in self.lanes:
            shares.append((lane, lane.route.domains - taken))
            taken |= lane.route.domains
        return shares

    async def _renew(self) -> None:
        leases = [lease for lane in self.lanes for lease in lane.leases]
        if leases:
            await self._queue.renew(leases)
