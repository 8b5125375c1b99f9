"""The clock of the reactor's timers."""

import time

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mensagod.lifecycle.timers import follow_steady_clock


class WallClock(Clock):
    """A reactor's time as Twisted keeps it: that of the machine, which can be set."""

    def __init__(self) -> None:
        super().__init__()
        self.rightNow = time.time()


class TimersTests(SynchronousTestCase):
    def test_steady(self) -> None:
        """From then on the reactor's seconds are those of a clock that nobody can set."""
        clock = WallClock()
        follow_steady_clock(clock)
        before = time.monotonic()
        self.assertTrue(before <= clock.seconds() <= time.monotonic())

    def test_running_timers(self) -> None:
        """A timer that runs keeps its seconds, put off or not; a second call changes nothing."""
        clock = WallClock()
        call = clock.callLater(100, lambda: None)
        call.delay(20)
        for _ in range(2):
            follow_steady_clock(clock)
            self.assertTrue(118 < call.getTime() - time.monotonic() <= 120)
        call.reset(5)
        self.assertTrue(4 < call.getTime() - time.monotonic() <= 5)
