"""Sliding windows as counters, against a list of times."""

from datetime import timedelta
from itertools import accumulate

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mensagod.storage import failures
from mensagod.storage.failures import Limit
from mensagod.storage.rows import Transaction
from mensagod.storage.windows import Window
from tests.databases import DatabaseTestCase

MANY = Limit("password", 100_000, timedelta(minutes=15), timedelta(minutes=15))
LENGTH = 900.0
PART = 15.0
SLACK = 5.0
"""Seconds that the statements themselves take, at most."""


class CountedTests(DatabaseTestCase):
    """What the database counts is what happened within the window, or within one part more."""

    async def prepare(self) -> None:
        self.connection = self.connect()

    def test_histories(self) -> None:
        """Whatever the times between, nothing is dropped early, and nothing counts for much longer."""

        @settings(max_examples=60, deadline=None)
        @given(st.lists(st.one_of(st.integers(0, 40), st.integers(0, 1200)), min_size=1, max_size=12))
        def check(gaps: list[int]) -> None:
            times = list(accumulate(gaps))
            with self.connection, self.connection.cursor() as cursor:
                total = self.replay(Transaction(cursor), gaps)
            ages = [times[-1] - time for time in times]
            self.assertGreaterEqual(total, sum(age <= LENGTH - SLACK for age in ages))
            self.assertLessEqual(total, sum(age <= LENGTH + PART for age in ages))

        check()

    def replay(self, txn: Transaction, gaps: list[int]) -> int:
        """Have failures with so many seconds before each; give how many count after the last."""
        txn.execute("DELETE FROM failures")
        for gap in gaps:
            txn.execute("UPDATE failures SET since = since - %s * interval '1 second'", (gap,))
            failures.note_failure(txn, MANY, "192.0.2.1")
        txn.execute("SELECT (SELECT sum(count) FROM unnest(counts) AS count) AS total FROM failures")
        row = txn.fetchone()
        return -1 if row is None else int(row.total)


class WaitingTests(SynchronousTestCase):
    """How long it is until there is room again."""

    def test_waiting(self) -> None:
        """It is when enough of the oldest counters have left the window."""
        window = Window(timedelta(seconds=60), 60)
        for counts, age, most, seconds in (
            ([1], 0.0, 1, 61.0),
            ([1], 0.5, 1, 60.5),
            ([25], 61.0, 25, 0.0),
            ([1, 0, 2], 0.25, 3, 58.75),
            ([1, 0, 2], 0.25, 1, 60.75),
            ([1] * 61, 0.0, 61, 1.0),
            ([1] * 61, 0.0, 60, 2.0),
            ([1], -30.0, 1, 91.0),
        ):
            self.assertAlmostEqual(window.seconds_until_less(counts, age, most), seconds)
