"""Bounded pools of threads, so that nothing slow runs in the reactor's."""

from collections.abc import Callable
from typing import ParamSpec, TypeVar

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, DeferredSemaphore
from twisted.internet.interfaces import IReactorFromThreads, IReactorTime
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

from mensagod.errors import ServerUnavailable

P = ParamSpec("P")
T = TypeVar("T")


class IReactor(IReactorTime, IReactorFromThreads):
    """What threads need of the reactor."""


class Crew(Service):
    """Some threads for one kind of work.

    :param size: how many pieces of work run at once.
    :param patience: how many seconds work may wait for a free thread before it is refused; ``None`` for
        as long as it takes.
    """

    def __init__(self, reactor: IReactor, name: str, size: int, patience: float | None = None):
        self.name = name
        self._reactor = reactor
        self._patience = patience
        self._pool = ThreadPool(0, size, name=name)
        self._places = DeferredSemaphore(size)

    def startService(self) -> None:
        """Accept work from now on."""
        super().startService()
        self._pool.start()

    def stopService(self) -> None:
        """Wait for the work that runs, then end the threads."""
        super().stopService()
        if self._pool.started:
            self._pool.stop()

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run ``work`` in a thread of the crew and give its result.

        :raises ServerUnavailable: if no thread became free in time.
        """
        await self._place()
        try:
            return await deferToThreadPool(self._reactor, self._pool, work, *args, **kwargs)
        finally:
            self._places.release()

    async def _place(self) -> None:
        """Wait for a free thread, with patience."""
        place = self._places.acquire()
        if place.called:
            return
        late = None
        if self._patience is not None:
            late = self._reactor.callLater(self._patience, place.cancel)
        try:
            await place
        except CancelledError as error:
            if late is None or late.active():
                raise
            raise ServerUnavailable from error
        finally:
            if late is not None and late.active():
                late.cancel()
