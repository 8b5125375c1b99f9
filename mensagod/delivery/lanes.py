"""A lane: one route of delivery with workers of its own."""

from collections.abc import Callable, Sequence
from random import SystemRandom
from uuid import UUID

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

After the last one it leaves their messages to whoever claims them when their leases have ended, so that it
has time for others. There are several tries because processes that deliver much to the same mailboxes meet
often.
"""

STOP_SECONDS = 10
"""How long busy workers have when the lane stops."""

_random = SystemRandom()


class Lane(Service):
    """The workers of one route: each delivers one batch of claimed messages, records the results, and ends.

    :param ended: called whenever a worker has ended.
    """

    _log = Logger(namespace="mensagod.delivery")

    def __init__(self, clock: IReactorTime, route: IRoute, recorder: Recorder, ended: Callable[[], None]):
        self.route = route
        self._clock = clock
        self._recorder = recorder
        self._ended = ended
        # A worker is known by its leases: another may have claimed the same messages since.
        self._workers: dict[tuple[UUID, ...], Deferred[None]] = {}

    @property
    def workers(self) -> int:
        """The number of busy workers."""
        return len(self._workers)

    @property
    def leases(self) -> list[UUID]:
        """The leases of the messages that workers are busy with."""
        return [lease for leases in self._workers for lease in leases]

    def begin(self, messages: Sequence[Queued]) -> None:
        """Have a new worker deliver claimed messages."""
        leases = tuple(message.lease for message in messages)
        done: Deferred[None] = Deferred()
        self._workers[leases] = done

        def end(_: object) -> None:
            del self._workers[leases]
            done.callback(None)
            self._ended()

        Deferred.fromCoroutine(self._work(messages)).addErrback(self._failed).addBoth(end)

    def stopService(self) -> Deferred[None]:
        """Let busy workers end, for a while; what they do not finish is claimed again when its lease ends."""
        super().stopService()
        return Deferred.fromCoroutine(self._finish())

    async def _finish(self) -> None:
        finished: Deferred[None] = Deferred()
        late = self._clock.callLater(STOP_SECONDS, finished.callback, None)
        DeferredList(list(self._workers.values())).addCallback(
            lambda _: None if finished.called else finished.callback(None)
        )
        await finished
        if late.active():
            late.cancel()

    def _failed(self, failure: Failure) -> None:
        """Log what only a fault of ours can cause; the messages are claimed again when their leases end."""
        self._log.failure("a delivery worker failed", failure)

    async def _work(self, messages: Sequence[Queued]) -> None:
        """Deliver messages; try those again whose mailboxes are held."""
        held = await self._try(messages)
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
        for message, result in zip(messages, results, strict=True):
            if isinstance(result, MailboxHeld):
                held.append(result.message)
            else:
                await self._recorder.record(message, result)
        return held

    async def _deliver(self, messages: Sequence[Queued]) -> list[Result]:
        """Give the results in the order of the messages."""
        try:
            results = await self.route.deliver(messages)
            return [results[message.id] for message in messages]
        except Exception as error:
            return [error] * len(messages)
