"""Waiting for what happens outside of the reactor."""

from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall


def until(condition: Callable[[], bool]) -> Deferred[LoopingCall]:
    """Fire once ``condition`` holds; the test's own limit of time bounds the wait."""
    call = LoopingCall(lambda: call.stop() if condition() else None)
    return call.start(0.02)
