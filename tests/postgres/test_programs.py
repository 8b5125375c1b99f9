"""What the programs of PostgreSQL get of the terminal of who starts them.

The configuration of an account may name them, and root run them.
"""

import os
import select

from twisted.trial.unittest import SynchronousTestCase

from tests.directories import scratch_of
from tests.terminals import Terminal

_PROGRAM = """#!/bin/sh
# Notes its name, what its standard input is, and whether it can open a terminal.
(: </dev/tty) 2>/dev/null && terminal=terminal || terminal=none
echo "${0##*/} $(readlink /proc/$$/fd/0) $terminal" >>"$(dirname "$0")/seen"
echo "postgres (PostgreSQL) 15.1"
"""
_PARENT = """#!/bin/sh
cat "$(dirname "$0")/fifo" &
wait
"""
_MILLISECONDS = 60_000


class TerminalTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.directory = scratch_of(self, "programs")
        for name in ("postgres", "initdb", "pg_ctl"):
            self.write(name, _PROGRAM)

    def write(self, name: str, program: str) -> None:
        (self.directory / name).write_text(program)
        (self.directory / name).chmod(0o755)

    def start(self) -> Terminal:
        return Terminal.start(self, "tests.postgres.programs_on_terminal", self.directory)

    def test_none(self) -> None:
        """They have a session of their own and no input, so that they cannot type into root's shell."""
        shown = self.start().until("done")
        self.assertEqual(shown.split("\r\n")[0], "has a terminal")
        # The version is asked for first.
        wanted = [f"{name} /dev/null none" for name in ("postgres", "initdb", "postgres")]
        self.assertEqual((self.directory / "seen").read_text().splitlines(), wanted)

    def test_interrupted(self) -> None:
        """Ctrl-C ends a program with all that it has started, though it does not reach their session."""
        self.write("initdb", _PARENT)
        os.mkfifo(self.directory / "fifo")
        terminal = self.start()
        terminal.until("runs")
        # Opens once the other end is open, and has an error once that is closed.
        fifo = os.open(self.directory / "fifo", os.O_WRONLY)
        self.addCleanup(os.close, fifo)
        terminal.press(b"\x03")
        closing = select.poll()
        closing.register(fifo, select.POLLERR)
        self.assertEqual(closing.poll(_MILLISECONDS), [(fifo, select.POLLERR)])
