"""The terminal from which root starts the server."""

import subprocess
import sys

from twisted.trial.unittest import SynchronousTestCase

from tests.terminals import Terminal

_LEAVE = "from mensagod.process.terminal import leave_terminal; leave_terminal()"


class LeaveTests(SynchronousTestCase):
    def test_left(self) -> None:
        """Who serves has no terminal to type into, and gets none back, but still hears of Ctrl-C."""
        terminal = Terminal.start(self, "tests.process.leaving_terminal")
        shown = terminal.until("waits").split("\r\n")
        wanted = ["has a terminal", "not opened", "not typed", "not taken", "not moved to the foreground"]
        self.assertEqual(shown[:5], wanted)
        terminal.press(b"\x03")
        terminal.until("interrupted")

    def test_leader(self) -> None:
        """The leader of a session, with no shell behind it, keeps its terminal and Ctrl-C."""
        terminal = Terminal.start(self, "tests.process.leaving_terminal", leads=True)
        self.assertEqual(terminal.until("waits").split("\r\n")[1], "opened")
        terminal.press(b"\x03")
        terminal.until("interrupted")

    def test_none(self) -> None:
        """Without a terminal there is nothing to do."""
        # A shell that leads a session without a terminal, and does not become what it runs.
        command = ["/bin/sh", "-c", '"$0" -c "$1"; exit $?', sys.executable, _LEAVE]
        subprocess.run(command, check=True, start_new_session=True)
