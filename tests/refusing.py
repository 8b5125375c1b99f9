"""A test case for what parsers refuse."""

from collections.abc import Callable

from twisted.trial.unittest import SynchronousTestCase

from mensagod.errors import BadValue


class RefusingCase(SynchronousTestCase):
    """Says that a parser refuses texts, with our own error."""

    def refuses(self, parse: Callable[[str], object], *texts: str) -> None:
        for text in texts:
            self.assertRaises(BadValue, parse, text)
