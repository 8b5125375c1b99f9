"""The signals that the server handles (spec 06, ``run``)."""

import signal
from collections.abc import Callable

from twisted.internet.interfaces import IReactorFromThreads


def obey(reactor: IReactorFromThreads, end: Callable[[], None], hang_up: Callable[[], None]) -> None:
    """Make SIGTERM and SIGINT call ``end``, and SIGHUP ``hang_up``, in the reactor's thread.

    The reactor must be running, because it installs its own signal handlers when it starts.
    """
    for number, work in ((signal.SIGTERM, end), (signal.SIGINT, end), (signal.SIGHUP, hang_up)):
        signal.signal(number, lambda *_, work=work: reactor.callFromThread(work))
