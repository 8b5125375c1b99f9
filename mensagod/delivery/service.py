"""The service that works the queue (spec 05, *The queue*)."""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from random import SystemRandom
from uuid import UUID

from attrs import define, field
from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList, ensureDeferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import LoopingCall, deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from mensagod.config import Config
from mensagod.delivery.local import Busy, LocalDelivery, Outcome, Placed
from mensagod.delivery.outcomes import DeliveryError, OwnFault, Unreachable
from mensagod.errors import ServerUnavailable
from mensagod.organization.keyring import Keyring
from mensagod.storage import queue
from mensagod.storage.queue import LeaseLost, Queued
from mensagod.values.identity import WorkspaceID
from mensagod.wire.status import Status

POLL_SECONDS = 4
"""How often the queue is looked at without being told to. Together with the lease it bounds how long the
messages of a dead process rest."""

RENEW_SECONDS = 3
"""How often leases are renewed."""

CLEAN_SECONDS = 60
"""How often messages that were never accepted are looked for."""

SWEEP_SECONDS = 3600
"""How often files that belong to no message are looked for."""

SWEEP_AGE = 2 * queue.WRITING_SECONDS
"""How old they are at least: what is younger may be just coming."""

PAUSE_SECONDS = 0.1
"""How long the queue is not looked at while a worker is busy, unless that ends before: so under load more is
taken at once, see :mod:`mensagod.delivery.local`, and a worker that is held up keeps up no others."""

HELD_SECONDS = (0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.8)
"""How long a worker waits, time after time, for mailboxes that others hold; then it leaves their messages to
whoever claims them when their leases have ended, so that it has time for others. Processes that deliver much
to the same mailboxes meet often, so that it is not done with a few tries."""

BATCH = 64
"""How many messages one worker takes at the most."""

STOP_SECONDS = 10
"""How long running deliveries have when the service stops."""

_BATCH = 500

_random = SystemRandom()


@define(eq=False)
class DeliveryService(Service):
    """Takes due messages from the queue and has them delivered, some at a time.

    :ivar delivered: called with the workspace in which a message was placed.
    """

    reactor: IReactorTime
    config: Callable[[], Config]
    keyring: Callable[[], Keyring]
    local: LocalDelivery
    delivered: Callable[[WorkspaceID], None]
    _running: dict[tuple[UUID, ...], Deferred[None]] = field(factory=dict, init=False)
    _claiming: bool = field(default=False, init=False)
    _asked: bool = field(default=False, init=False)
    _begun: float = field(default=0.0, init=False)
    _woken: IDelayedCall | None = field(default=None, init=False)
    _swept: float | None = field(default=None, init=False)
    _loops: list[LoopingCall] = field(factory=list, init=False)

    _log = Logger(namespace="mensagod.delivery")

    def startService(self) -> None:
        """Begin to work the queue."""
        super().startService()
        self._every(POLL_SECONDS, self._claim)
        self._every(RENEW_SECONDS, self._renew)
        self._every(CLEAN_SECONDS, self._clean)

    async def _finish(self) -> None:
        """Wait for running deliveries, a while; what is cut off goes on elsewhere when its lease ends."""
        ended: Deferred[object] = Deferred()
        late = self.reactor.callLater(STOP_SECONDS, ended.callback, None)
        DeferredList(list(self._running.values())).addCallback(
            lambda _: None if ended.called else ended.callback(None)
        )
        await ended
        if late.active():
            late.cancel()

    def stopService(self) -> Deferred[None]:
        """Claim nothing more, and let running deliveries end."""
        super().stopService()
        for loop in self._loops:
            loop.stop()
        self._loops.clear()
        self._rest()
        return ensureDeferred(self._finish())

    def wake(self) -> None:
        """Look at the queue once no worker is busy, or all have been for a while: something was put there."""
        if self.running and self._woken is None:
            pause = self._begun + PAUSE_SECONDS - self.reactor.seconds() if self._running else 0.0
            self._woken = self.reactor.callLater(max(0.0, pause), self._awake)

    def _rest(self) -> None:
        if self._woken is not None:
            self._woken.cancel()
            self._woken = None

    def _awake(self) -> None:
        self._woken = None
        ensureDeferred(self._guard(self._claim))

    def _every(self, seconds: float, work: Callable[[], Awaitable[None]]) -> None:
        loop = LoopingCall(lambda: ensureDeferred(self._guard(work)))
        loop.clock = self.reactor
        loop.start(seconds).addErrback(self._broken)
        self._loops.append(loop)

    def _broken(self, failure: Failure) -> None:
        self._log.failure("the queue is no longer worked", failure)

    async def _guard(self, work: Callable[[], Awaitable[None]]) -> None:
        """Let nothing stop the loops: what failed is tried again at the next turn."""
        try:
            await work()
        except ServerUnavailable:
            return
        except Exception:
            self._log.failure("a turn of the queue failed")

    async def _claim(self) -> None:
        """Give due messages to free workers, until none is due; a worker that ends asks for more."""
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
        """Give due messages to a worker, if one is free; tell whether there may be more."""
        if len(self._running) >= self.config().performance.max_delivery_threads:
            return False
        messages = await self.local.database.change(queue.claim, BATCH)
        if messages:
            self._begin(messages)
        return len(messages) == BATCH

    def _begin(self, messages: Sequence[Queued]) -> None:
        """Start a worker; it is known by its leases, for another may still be busy with the same messages."""
        leases = tuple(message.lease for message in messages)
        ended: Deferred[None] = Deferred()
        self._running[leases] = ended
        self._begun = self.reactor.seconds()

        def end(_: object) -> None:
            del self._running[leases]
            ended.callback(None)
            self._rest()
            self.wake()

        ensureDeferred(self._work(messages)).addBoth(end)

    async def _work(self, messages: Sequence[Queued]) -> None:
        """Deliver messages, those whose mailboxes others hold a little later."""
        held = await self._try(messages)
        for seconds in HELD_SECONDS:
            if held and self.running:
                await deferLater(self.reactor, seconds * _random.uniform(0.5, 1.5))
                held = await self._try(held)
        for message in held:
            self._log.warn("message {message} waits for its mailbox", message=str(message.id))

    async def _try(self, messages: Sequence[Queued]) -> list[Queued]:
        """Deliver messages and put down what became of each; give those whose mailboxes others hold."""
        outcomes = await self._deliver(messages)
        held = []
        for message in messages:
            try:
                await self._conclude(message, outcomes[message.id])
            except Busy as busy:
                held.append(busy.message)
            except LeaseLost:
                self._log.warn("another process took over message {message}", message=str(message.id))
            except ServerUnavailable:
                self._log.warn("message {message} waits for the database", message=str(message.id))
            except Exception:
                self._log.failure("the outcome of message {message} is unknown", message=str(message.id))
        return held

    async def _deliver(self, messages: Sequence[Queued]) -> dict[UUID, Outcome]:
        ours = self.config().global_.domains
        here = [message for message in messages if message.domain in ours]
        outcomes: dict[UUID, Outcome] = {
            message.id: Unreachable("this server does not deliver to other domains yet")
            for message in messages
        }
        try:
            return outcomes | await self.local.deliver(here, self.keyring())
        except Exception as error:
            return outcomes | {message.id: error for message in here}

    async def _conclude(self, message: Queued, outcome: Outcome) -> None:
        """Put down what became of a message.

        :raises Busy: if somebody else has its mailbox.
        :raises LeaseLost: if somebody else has it.
        :raises ServerUnavailable: if that could not be put down; it is done again when the lease has ended.
        """
        match outcome:
            case Placed():
                self._log.info("message {message} delivered", message=str(message.id))
                self.delivered(outcome.workspace)
            case DeliveryError():
                await self._put_back(message, outcome)
            case Busy() | LeaseLost() | ServerUnavailable():
                raise outcome
            case _:
                self._log.failure(
                    "message {message} could not be delivered", Failure(outcome), message=str(message.id)
                )
                await self._put_back(message, OwnFault(f"internal error ({type(outcome).__name__})"))

    async def _put_back(self, message: Queued, error: DeliveryError) -> None:
        """Have a message tried again later, or give it up."""
        status = error.status
        age = datetime.now(UTC) - message.accepted
        too_old = age > timedelta(hours=self.config().federation.max_queue_age)
        if too_old and status is Status.DESTINATION_CURRENTLY_UNAVAILABLE:
            status = Status.DESTINATION_UNAVAILABLE
        self._log.warn(
            "message {message} not delivered: {code} {reason}",
            message=str(message.id),
            code=int(status),
            reason=str(error),
            sender=str(message.sender),
            domain=str(message.domain),
        )
        run, lease = self.local.database.run, message.lease
        code, reason = int(status), str(error)
        if error.final or too_old:
            await run(queue.fail, message.id, lease, code=code, reason=reason)
        else:
            wait = self._wait(message)
            await run(queue.postpone, message.id, lease, seconds=wait, code=code, reason=reason)

    def _wait(self, message: Queued) -> float:
        """Give the seconds until the next try, with a tenth of jitter."""
        waits = self.config().federation.retry_intervals
        return waits[min(message.attempts, len(waits)) - 1] * _random.uniform(0.9, 1.1)

    async def _renew(self) -> None:
        if self._running:
            leases = [lease for worker in self._running for lease in worker]
            await self.local.database.change(queue.renew, leases)

    async def _clean(self) -> None:
        """Remove what a process that died was just writing; nobody was promised anything."""
        for message in await self.local.database.run(queue.claim_abandoned):
            await self.local.crew.run(self.local.store.remove, message.path)
            await self.local.database.run(queue.withdraw, message.id, message.lease)
            self._log.info("unfinished message {message} removed", message=str(message.id))
        now = self.reactor.seconds()
        if self._swept is None or now - self._swept >= SWEEP_SECONDS:
            await self._sweep()
            self._swept = now

    async def _sweep(self) -> None:
        """Remove files below ``out`` that belong to no message: a crash took the row that was to name them.

        Nobody was promised anything: the row is on the disk before the promise is made. There are no such
        files in mailboxes: where a message will stand is on the disk, in its row, before its file moves
        there, and the row goes in the transaction that makes the file live.
        """
        crew, store = self.local.crew, self.local.store
        with closing(store.old_outgoing(SWEEP_AGE, _BATCH)) as batches:
            while self.running and (paths := await crew.run(next, batches, None)):
                for path in await self.local.database.read(queue.list_forgotten, paths):
                    await crew.run(store.remove, path)
                    self._log.info("{path} removed: it belongs to no message", path=str(path))
