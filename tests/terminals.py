"""A program on a terminal of its own, as an operator starts it from a shell.

The shell leads the session, so the program does not: ``python -m tests.terminals False MODULE
ARGUMENT...`` is that shell.
It needs a process of its own, for taking a terminal is for the leader of a session without one.
"""

import fcntl
import os
import select
import signal
import subprocess
import sys
import termios

from attrs import define, field
from twisted.trial.unittest import SynchronousTestCase

_SECONDS = 60


@define
class Terminal:
    """What is shown on the terminal on which a module runs, and the keys of that."""

    _keys: int
    _shown: bytes = field(default=b"", init=False)

    @classmethod
    def start(
        cls, test: SynchronousTestCase, module: str, *arguments: object, leads: bool = False
    ) -> "Terminal":
        """Run ``python -m module`` on a new terminal; both end with the test at the latest.

        :param leads: whether it leads the session itself, without a shell, as in a container.
        """
        keys, screen = os.openpty()
        test.addCleanup(os.close, keys)
        shell = subprocess.Popen(
            [sys.executable, "-m", "tests.terminals", str(leads), module, *map(str, arguments)],
            stdin=screen,
            stdout=screen,
            stderr=screen,
            start_new_session=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
        os.close(screen)
        test.addCleanup(shell.wait)
        test.addCleanup(shell.kill)
        return cls(keys)

    def press(self, keys: bytes) -> None:
        """Press keys."""
        os.write(self._keys, keys)

    def until(self, text: str) -> str:
        """Wait until a text is shown; give all that is shown by then."""
        while text.encode() not in self._shown:
            if not select.select([self._keys], [], [], _SECONDS)[0]:
                raise TimeoutError(self._shown)
            try:
                self._shown += os.read(self._keys, 65536)
            except OSError as error:
                # The last one that had the terminal open has ended.
                raise EOFError(self._shown) from error
        return self._shown.decode()


def show(line: str) -> None:
    """Print a line at once; for the programs that run here."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main(leads: str, *arguments: str) -> int:
    """Take the terminal, and run a module on it in the foreground."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    command = [sys.executable, "-m", *arguments]
    if leads == str(True):
        os.execv(sys.executable, command)
    with subprocess.Popen(command) as program:
        # As in a shell: Ctrl-C is for the program.
        signal.signal(signal.SIGINT, lambda *_: None)
        return program.wait()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
