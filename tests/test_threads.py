"""Bounded pools of threads."""

import threading

from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred, ensureDeferred, gatherResults
from twisted.internet.interfaces import IReactorTime
from twisted.trial.unittest import TestCase

from mensagod.errors import ServerUnavailable
from mensagod.threads import Crew


class CrewTests(TestCase):
    """Work in threads."""

    timeout = 30

    def crew(self, size: int, patience: float | None = None) -> Crew:
        crew = Crew(reactor, "test", size, patience)  # type: ignore[arg-type]
        crew.startService()
        self.addCleanup(crew.stopService)
        return crew

    async def test_result(self) -> None:
        """The result of the work, which ran elsewhere."""
        ident = await self.crew(1).run(threading.get_ident)
        self.assertNotEqual(ident, threading.get_ident())

    async def test_error(self) -> None:
        """Its error, and the thread is free again."""
        crew = self.crew(1)
        for _ in range(3):
            with self.assertRaises(ZeroDivisionError):
                await crew.run(divmod, 1, 0)
        self.assertEqual(await crew.run(divmod, 7, 2), (3, 1))

    async def test_bounded(self) -> None:
        """Never more at once than there are threads."""
        lock = threading.Lock()
        running: list[int] = [0, 0]

        def work() -> None:
            with lock:
                running[0] += 1
                running[1] = max(running)
            threading.Event().wait(0.005)
            with lock:
                running[0] -= 1

        crew = self.crew(3)
        await gatherResults([ensureDeferred(crew.run(work)) for _ in range(30)])
        self.assertEqual(running[0], 0)
        self.assertLessEqual(running[1], 3)

    async def test_patience(self) -> None:
        """Work that gets no thread in time is refused; what comes later is not."""
        crew = self.crew(1, 0.05)
        go = threading.Event()
        self.addCleanup(go.set)
        first = ensureDeferred(crew.run(go.wait))
        with self.assertRaises(ServerUnavailable):
            await crew.run(int)
        second: Deferred[int] = ensureDeferred(crew.run(int, "7"))
        go.set()
        await first
        self.assertEqual(await second, 7)
        self.assertEqual(IReactorTime(reactor).getDelayedCalls()[1:], [])

    async def test_cancelled(self) -> None:
        """Who gives up waiting is not told that the server is busy, and takes no thread."""
        for patience in (None, 100):
            crew = self.crew(1, patience)
            go = threading.Event()
            self.addCleanup(go.set)
            first = ensureDeferred(crew.run(go.wait))
            second: Deferred[int] = ensureDeferred(crew.run(int, "7"))
            second.cancel()
            with self.assertRaises(CancelledError):
                await second
            go.set()
            await first
            self.assertEqual(await crew.run(int, "8"), 8)

    def test_never_started(self) -> None:
        """A crew that never began can stop."""
        crew = Crew(reactor, "test", 1)  # type: ignore[arg-type]
        crew.stopService()
        self.assertFalse(crew.running)
