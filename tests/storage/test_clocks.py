"""What clocks have to agree on before something is done that cannot be undone (spec 06, *Clocks lie*)."""

from datetime import UTC, datetime, timedelta

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from mensagod.storage.clocks import (
    CONFIRM_SECONDS,
    LOOK_SECONDS,
    MEMORY_SECONDS,
    TOLERANCE,
    TRUST_SECONDS,
    ClockAgreement,
    ClockWatch,
    read_clock,
)
from tests.databases import DatabaseTestCase
from tests.waiting import until

NOW = datetime(2026, 11, 28, tzinfo=UTC)
YEARS = timedelta(days=3652)


class ClocksTestCase(SynchronousTestCase):
    """Three clocks: one that nobody can set, and two that the test sets.

    :ivar machine: how far the machine's clock is ahead; ``database`` is the same for that of the database.
    """

    def setUp(self) -> None:
        self.steady = Clock()
        self.machine = self.database = timedelta()
        self.clocks = ClockAgreement(self.steady.seconds, lambda: self.true + self.machine, most=3)

    @property
    def true(self) -> datetime:
        return NOW + timedelta(seconds=self.steady.seconds())

    def note(self) -> bool:
        return self.clocks.note(self.true + self.database)

    def wait(self, seconds: float) -> None:
        """Let time pass, in which the clocks are compared again and again."""
        while seconds > 0:
            self.steady.advance(min(seconds, LOOK_SECONDS))
            seconds -= LOOK_SECONDS
            self.note()


class ConfirmationTests(ClocksTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.note()

    def test_second_look(self) -> None:
        """A thing has to be found due ten minutes later again; that is told once."""
        self.assertFalse(self.clocks.confirmed("a"))
        self.wait(CONFIRM_SECONDS - 1)
        self.assertFalse(self.clocks.confirmed("a"))
        self.wait(1)
        self.assertFalse(self.clocks.confirmed("b"))
        self.assertTrue(self.clocks.confirmed("a"))
        self.assertFalse(self.clocks.confirmed("a"))
        self.assertEqual(CONFIRM_SECONDS, 600)

    def test_not_due_meanwhile(self) -> None:
        """What was not due when it was looked at has to be found due twice from then on."""
        self.clocks.confirmed("a")
        self.wait(CONFIRM_SECONDS)
        self.assertFalse(self.clocks.confirmed("a", due=False))
        self.assertFalse(self.clocks.confirmed("a"))
        self.wait(CONFIRM_SECONDS)
        self.assertTrue(self.clocks.confirmed("a"))

    def test_several(self) -> None:
        """Of several things those are given that were due before."""
        self.assertEqual(self.clocks.confirmed_of(["a", "b"], self.true), [])
        self.wait(CONFIRM_SECONDS)
        self.assertEqual(self.clocks.confirmed_of(["c", "b"], self.true), ["b"])

    def test_disagreement(self) -> None:
        """While one clock is wrong nothing is confirmed, and what was due before that does not count."""
        for clock in ("machine", "database"):
            for error in (YEARS, -YEARS, TOLERANCE * 1.1):
                self.clocks.confirmed("a")
                setattr(self, clock, error)
                self.wait(CONFIRM_SECONDS)
                self.assertFalse(self.clocks.confirmed("a"))
                setattr(self, clock, timedelta())
                self.note()
                self.assertFalse(self.clocks.confirmed("a"))
                self.wait(CONFIRM_SECONDS)
                self.assertTrue(self.clocks.confirmed("a"))

    def test_disagreement_in_between(self) -> None:
        """Nor does it if they disagreed only in between, and nobody asked."""
        self.clocks.confirmed("a")
        self.wait(CONFIRM_SECONDS / 2)
        self.database = YEARS
        self.wait(LOOK_SECONDS)
        self.database = timedelta()
        self.wait(CONFIRM_SECONDS / 2)
        self.assertFalse(self.clocks.confirmed("a"))

    def test_told_by_the_asker(self) -> None:
        """The time that somebody read together with what is due counts as a comparison."""
        self.clocks.confirmed("a")
        self.wait(CONFIRM_SECONDS)
        self.assertFalse(self.clocks.confirmed("a", database_now=self.true + YEARS))
        self.assertFalse(self.clocks.confirmed("a", database_now=self.true))

    def test_both_set(self) -> None:
        """Where both clocks are one, and that is set, what was due before does not count."""
        self.clocks.confirmed("a")
        self.wait(CONFIRM_SECONDS)
        self.machine = self.database = YEARS
        self.assertTrue(self.note())
        self.assertFalse(self.clocks.confirmed("a"))
        self.wait(CONFIRM_SECONDS)
        self.assertTrue(self.clocks.confirmed("a"))

    def test_machine_set_a_moment_ago(self) -> None:
        """So it is before the next comparison, which would say the same."""
        self.clocks.confirmed("a")
        self.wait(CONFIRM_SECONDS)
        self.machine = YEARS
        self.assertFalse(self.clocks.confirmed("a"))
        self.assertIsNone(self.clocks.now)
        self.machine = timedelta()
        self.assertFalse(self.clocks.confirmed("a"))

    def test_both_set_while_the_database_was_away(self) -> None:
        """That the clocks were set is noticed however long nobody looked."""
        self.clocks.confirmed("a")
        self.steady.advance(10 * TRUST_SECONDS)
        self.machine = self.database = YEARS
        self.note()
        self.assertFalse(self.clocks.confirmed("a"))

    def test_old_reading(self) -> None:
        """A reading counts for three minutes; then nothing is confirmed until there is another one."""
        self.clocks.confirmed("a")
        self.wait(CONFIRM_SECONDS)
        self.steady.advance(TRUST_SECONDS)
        self.assertEqual(self.clocks.now, self.true)
        self.steady.advance(1)
        self.assertIsNone(self.clocks.now)
        self.assertFalse(self.clocks.confirmed("a"))
        self.note()
        self.assertTrue(self.clocks.confirmed("a"))

    def test_never_read(self) -> None:
        """Nothing is confirmed before the first reading."""
        clocks = ClockAgreement(self.steady.seconds, lambda: self.true)
        self.assertIsNone(clocks.now)
        self.assertFalse(clocks.confirmed("a"))
        clocks.note(self.true)
        self.assertFalse(clocks.confirmed("a"))

    def test_own_clocks(self) -> None:
        """Without others it takes those of this machine."""
        clocks = ClockAgreement()
        self.assertTrue(clocks.note(datetime.now(UTC)))
        self.assertFalse(clocks.confirmed("a"))
        self.assertIsNotNone(clocks.now)

    def test_bounded(self) -> None:
        """So many things are remembered; the next ones come in their place, or when they are forgotten."""
        for name in "abcd":
            self.clocks.confirmed(name)
        self.wait(CONFIRM_SECONDS)
        self.assertEqual([name for name in "abcd" if self.clocks.confirmed(name)], ["a", "b", "c"])
        self.wait(CONFIRM_SECONDS)
        self.assertEqual(self.clocks.confirmed_of("def", self.true), ["d"])
        self.clocks.confirmed("x")
        self.wait(MEMORY_SECONDS + 1)
        self.assertEqual(self.clocks.confirmed_of("def", self.true), [])
        self.wait(CONFIRM_SECONDS)
        self.assertEqual(self.clocks.confirmed_of("def", self.true), ["d", "e", "f"])


class WarningTests(ClocksTestCase):
    def said(self) -> list[str]:
        """Compare the clocks, twice; give what is logged."""
        with capturedLogs() as events:
            self.note()
            self.note()
        return [formatEvent(event) for event in events]

    def test_once(self) -> None:
        """That they disagree is logged once, with both times and what to do; so is the end of that."""
        self.assertEqual(self.said(), [])
        self.database = YEARS
        [line] = self.said()
        self.assertIn("database's says 2036-11-27 00:00:00+00:00, this machine's 2026-11-28 00:00:00", line)
        self.assertIn("set the clock that is wrong", line)
        self.assertEqual(self.said(), [])
        self.database = timedelta()
        [line] = self.said()
        self.assertIn("the clocks agree again", line)
        self.assertEqual(self.said(), [])

    def test_at_the_start(self) -> None:
        """It is logged of the first reading, too."""
        self.machine = -YEARS
        [line] = self.said()
        self.assertIn("this machine's 2016", line)

    def test_around_the_limit(self) -> None:
        """A difference around the limit is not logged again and again."""
        self.database = TOLERANCE * 1.1
        self.assertEqual(len(self.said()), 1)
        for part in (0.9, 1.1, 0.6):
            self.database = TOLERANCE * part
            self.assertEqual(self.said(), [])
        self.database = TOLERANCE * 0.4
        self.assertEqual(len(self.said()), 1)


class ClockWatchTests(DatabaseTestCase):
    async def test_watch(self) -> None:
        """The database's clock is read at the start and every minute."""
        clock = Clock()
        clocks = ClockAgreement()
        watch = ClockWatch(clock, self.database, clocks)
        read: list[datetime] = []
        heard: list[Deferred[None]] = [Deferred(), Deferred()]

        def note(now: datetime) -> bool:
            read.append(now)
            heard[len(read) - 1].callback(None)
            return True

        self.patch(ClockAgreement, "note", lambda _, now: note(now))
        watch.startService()
        self.addCleanup(watch.stopService)
        await heard[0]
        await until(lambda: bool(clock.getDelayedCalls()))
        clock.advance(LOOK_SECONDS)
        await heard[1]
        self.assertLessEqual(read[0], read[1])

    async def test_clock(self) -> None:
        """It is the database's present."""
        now = await self.database.read(read_clock)
        self.assertLess(abs(datetime.now(UTC) - now), timedelta(seconds=30))
