"""The parts of the server: started in order, stopped in the opposite one."""

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
        """Start; the parts that follow need what this promises, and wait for it."""

    def stop(self) -> Awaitable[object]:
        """Stop, also where the start was interrupted or has failed."""


@frozen
class ServicePart:
    """A service of Twisted's as a part."""

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
    """Work that is done once, on the way; there is nothing to stop."""

    work: Callable[[], Awaitable[object]]

    async def start(self) -> None:
        """Do it."""
        await self.work()

    async def stop(self) -> None:
        """Do nothing."""


@define(eq=False)
class Parts:
    """All parts, in the order in which they start."""

    parts: Sequence[Part]
    _begun: list[Part] = field(factory=list, init=False)

    async def start(self) -> None:
        """Start one after the other.

        What one of them raises ends it; those that have begun then are stopped by :meth:`stop`.
        """
        for part in self.parts:
            self._begun.append(part)
            await part.start()

    async def stop(self) -> None:
        """Stop those that had begun, the last one first."""
        begun, self._begun = self._begun, []
        await stop_each(part.stop for part in reversed(begun))


async def stop_each(stops: Iterable[Callable[[], object]]) -> None:
    """Stop one after the other, whatever becomes of those before.

    A thread that stays would keep the process from ending.
    """
    for stop in stops:
        try:
            await maybeDeferred(stop)
        except Exception:
            _log.failure("a part of the server did not stop in good order")
