"""What the service makes of a cluster: its server is watched, and brought up again when it dies."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from mensagod.postgres.binaries import EmbeddedError
from mensagod.postgres.cluster import Cluster
from mensagod.postgres.embedded import EmbeddedPostgres


class OneThread(Clock):
    """A reactor with one thread, which works when the test lets it."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting: list[Callable[[], None]] = []

    def getThreadPool(self) -> "OneThread":
        return self

    def callInThreadWithCallback(
        self, onResult: Callable[[bool, Any], None], func: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> None:
        def work() -> None:
            try:
                result = func(*args, **kwargs)
            except Exception:
                onResult(False, Failure())
            else:
                onResult(True, result)

        self.waiting.append(work)

    def callFromThread(self, func: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        func(*args, **kwargs)

    def work(self) -> int:
        """Do what waits; tell how much that was."""
        works, self.waiting = self.waiting, []
        for work in works:
            work()
        return len(works)


class ScriptedCluster(Cluster):
    """A cluster that does what the test says.

    :ivar calls: what was asked of it.
    """

    def __init__(self) -> None:
        super().__init__(Path("/nowhere"))
        self.calls: list[str] = []
        self.lives = self.can_live = True

    def start(self) -> None:
        self.calls.append("start")
        self.bring_up()

    def is_alive(self) -> bool:
        return self.lives

    def bring_up(self) -> None:
        self.calls.append("bring up")
        if not self.can_live:
            raise EmbeddedError("It does not start")
        self.lives = True

    def stop(self) -> None:
        self.calls.append("stop")


class WatchTests(SynchronousTestCase):
    """Everything but PostgreSQL, which :mod:`tests.postgres.test_embedded` has."""

    def setUp(self) -> None:
        self.reactor = OneThread()
        self.cluster = ScriptedCluster()
        self.postgres = EmbeddedPostgres(self.reactor, self.cluster)

    def start(self) -> None:
        starting = self.postgres.start()
        self.reactor.work()
        self.assertEqual(self.successResultOf(starting), self.cluster.connection)
        self.cluster.calls.clear()

    def test_alive(self) -> None:
        """A server that lives is left alone."""
        self.start()
        self.reactor.pump([1.0] * 10)
        self.assertEqual(self.reactor.work(), 0)

    def test_back(self) -> None:
        """One that died is brought up within half a second, and watched again after."""
        self.start()
        for _ in range(2):
            self.cluster.lives = False
            self.reactor.advance(0.5)
            self.reactor.work()
            self.assertEqual(self.cluster.calls, ["bring up"])
            self.cluster.calls.clear()
            self.assertTrue(self.cluster.lives)

    def test_does_not_come_back(self) -> None:
        """One that does not start is tried again after longer and longer, at most half a minute."""
        self.start()
        self.cluster.lives = self.cluster.can_live = False
        tries = []
        for _ in range(400):
            self.reactor.advance(0.5)
            if self.reactor.work():
                tries.append(self.reactor.seconds())
        self.assertEqual(len(self.flushLoggedErrors(EmbeddedError)), len(tries))
        waits = [later - earlier for earlier, later in pairwise(tries)]
        self.assertEqual(waits[:4], [2, 4, 8, 16])
        self.assertEqual(set(waits[4:]), {30})
        self.cluster.can_live = True
        self.reactor.advance(30)
        self.reactor.work()
        self.assertTrue(self.cluster.lives)

    def test_stopped_while_down(self) -> None:
        """Who stops while it is brought up waits for that to end, and nothing is logged or tried after."""
        self.start()
        self.cluster.lives = self.cluster.can_live = False
        self.reactor.advance(0.5)
        stopping = self.postgres.stop()
        self.assertTrue(self.cluster._interrupted.is_set())
        self.assertNoResult(stopping)
        self.reactor.work()
        self.reactor.work()
        self.successResultOf(stopping)
        self.assertEqual(self.cluster.calls, ["bring up", "stop"])
        self.reactor.pump([10.0] * 10)
        self.assertEqual(self.reactor.work(), 0)

    def test_stopped_while_starting(self) -> None:
        """A start that is stopped at its very end fails, and leaves no watch behind."""
        starting: Deferred[Any] = self.postgres.start()
        stopping = self.postgres.stop()
        self.reactor.work()
        self.failureResultOf(starting, EmbeddedError)
        self.reactor.work()
        self.successResultOf(stopping)
        self.cluster.lives = False
        self.reactor.advance(10)
        self.assertEqual(self.reactor.work(), 0)

    def test_disowned(self) -> None:
        """A server that was given up is watched no longer."""
        self.start()
        self.postgres.disown()
        self.cluster.lives = False
        self.reactor.advance(10)
        self.assertEqual(self.reactor.work(), 0)
