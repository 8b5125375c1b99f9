"""The terminal that root starts the server from, which the server's account must not keep.

A process can type into its controlling terminal (``TIOCSTI``, where ``dev.tty.legacy_tiocsti`` allows it),
and root's shell reads that as a command. A new session has no terminal, but no Ctrl-C either. A process that
only leaves its terminal stays in its process group, to which Ctrl-C sends the signal
(``docs/decisions/configuration-owned-by-root.rst``).
"""

import fcntl
import os
import termios


def leave_terminal() -> None:
    """Give up the controlling terminal for good; signals of its keys still arrive.

    What is open of it stays open. The leader of a session keeps the terminal, which is its own: with it the
    whole session would lose it, and nobody is there to type a command to.
    """
    if os.getsid(0) == os.getpid():
        return
    try:
        descriptor = os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        # There is none.
        return
    try:
        fcntl.ioctl(descriptor, termios.TIOCNOTTY)
    finally:
        os.close(descriptor)
