"""Signals (spec 06, ``run``)."""

import signal
from collections.abc import Callable
from typing import cast

from twisted.internet.interfaces import IReactorFromThreads
from twisted.trial.unittest import SynchronousTestCase

from mensagod.process.signals import obey


class Queue:
    """A reactor that notes what it is to do."""

    def __init__(self) -> None:
        self.work: list[Callable[[], None]] = []

    def callFromThread(self, work: Callable[[], None]) -> None:
        self.work.append(work)


class ObeyTests(SynchronousTestCase):
    def test_signals(self) -> None:
        """Each signal has its work done in the reactor, as often as it comes, and not before."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            self.addCleanup(signal.signal, number, signal.getsignal(number))
        queue, done = Queue(), list[str]()
        obey(cast(IReactorFromThreads, queue), lambda: done.append("end"), lambda: done.append("hang up"))
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGHUP):
            signal.raise_signal(number)
        self.assertEqual(done, [])
        for work in queue.work:
            work()
        self.assertEqual(done, ["end", "hang up", "end", "hang up"])
