"""Limits over sliding windows, against a list of times."""

from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from mensagod.storage import failures
from mensagod.storage.failures import Limit
from mensagod.storage.rows import Transaction
from tests.databases import DatabaseTestCase

WINDOW = timedelta(seconds=900)
PASS_TIME = (
    "UPDATE failures SET times = ARRAY(SELECT time - %s * interval '1 second'"
    " FROM unnest(times) WITH ORDINALITY AS slot (time, number) ORDER BY number)"
)


class SlotTests(DatabaseTestCase):
    """All happens within one transaction, for which time stands still unless the test lets it pass."""

    async def prepare(self) -> None:
        self.connection = self.connect()

    def replay(self, txn: Transaction, most: int, gaps: list[int]) -> list[bool]:
        """Have failures with so many seconds before each; tell which of them locked out."""
        limit = Limit("password", most, WINDOW, WINDOW)
        txn.execute("DELETE FROM failures")
        locked = []
        for gap in gaps:
            txn.execute(PASS_TIME, (gap,))
            locked.append(failures.note_failure(txn, limit, "192.0.2.1") is not None)
            txn.execute("UPDATE failures SET locked_until = NULL")
        return locked

    def test_exact(self) -> None:
        """The failure locks out that is one too many within the window, and no other does."""

        @settings(max_examples=60, deadline=None)
        @given(
            st.integers(1, 6),
            st.lists(st.one_of(st.integers(0, 400), st.just(900)), min_size=1, max_size=16),
        )
        def check(most: int, gaps: list[int]) -> None:
            with self.connection, self.connection.cursor() as cursor:
                locked = self.replay(Transaction(cursor), most, gaps)
            self.assertEqual(locked, _expected(most, gaps))

        check()

    def test_many(self) -> None:
        """Of more than a hundred, too, as many as the limit fit, and no more."""
        for most in (101, 102, 151, 250):
            with self.connection, self.connection.cursor() as cursor:
                locked = self.replay(Transaction(cursor), most, [0] * most)
                self.assertEqual(locked, [False] * (most - 1) + [True])
                gaps = [0] * (most // 2) + [899] + [0] * (most - most // 2 - 1)
                self.assertEqual(self.replay(Transaction(cursor), most, gaps), [False] * (most - 1) + [True])
                gaps = [0] * (most - 1) + [900] + [0] * (most - 1)
                self.assertEqual(
                    self.replay(Transaction(cursor), most, gaps), [False] * (2 * most - 2) + [True]
                )


def _expected(most: int, gaps: list[int]) -> list[bool]:
    locked, ages = [], list[int]()
    for gap in gaps:
        ages = [age + gap for age in ages if age + gap < WINDOW.total_seconds()] + [0]
        locked.append(len(ages) >= most)
        if locked[-1]:
            ages.clear()
    return locked
