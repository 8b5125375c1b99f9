"""A lock for coroutines."""

from collections import deque
from typing import Self

from attrs import define, field
from twisted.internet.defer import Deferred


@define(eq=False)
class Lock:
    """Is held by one coroutine at a time, in the order in which they ask: ``async with lock: ...``.

    Unlike Twisted's ``DeferredLock`` it can have any number of waiters. That one wakes the next waiter inside
    of ``release``, so that the stack grows with each waiter who is done at once, until it overflows.
    """

    _is_held: bool = field(default=False, init=False)
    _is_waking: bool = field(default=False, init=False)
    _waiting: deque[Deferred[None]] = field(factory=deque, init=False)

    def acquire(self) -> Deferred[None]:
        """Fire once the caller holds the lock; it may be cancelled before."""
        granted: Deferred[None] = Deferred(self._waiting.remove)
        self._waiting.append(granted)
        self._wake()
        return granted

    def release(self) -> None:
        """Give the lock to the next waiter."""
        self._is_held = False
        self._wake()

    async def __aenter__(self) -> Self:
        await self.acquire()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.release()

    def _wake(self) -> None:
        if self._is_waking:
            # A waiter that was just woken is done already: the loop that woke it goes on.
            return
        self._is_waking = True
        try:
            while self._waiting and not self._is_held:
                self._is_held = True
                self._waiting.popleft().callback(None)
        finally:
            self._is_waking = False
