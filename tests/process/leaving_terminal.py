"""A process that gives up root if it has it, or else only its terminal, and waits for Ctrl-C.

Run by :mod:`tests.process.test_terminal` on a terminal; prints one line a step.
"""

import fcntl
import os
import signal
import termios

from mensagod.process.accounts import drop_privileges, service_account
from mensagod.process.terminal import leave_terminal
from tests.terminals import show


def main() -> None:
    os.close(os.open("/dev/tty", os.O_WRONLY))
    show("has a terminal")
    # What is pressed early waits.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    if os.geteuid() == 0:
        drop_privileges(service_account("nobody"))
    else:
        leave_terminal()
    for name, attempt in (
        ("opened", lambda: os.open("/dev/tty", os.O_WRONLY)),
        ("typed", lambda: fcntl.ioctl(0, termios.TIOCSTI, b"x")),
        ("taken", lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0)),
        ("moved to the foreground", lambda: os.tcsetpgrp(0, os.getpgrp())),
    ):
        try:
            attempt()
        except OSError:
            show(f"not {name}")
        else:
            show(name)
    show("waits")
    signal.sigwait({signal.SIGINT})
    show("interrupted")


if __name__ == "__main__":
    main()
