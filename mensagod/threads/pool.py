"""Bounded thread pools: blocking work runs here, never in the reactor thread."""

from collections.abc import Callable
from functools import partial
from typing import ParamSpec, TypeVar

from twisted.application.service import Service
from twisted.internet.defer import CancelledError
from twisted.internet.interfaces import IReactorFromThreads, IReactorTime
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

from mensagod.errors import ServerUnavailable
from mensagod.threads.fair_queue import Client, FairQueue

P = ParamSpec("P")
T = TypeVar("T")


class IReactor(IReactorTime, IReactorFromThreads):
    """What a worker pool needs of the reactor: delayed calls, and calls from threads."""


class WorkerPool(Service):
    """A bounded number of threads for one kind of work, each a slot of a :class:`FairQueue`.

    :param size: how many threads run at once.
    :param timeout: how many seconds work may wait for a free thread before it is refused; ``None`` means
        without limit.
    """

    def __init__(self, reactor: IReactor, name: str, size: int, timeout: float | None = None):
        self.name = name
        self._reactor = reactor
        self._timeout = timeout
        self._pool = ThreadPool(0, size, name=name)
        self._queue = FairQueue(size)

    def startService(self) -> None:
        """Accept work from now on."""
        super().startService()
        self._pool.start()

    def stopService(self) -> None:
        """Cancel waiting work, wait for running work to finish, then end the threads."""
        super().stopService()
        self._queue.cancel_all()
        if self._pool.started:
            self._pool.stop()

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run ``work`` of the server itself in a thread and give its result.

        :raises ServerUnavailable: if no thread became free in time.
        """
        return await self._run(None, partial(work, *args, **kwargs))

    async def run_for(self, client: Client, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run ``work`` for a client in a thread, once the fair queue grants it a slot; give its result.

        :raises ServerUnavailable: if too many clients wait already, or no thread became free in time.
        :raises CancelledError: if the client was gone before the work began.
        """
        return await self._run(client, partial(work, *args, **kwargs))

    async def _run(self, client: Client | None, work: Callable[[], T]) -> T:
        await self._acquire(client)
        try:
            return await deferToThreadPool(self._reactor, self._pool, work)
        finally:
            self._queue.release(client)

    async def _acquire(self, client: Client | None) -> None:
        """Wait for a free thread, at most as long as the timeout allows."""
        granted = self._queue.acquire(client)
        if granted.called:
            return await granted
        timeout = None
        if self._timeout is not None:
            timeout = self._reactor.callLater(self._timeout, granted.cancel)
        try:
            await granted
        except CancelledError as error:
            if timeout is None or timeout.active():
                raise
            raise ServerUnavailable from error
        finally:
            if timeout is not None and timeout.active():
                timeout.cancel()
