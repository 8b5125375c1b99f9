"""Work that is done again and again."""

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mensagod.errors import ServerUnavailable
from mensagod.lifecycle.periodic import Periodic


class PeriodicTests(SynchronousTestCase):
    """A clock, and work that counts its runs and fails if the test says so."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.runs = 0
        self.fault: Exception | None = None
        self.gate: Deferred[None] | None = None

    async def work(self) -> None:
        self.runs += 1
        if self.gate is not None:
            await self.gate
        if self.fault is not None:
            raise self.fault

    def start(self, now: bool = True) -> Periodic:
        periodic = Periodic(self.clock, 2, self.work, "the work fails", now=now)
        periodic.startService()
        self.addCleanup(periodic.stopService)
        return periodic

    def test_repeats(self) -> None:
        """The first run is at the start, the next ones follow in time, none after the end."""
        periodic = self.start()
        self.assertEqual(self.runs, 1)
        self.clock.pump([1, 1, 2])
        self.assertEqual(self.runs, 3)
        periodic.stopService()
        self.clock.advance(10)
        self.assertEqual(self.runs, 3)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_later(self) -> None:
        """The first run can be left to the first interval."""
        self.start(now=False)
        self.assertEqual(self.runs, 0)
        self.clock.advance(2)
        self.assertEqual(self.runs, 1)

    def test_complains_once(self) -> None:
        """Failures in a row are logged once, and again after a success; none stops the repetition."""
        self.fault = RuntimeError("broken")
        self.start()
        self.clock.pump([2, 2])
        self.assertEqual(self.runs, 3)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.fault = None
        self.clock.advance(2)
        self.fault = RuntimeError("broken again")
        self.clock.pump([2, 2])
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_database_away(self) -> None:
        """That the database is away is no news here."""
        self.fault = ServerUnavailable()
        self.start()
        self.clock.advance(2)
        self.assertEqual((self.runs, self.flushLoggedErrors()), (2, []))

    def test_long_run(self) -> None:
        """While a run lasts no other begins; the end of the service does not end it."""
        self.gate = Deferred()
        periodic = self.start()
        self.clock.pump([2, 2])
        self.assertEqual(self.runs, 1)
        periodic.stopService()
        self.gate.callback(None)
        self.clock.advance(2)
        self.assertEqual(self.runs, 1)

    def test_by_hand(self) -> None:
        """A run can be asked for, and never raises."""
        periodic = Periodic(self.clock, 2, self.work, "the work fails")
        self.fault = RuntimeError("broken")
        self.assertIsNone(self.successResultOf(Deferred.fromCoroutine(periodic.run())))
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
