"""Commits that hang, told from statements that take long, in a time that the test makes."""

import psycopg2
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mensagod.storage.attempts import CommitUnknown, DatabaseUnavailable
from mensagod.storage.availability import Availability, Writes
from mensagod.storage.commit_watch import PATIENCE, SUSPICIOUS, CommitWatch


class Trial:
    """A write that is under way until the test ends it."""

    def __init__(self) -> None:
        self.ending: Deferred[None] = Deferred()

    def abandon(self) -> CommitUnknown:
        reason = CommitUnknown()
        self.ending.errback(reason)
        return reason


class CommitWatchTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.availability = Availability(self.clock)
        self.trials: list[Trial] = []
        self.given_up = 0
        self.watch = CommitWatch(self.clock, self.availability, self.begin, self.give_up)

    def begin(self) -> tuple[Trial, Deferred[None]]:
        trial = Trial()
        self.trials.append(trial)
        return trial, trial.ending

    def give_up(self) -> None:
        self.given_up += 1

    def look(self, seconds: float, slowest: float = 0.0) -> Writes:
        self.clock.advance(seconds)
        self.watch.look(slowest)
        return self.availability.writes

    def hang(self) -> None:
        """Have commits hang."""
        self.look(0, SUSPICIOUS)
        self.assertEqual(self.look(PATIENCE), Writes.HANGING)

    def test_no_suspicion(self) -> None:
        """Nothing is written while nothing takes long."""
        self.look(1, SUSPICIOUS - 0.1)
        self.assertEqual(self.trials, [])

    def test_slow(self) -> None:
        """As long as our own write ends in time, what takes long is only slow."""
        for _ in range(3):
            self.assertEqual(self.look(1, 60), Writes.DONE)
            self.trials[-1].ending.callback(None)
        self.assertEqual((len(self.trials), self.given_up), (3, 0))

    def test_hanging(self) -> None:
        """Once it does not, commits hang: known after five seconds in all, and acted on once."""
        self.assertEqual(SUSPICIOUS + PATIENCE, 5)
        self.look(0, SUSPICIOUS)
        self.assertEqual(self.look(PATIENCE - 0.1, 5), Writes.DONE)
        self.assertEqual(self.look(0.1, 5), Writes.HANGING)
        self.assertEqual(self.look(60), Writes.HANGING)
        self.assertEqual((len(self.trials), self.given_up), (1, 1))

    def test_over(self) -> None:
        """They are over when a write ends in time, and not when the one that hung ends at last."""
        self.hang()
        self.trials[0].ending.callback(None)
        self.assertEqual(self.look(1), Writes.HANGING)
        self.trials[1].ending.callback(None)
        self.assertEqual(self.look(1), Writes.DONE)
        self.assertEqual(len(self.trials), 2)

    def test_lost(self) -> None:
        """A write whose connection is lost says nothing, and the next one follows."""
        self.hang()
        self.trials[0].ending.errback(DatabaseUnavailable())
        self.assertEqual(self.look(1), Writes.HANGING)
        self.assertEqual(len(self.trials), 2)

    def test_refused(self) -> None:
        """One that is refused for a reason of its own is logged, and keeps nobody from writing."""
        self.hang()
        self.trials[0].ending.errback(DatabaseUnavailable())
        self.look(1)
        self.trials[1].ending.errback(psycopg2.ProgrammingError("no such table"))
        self.assertEqual(self.look(1), Writes.DONE)
        self.assertEqual(len(self.flushLoggedErrors(psycopg2.ProgrammingError)), 1)

    def test_read_only(self) -> None:
        """A database that has come to only read stays so, whatever becomes of the write."""
        self.hang()
        self.availability.note_writes(Writes.REFUSED)
        self.trials[0].ending.callback(None)
        self.assertEqual(self.look(1), Writes.REFUSED)

    def test_stop(self) -> None:
        """At the end a write that is under way is given up."""
        self.watch.stop()
        self.hang()
        self.watch.stop()
        self.assertTrue(self.trials[0].ending.called)
