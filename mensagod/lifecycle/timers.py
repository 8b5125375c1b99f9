"""The clock that the reactor's timers follow."""

import time
from typing import Any


def follow_steady_clock(reactor: Any) -> None:
    """Have the timers of a reactor follow a clock that nobody can set.

    Twisted takes the time of the machine. If that is set back, no timer fires until the clock is again where
    it was: no heartbeat, no retry, no timeout. If it is set forward, all timeouts are over at once. Call this
    before anything keeps ``reactor.seconds``; timers that run already keep the seconds that they have left.
    """
    if reactor.seconds is time.monotonic:
        return
    shift = time.monotonic() - reactor.seconds()
    reactor.seconds = time.monotonic
    for call in reactor.getDelayedCalls():
        call.time += shift
        call.seconds = time.monotonic
