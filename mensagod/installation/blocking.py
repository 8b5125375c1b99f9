"""Work that was written for the reactor's threads, done here and now: for commands without a server."""

from collections.abc import Callable
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure

T = TypeVar("T")


class BlockingReactor(Clock):
    """A reactor whose threads are the caller's own, and whose timers never come to pass."""

    def getThreadPool(self) -> "BlockingReactor":
        """Give something that does at once what it is asked to do in a thread."""
        return self

    def callInThreadWithCallback(
        self, onResult: Callable[[bool, Any], None], func: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> None:
        """Do it, and report what came of it."""
        try:
            result = func(*args, **kwargs)
        except Exception:  # whatever it is, it goes to whoever waits for the result
            onResult(False, Failure())
        else:
            onResult(True, result)

    def callFromThread(self, func: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        """Do it."""
        func(*args, **kwargs)


def result_of(deferred: Deferred[T]) -> T:
    """Give the result of what has been done already with a :class:`BlockingReactor`, or raise its failure."""
    results: list[T] = []
    failures: list[Failure] = []
    deferred.addCallbacks(results.append, failures.append)
    if failures:
        failures[0].raiseException()
    return results[0]
