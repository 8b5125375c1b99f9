"""Bounded pools of threads."""

import threading
from typing import Any

from attrs import define
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred, ensureDeferred, gatherResults
from twisted.internet.interfaces import IReactorFromThreads
from twisted.internet.task import Clock
from twisted.trial.unittest import TestCase

from mensagod.errors import ServerUnavailable
from mensagod.threads.pool import WorkerPool


@define(eq=False)
class Visitor:
    """A client."""

    source: str = "a"
    gone: bool = False


class ClockReactor(Clock):
    """Time passes when a test says so; threads are those of the reactor."""

    def callFromThread(self, work: Any, *args: Any, **kwargs: Any) -> None:
        IReactorFromThreads(reactor).callFromThread(work, *args, **kwargs)


class CrewTests(TestCase):
    """Work in threads."""

    timeout = 120

    def workers(self, size: int, timeout: float | None = None, clock: Clock | None = None) -> WorkerPool:
        workers = WorkerPool(clock or reactor, "test", size, timeout)  # type: ignore[arg-type]
        workers.startService()
        self.addCleanup(workers.stopService)
        return workers

    async def test_result(self) -> None:
        """The result of the work, which ran elsewhere."""
        ident = await self.workers(1).run(threading.get_ident)
        self.assertNotEqual(ident, threading.get_ident())

    async def test_error(self) -> None:
        """Its error, and the thread is free again."""
        workers = self.workers(1)
        for _ in range(3):
            with self.assertRaises(ZeroDivisionError):
                await workers.run(divmod, 1, 0)
        self.assertEqual(await workers.run(divmod, 7, 2), (3, 1))

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

        workers = self.workers(3)
        await gatherResults([ensureDeferred(workers.run(work)) for _ in range(30)])
        self.assertEqual(running[0], 0)
        self.assertLessEqual(running[1], 3)

    async def test_timeout(self) -> None:
        """Work that gets no thread in time is refused; what comes later is not."""
        clock = ClockReactor()
        workers = self.workers(1, 10, clock)
        go = threading.Event()
        self.addCleanup(go.set)
        first = ensureDeferred(workers.run(go.wait))
        late: Deferred[int] = ensureDeferred(workers.run(int))
        clock.advance(9.9)
        second: Deferred[int] = ensureDeferred(workers.run(int, "7"))
        self.assertNoResult(late)
        clock.advance(0.1)
        self.failureResultOf(late, ServerUnavailable)
        go.set()
        await first
        self.assertEqual(await second, 7)
        self.assertEqual(clock.getDelayedCalls(), [])

    async def test_cancelled(self) -> None:
        """Who gives up waiting is not told that the server is busy, and takes no thread."""
        for timeout in (None, 100):
            workers = self.workers(1, timeout)
            go = threading.Event()
            self.addCleanup(go.set)
            first = ensureDeferred(workers.run(go.wait))
            second: Deferred[int] = ensureDeferred(workers.run(int, "7"))
            second.cancel()
            with self.assertRaises(CancelledError):
                await second
            go.set()
            await first
            self.assertEqual(await workers.run(int, "8"), 8)

    def test_never_started(self) -> None:
        """A workers that never began can stop."""
        workers = WorkerPool(reactor, "test", 1)  # type: ignore[arg-type]
        workers.stopService()
        self.assertFalse(workers.running)


class ClientTests(TestCase):
    """Work for clients in one thread, which the first of them holds until the test lets go."""

    timeout = 120

    def setUp(self) -> None:
        """The thread is taken."""
        self.clock = ClockReactor()
        self.workers = WorkerPool(self.clock, "test", 1, 10)  # type: ignore[arg-type]
        self.workers.startService()
        self.addCleanup(self.workers.stopService)
        self.done: list[str] = []
        self.go = threading.Event()
        self.addCleanup(self.go.set)
        self.first: Deferred[bool] = ensureDeferred(self.workers.run_for(Visitor(), self.go.wait))

    def ask(self, client: Visitor, name: str = "work") -> Deferred[None]:
        """Ask for work that notes its name."""
        return ensureDeferred(self.workers.run_for(client, self.done.append, name))

    async def test_fair(self) -> None:
        """A source that asks for much does not delay another by more than what runs already."""
        own = [self.ask(Visitor("a"), f"a{number}") for number in range(16)]
        other = self.ask(Visitor("b"), "b")
        self.go.set()
        await other
        await gatherResults(own)
        self.assertEqual(self.done, ["b", *(f"a{number}" for number in range(16))])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    async def test_too_much(self) -> None:
        """What no longer fits into the line of its source is refused at once."""
        waiting = [self.ask(Visitor()) for _ in range(16)]
        self.failureResultOf(self.ask(Visitor()), ServerUnavailable)
        self.go.set()
        await gatherResults(waiting)
        self.assertEqual(len(self.done), 16)

    async def test_too_much_in_all(self) -> None:
        """There is an end to the lines too."""
        waiting = [self.ask(Visitor(str(number))) for number in range(1024)]
        self.failureResultOf(self.ask(Visitor("b")), ServerUnavailable)
        self.clock.advance(10)
        for late in waiting:
            self.failureResultOf(late, ServerUnavailable)
        last = self.ask(Visitor("b"))
        self.go.set()
        await last
        self.assertEqual(self.done, ["work"])

    async def test_timeout(self) -> None:
        """Each waits its ten seconds, wherever it stands; work that runs may take longer."""
        early = self.ask(Visitor("a"))
        self.clock.advance(6)
        late = self.ask(Visitor("b"))
        self.clock.advance(4)
        self.failureResultOf(early, ServerUnavailable)
        self.clock.advance(5.9)
        self.assertNoResult(late)
        self.go.set()
        await late
        self.assertTrue(await self.first)
        self.assertEqual(self.done, ["work"])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    async def test_gone(self) -> None:
        """Work whose client goes while it waits is not done, nor is anybody told that it is too much."""
        client = Visitor()
        waiting = [self.ask(client) for _ in range(5)]
        client.gone = True
        last = self.ask(Visitor(), "last")
        self.go.set()
        await last
        for given_up in waiting:
            self.failureResultOf(given_up, CancelledError)
        self.assertEqual(self.done, ["last"])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    async def test_gone_while_it_runs(self) -> None:
        """Work that runs is done to its end, whoever goes."""
        client = Visitor("b")

        def work() -> bool:
            client.gone = True
            return True

        second = ensureDeferred(self.workers.run_for(client, work))
        self.go.set()
        self.assertTrue(await second)

    async def test_cancelled(self) -> None:
        """Who gives up waiting takes neither a thread nor a place in the line."""
        waiting = [self.ask(Visitor()) for _ in range(16)]
        waiting[3].cancel()
        self.failureResultOf(waiting.pop(3), CancelledError)
        waiting.append(self.ask(Visitor()))
        self.go.set()
        await gatherResults(waiting)
        self.assertEqual(len(self.done), 16)

    async def test_stopped(self) -> None:
        """A workers that stops ends what runs and cancels what waits."""
        waiting = [self.ask(Visitor()), self.ask(Visitor("b"))]
        self.go.set()
        self.workers.stopService()
        for cancelled in waiting:
            self.failureResultOf(cancelled, CancelledError)
        self.assertTrue(await self.first)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    async def test_error(self) -> None:
        """Work that fails makes room as any other."""
        failing = [ensureDeferred(self.workers.run_for(Visitor(), divmod, 1, 0)) for _ in range(4)]
        last = self.ask(Visitor())
        self.go.set()
        for broken in failing:
            await self.assertFailure(broken, ZeroDivisionError)
        await last
        self.assertEqual(self.done, ["work"])
