"""A lane: one route of delivery with workers of its own."""

from collections.abc import Callable, Sequence
from random import SystemRandom

from attrs import define, field
from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from mensagod.delivery.interfaces import IRoute
from mensagod.delivery.recording import Recorder
from mensagod.delivery.results import MailboxHeld, Result
from mensagod.storage.queue import Queued

HELD_SECONDS = (0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.8)
"""The waits of a worker between its tries to get mailboxes that others have locked.

After the last one it leaves their messages in the queue, where they stay due, so that it has time for others.
"""

AWAY_SECONDS = 1
"""How long a worker waits before it ends when messages stay due that it could not deal with."""

STOP_SECONDS = 10
"""How long busy workers have when the lane stops."""

_random = SystemRandom()


@define(eq=False)
class _Worker:
    """A batch of messages that is being delivered.

    :ivar destinations: of those that are not done.
    :ivar done: called when all are.
    """

    destinations: set[str]
    done: Deferred[None] = field(factory=Deferred, init=False)


class Lane(Service):
    """The workers of one route: each delivers one batch of messages, records the results, and ends.

    :param ended: called whenever a worker has ended, or has no longer something to do with some destinations.
    """

    _log = Logger(namespace="mensagod.delivery")

    def __init__(self, clock: IReactorTime, route: IRoute, recorder: Recorder, ended: Callable[[], None]):
        self.route = route
        self._clock = clock
        self._recorder = recorder
        self._ended = ended
        self._workers: list[_Worker] = []

    @property
    def workers(self) -> int:
        """The number of busy workers."""
        return len(self._workers)

    @property
    def destinations(self) -> list[str]:
        """The destinations of the messages that workers are busy with; no two workers have the same."""
        return [destination for worker in self._workers for destination in worker.destinations]

    def begin(self, messages: Sequence[Queued]) -> None:
        """Have a new worker deliver messages, for whose destinations none is busy."""
        worker = _Worker({message.destination for message in messages})
        self._workers.append(worker)

        def end(_: object) -> None:
            self._workers.remove(worker)
            worker.done.callback(None)
            self._ended()

        working = Deferred.fromCoroutine(self._work(worker, messages))
        working.addErrback(self._failed).addBoth(end)

    def stopService(self) -> Deferred[None]:
        """Let busy workers end, for a while; what they do not finish stays in the queue."""
        super().stopService()
        return Deferred.fromCoroutine(self._finish())

    async def _finish(self) -> None:
        finished: Deferred[None] = Deferred()
        late = self._clock.callLater(STOP_SECONDS, finished.callback, None)
        DeferredList([worker.done for worker in self._workers]).addCallback(
            lambda _: None if finished.called else finished.callback(None)
        )
        await finished
        if late.active():
            late.cancel()

    def _failed(self, failure: Failure) -> Deferred[None]:
        """Log what only a fault of ours can cause; the messages stay in the queue."""
        self._log.failure("a delivery worker failed", failure)
        return Deferred.fromCoroutine(self._pause())

    async def _pause(self) -> None:
        """Wait, because messages are still due: without a pause they would be tried again at once."""
        if self.running:
            await deferLater(self._clock, AWAY_SECONDS)

    async def _work(self, worker: "_Worker", messages: Sequence[Queued]) -> None:
        """Deliver messages; try those again whose mailboxes are held."""
        held = await self._try(messages)
        if held:
            worker.destinations = {message.destination for message in held}
            self._ended()
        for seconds in HELD_SECONDS:
            if held and self.running:
                await deferLater(self._clock, seconds * _random.uniform(0.5, 1.5))
                held = await self._try(held)
        for message in held:
            self._log.warn("message {message} waits for its mailbox", message=str(message.id))

    async def _try(self, messages: Sequence[Queued]) -> list[Queued]:
        """Deliver messages and record the results; give those whose mailboxes are held."""
        results = await self._deliver(messages)
        held = []
        is_done = True
        for message, result in zip(messages, results, strict=True):
            if isinstance(result, MailboxHeld):
                held.append(message)
            elif not await self._recorder.record(message, result):
                is_done = False
        if not is_done:
            await self._pause()
        return held

    async def _deliver(self, messages: Sequence[Queued]) -> list[Result]:
        """Give the results in the order of the messages."""
        try:
            results = await self.route.deliver(messages)
            return [results[message.id] for message in messages]
        except Exception as error:
            return [error] * len(messages)
