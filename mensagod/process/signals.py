"""The signals that a server obeys (spec 06, ``run``)."""

import signal
from collections.abc import Callable

from twisted.internet.interfaces import IReactorFromThreads


def obey(reactor: IReactorFromThreads, end: Callable[[], None], hang_up: Callable[[], None]) -> None:
    """Have SIGTERM and SIGINT call ``end``, and SIGHUP ``hang_up``, in the reactor.

    The reactor must run already, for it sets its own when it begins.
    """
    for number, work in ((signal.SIGTERM, end), (signal.SIGINT, end), (signal.SIGHUP, hang_up)):
        signal.signal(number, lambda *_, work=work: reactor.callFromThread(work))
