"""Bounded pools of threads, so that nothing slow runs in the reactor's."""

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
    """What threads need of the reactor."""


class WorkerPool(Service):
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
        self._turns = FairQueue(size)

    def startService(self) -> None:
        """Accept work from now on."""
        super().startService()
        self._pool.start()

    def stopService(self) -> None:
        """Cancel what waits, let what runs come to its end, then end the threads."""
        super().stopService()
        self._turns.cancel()
        if self._pool.started:
            self._pool.stop()

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run ``work`` of the server's own in a thread of the workers and give its result.

        :raises ServerUnavailable: if no thread became free in time.
        """
        return await self._run(None, partial(work, *args, **kwargs))

    async def run_for(self, client: Client, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run ``work`` that a client asked for, once it is its source's turn (:class:`FairQueue`).

        :raises ServerUnavailable: if too much waits already, or no thread became free in time.
        :raises CancelledError: if the client was gone before it began.
        """
        return await self._run(client, partial(work, *args, **kwargs))

    async def _run(self, client: Client | None, work: Callable[[], T]) -> T:
        await self._turn(client)
        try:
            return await deferToThreadPool(self._reactor, self._pool, work)
        finally:
            self._turns.end(client)

    async def _turn(self, client: Client | None) -> None:
        """Wait for a free thread, with patience."""
        turn = self._turns.wait(client)
        if turn.called:
            return await turn
        late = None
        if self._patience is not None:
            late = self._reactor.callLater(self._patience, turn.cancel)
        try:
            await turn
        except CancelledError as error:
            if late is None or late.active():
                raise
            raise ServerUnavailable from error
        finally:
            if late is not None and late.active():
                late.cancel()
