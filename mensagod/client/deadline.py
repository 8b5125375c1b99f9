"""A timeout that can be restarted."""

from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime


class Deadline:
    """Calls ``expire`` once, ``seconds`` after the last start."""

    def __init__(self, clock: IReactorTime, seconds: float, expire: Callable[[], None]):
        self._clock = clock
        self._seconds = seconds
        self._expire = expire
        self._call: IDelayedCall | None = None

    def restart(self) -> None:
        """Start the time anew."""
        if self._call is not None and self._call.active():
            self._call.reset(self._seconds)
        else:
            self._call = self._clock.callLater(self._seconds, self._expire)

    def stop(self) -> None:
        """Stop the time; ``expire`` is not called."""
        if self._call is not None and self._call.active():
            self._call.cancel()
        self._call = None
