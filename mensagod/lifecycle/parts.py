"""The parts of the server: started in order, stopped in reverse order."""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Protocol

from attrs import define, field, frozen
from twisted.application.service import Service
from twisted.internet.defer import maybeDeferred
from twisted.logger import Logger

_log = Logger(namespace="mensagod.lifecycle")


class Part(Protocol):
    """One part of the server."""

    def start(self) -> Awaitable[object]:
        """Start the part; the next part starts only once this has finished."""

    def stop(self) -> Awaitable[object]:
        """Stop the part, also if its start was interrupted or has failed."""


@frozen
class ServicePart:
    """A Twisted service as a part."""

    service: Service

    async def start(self) -> None:
        """Start the service."""
        self.service.startService()

    async def stop(self) -> None:
        """Stop the service and wait for its end, unless its start has failed."""
        if self.service.running:
            await maybeDeferred(self.service.stopService)


@frozen
class Preparation:
    """Work that is done once during the start, such as a schema migration; it has nothing to stop."""

    work: Callable[[], Awaitable[object]]

    async def start(self) -> None:
        """Do the work."""
        await self.work()

    async def stop(self) -> None:
        """Do nothing."""


@define(eq=False)
class Parts:
    """All parts, in the order in which they start."""

    parts: Sequence[Part]
    _begun: list[Part] = field(factory=list, init=False)

    async def start(self) -> None:
        """Start the parts one after the other.

        If a part raises, the following ones are not started; :meth:`stop` stops those whose start has begun.
        """
        for part in self.parts:
            self._begun.append(part)
            await part.start()

    async def stop(self) -> None:
        """Stop the parts whose start has begun, the last one first."""
        begun, self._begun = self._begun, []
        await stop_each(part.stop for part in reversed(begun))


async def stop_each(stops: Iterable[Callable[[], object]]) -> None:
    """Call each of ``stops`` in order; one that raises is logged, and the next is called all the same.

    A thread pool that was not stopped would keep the process from ending.
    """
    for stop in stops:
        try:
            await maybeDeferred(stop)
        except Exception:
            _log.failure("a part of the server could not be stopped cleanly")
