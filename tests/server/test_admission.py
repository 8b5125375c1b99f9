"""What clients may take of the server (spec 01, *Timeouts and limits*)."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mensagod.errors import ServerUnavailable
from mensagod.server.admission import MIB, BufferLedger, ConnectionLimits, source_of


class SourceTests(SynchronousTestCase):
    """By what a peer is counted."""

    def test_addresses(self) -> None:
        """IPv4 by itself, IPv6 by its /64, IPv4 inside IPv6 as IPv4, anything else by its text."""
        for host, source in (
            ("192.0.2.1", "192.0.2.1"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
            ("2001:DB8:1:2::", "2001:db8:1:2::/64"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("fe80::1%eth0", "fe80::/64"),
            ("local", "local"),
        ):
            self.assertEqual(source_of(host), source)

    @given(st.text(max_size=40))
    def test_any_text(self, host: str) -> None:
        """Any text counts as something."""
        self.assertIsInstance(source_of(host), str)


class ConnectionTests(SynchronousTestCase):
    """Connections, in all and of one source."""

    @given(st.lists(st.tuples(st.booleans(), st.sampled_from("abc")), max_size=60))
    def test_model(self, steps: list[tuple[bool, str]]) -> None:
        """Never more than the limits, and nothing remains when all have left."""
        limits = ConnectionLimits(5, 2)
        there: list[str] = []
        for comes, source in steps:
            if comes:
                room = len(there) < 5 and there.count(source) < 2
                self.assertEqual(limits.has_room(source), room)
                if room:
                    limits.enter(source)
                    there.append(source)
            elif source in there:
                there.remove(source)
                limits.leave(source)
        for source in there:
            limits.leave(source)
        self.assertEqual(limits.count, 0)
        self.assertTrue(limits.has_room("x"))

    def test_no_limit(self) -> None:
        """0 is none."""
        limits = ConnectionLimits(0, 0)
        for _ in range(1000):
            limits.enter("x")
        self.assertTrue(limits.has_room("x"))


class LedgerTests(SynchronousTestCase):
    """Memory of unfinished messages."""

    def refused(self, ledger: BufferLedger, *args: Any) -> None:
        error = self.assertRaises(ServerUnavailable, ledger.change, *args)
        self.assertTrue(error.close)

    def test_limits(self) -> None:
        """32 MiB of a workspace, 64 MiB of a source; what is refused is not noted."""
        ledger = BufferLedger(1000 * MIB)
        ledger.change("a", "w", 32 * MIB)
        self.refused(ledger, "a", "w", 1)
        self.refused(ledger, "b", "w", 1)
        ledger.change("a", None, 32 * MIB)
        self.refused(ledger, "a", None, 1)
        ledger.change("a", "w", -1)
        ledger.change("a", "w", 1)

    def test_total(self) -> None:
        """The total counts all sources; 0 is no limit for all, but one for each."""
        ledger = BufferLedger(10)
        ledger.change("a", None, 5)
        ledger.change("b", None, 5)
        self.refused(ledger, "c", None, 1)
        ledger.total = 0
        ledger.change("c", None, 64 * MIB)
        self.refused(ledger, "c", None, 1)

    def test_less_is_always_taken(self) -> None:
        """Who holds more than a limit that was lowered may still give back."""
        ledger = BufferLedger(100)
        ledger.change("a", None, 100)
        ledger.total = 10
        ledger.change("a", None, -50)
        self.refused(ledger, "a", None, 1)
