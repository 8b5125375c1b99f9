"""What codes of the database mean."""

from psycopg2 import errorcodes
from twisted.trial.unittest import SynchronousTestCase

from mensagod.storage.sqlstates import TABLE, Meaning, is_not_now, meaning_of


class MeaningTests(SynchronousTestCase):
    def test_not_now(self) -> None:
        """What the specification calls *not now* is that; what it does not name is a fault."""
        session = ("25006", "25P01", "25P02", "25P03", "25P04", "08006")
        limits = ("53000", "53100", "53300", "55P03", "57014")
        system = ("57P01", "57P02", "57P03", "57P05", "58000", "58030", "58P01")
        for code in (*session, *limits, *system):
            self.assertTrue(is_not_now(code), code)
        for fault in (None, "", "23505", "25001", "42P01", "55000", "57000", "XX000"):
            self.assertFalse(is_not_now(fault), fault)

    def test_replaced(self) -> None:
        """A connection that heard that the session only reads, or that the system failed, is not kept."""
        self.assertIs(meaning_of("25006"), Meaning.READ_ONLY)
        self.assertIs(meaning_of("58030"), Meaning.USELESS)
        self.assertIs(meaning_of("57P01"), Meaning.LOST)

    def test_unambiguous(self) -> None:
        """No code fits two rows, so that the order of the table means nothing."""
        known = {value for name, value in vars(errorcodes).items() if name.isupper()}
        self.assertIn(errorcodes.UNIQUE_VIOLATION, known)
        for code in {*known, "25P04", "57P05"}:
            rows = [beginning for beginning, _ in TABLE if code.startswith(beginning)]
            self.assertLessEqual(len(rows), 1, code)
