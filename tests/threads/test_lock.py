"""A lock for coroutines."""

from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from mensagod.threads.lock import Lock


class LockTests(SynchronousTestCase):
    """Who holds it when."""

    def setUp(self) -> None:
        self.lock = Lock()
        self.seen: list[int] = []

    async def hold(self, number: int, until: Deferred[None] | None = None) -> None:
        async with self.lock:
            self.seen.append(number)
            if until is not None:
                await until

    def ask(self, number: int, until: Deferred[None] | None = None) -> Deferred[None]:
        return Deferred.fromCoroutine(self.hold(number, until))

    def test_order(self) -> None:
        """One at a time, in the order in which they ask."""
        gates: list[Deferred[None]] = [Deferred() for _ in range(3)]
        asked = [self.ask(number, gate) for number, gate in enumerate(gates)]
        for number, gate in enumerate(gates):
            self.assertEqual(self.seen, list(range(number + 1)))
            gate.callback(None)
            self.successResultOf(asked[number])

    def test_many(self) -> None:
        """Thousands can wait who have nothing to do when they hold it."""
        gate: Deferred[None] = Deferred()
        asked = [self.ask(0, gate), *(self.ask(number) for number in range(1, 5000))]
        gate.callback(None)
        self.assertEqual(self.seen, list(range(5000)))
        for each in asked:
            self.successResultOf(each)

    def test_fault(self) -> None:
        """An exception gives it to the next one."""
        gate: Deferred[None] = Deferred()
        first, second = self.ask(0, gate), self.ask(1)
        gate.errback(LookupError())
        self.failureResultOf(first, LookupError)
        self.successResultOf(second)

    def test_cancelled(self) -> None:
        """Who does not wait any more is left out."""
        gate: Deferred[None] = Deferred()
        first, second, third = self.ask(0, gate), self.ask(1), self.ask(2)
        second.cancel()
        self.failureResultOf(second, CancelledError)
        gate.callback(None)
        self.successResultOf(first)
        self.successResultOf(third)
        self.assertEqual(self.seen, [0, 2])
