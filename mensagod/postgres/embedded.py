"""The embedded PostgreSQL of a running server: starting, monitoring, stopping (spec 06, *Database*)."""

from collections.abc import Callable
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure

from mensagod.postgres.binaries import EmbeddedError
from mensagod.postgres.cluster import Cluster

T = TypeVar("T")

_TICK = 0.25
_LONGEST_DELAY = 30.0


class EmbeddedPostgres:
    """Runs a cluster in the reactor's threads, and restarts its server when it dies."""

    _log = Logger()

    def __init__(self, reactor: Any, cluster: Cluster):
        self._reactor = reactor
        self._cluster = cluster
        self._is_stopped = False
        self._work: Deferred[Any] | None = None
        self._failures = 0
        self._not_before = 0.0
        self._watch = LoopingCall(self._look)
        self._watch.clock = reactor

    @property
    def connection(self) -> dict[str, Any]:
        """The connection parameters of the database for libpq; valid before the start, too."""
        return self._cluster.connection

    def start(self) -> Deferred[dict[str, Any]]:
        """Create the cluster if it does not exist, start it, and give :attr:`connection` once it answers.

        :raise EmbeddedError: if that fails; the text says why and what to do.
        """
        self._is_stopped = False
        self._cluster.resume()
        return Deferred.fromCoroutine(self._start())

    def stop(self) -> Deferred[None]:
        """Stop the server if this process owns it. Its connections are closed; committed data is kept."""
        self._is_stopped = True
        self._cluster.interrupt()
        self._end_watch()
        return Deferred.fromCoroutine(self._stop())

    def disown(self) -> None:
        """Leave the server running; the next process that uses the directory takes it over."""
        self._end_watch()
        self._cluster.disown()

    async def _start(self) -> dict[str, Any]:
        await self._in_thread(self._cluster.start)
        if self._is_stopped:
            raise EmbeddedError("The start of PostgreSQL was interrupted")
        self._watch.start(_TICK, now=False)
        return self.connection

    async def _stop(self) -> None:
        if self._work is not None:
            await self._work
        await self._in_thread(self._cluster.stop)

    def _end_watch(self) -> None:
        if self._watch.running:
            self._watch.stop()

    def _look(self) -> Deferred[None] | None:
        if self._cluster.is_alive() or self._reactor.seconds() < self._not_before:
            return None
        self._log.warn("The embedded PostgreSQL has died; restarting it", event="embedded_died")
        return self._in_thread(self._cluster.bring_up).addCallbacks(self._is_back, self._is_not_back)

    def _is_back(self, _: None) -> None:
        self._failures = 0
        self._log.info("The embedded PostgreSQL runs again", event="embedded_back")

    def _is_not_back(self, failure: Failure) -> None:
        if self._is_stopped:
            return
        self._failures += 1
        self._not_before = self._reactor.seconds() + min(_LONGEST_DELAY, 2.0**self._failures)
        self._log.failure("The embedded PostgreSQL cannot be restarted", failure, event="embedded_lost")

    def _in_thread(self, work: Callable[[], T]) -> Deferred[T]:
        """Run blocking work in a thread, one call at a time; :meth:`stop` waits for its end."""
        result: Deferred[T] = deferToThreadPool(self._reactor, self._reactor.getThreadPool(), work)
        done: Deferred[None] = Deferred()
        self._work = done

        def finish(outcome: T) -> T:
            self._work = None
            done.callback(None)
            return outcome

        return result.addBoth(finish)
