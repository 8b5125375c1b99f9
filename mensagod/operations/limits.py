"""What a process remembers of limits, so that what they refuse costs the database next to nothing."""

from datetime import datetime
from typing import Final, Generic, TypeVar
from weakref import WeakValueDictionary

from attrs import define, frozen
from cachetools import LRUCache
from twisted.internet.interfaces import IReactorTime

from mensagod.errors import LimitReached
from mensagod.storage.lookups import Share
from mensagod.storage.submissions import Submitted
from mensagod.threads.lock import Lock
from mensagod.values.identity import DeviceID, WorkspaceID
from mensagod.values.paths import FileName

K = TypeVar("K")
V = TypeVar("V")

MOST: Final = 10_000
"""How much of each sort is remembered; what was not asked for longest makes room."""


class TooManyLookups(LimitReached):
    """The source has looked up as many names as it may within a minute."""

    default_info = "Too many lookups within a minute"


@frozen
class _Entry(Generic[V]):
    value: V
    begin: float
    end: float


class Memory(Generic[K, V]):
    """Values that are true for some time, a bounded number of them.

    What was remembered before the clock was set back is forgotten.
    """

    def __init__(self, clock: IReactorTime, most: int = MOST):
        self._clock = clock
        self._entries: LRUCache[K, _Entry[V]] = LRUCache(most)

    def now(self) -> float:
        """Give the time as this counts it, in seconds."""
        return self._clock.seconds()

    def keep(self, key: K, value: V, seconds: float, since: float | None = None) -> None:
        """Remember a value for so many seconds.

        :param since: when these began, if not now: the database's seconds begin no later than it was asked.
        """
        begin = self.now() if since is None else since
        self._entries[key] = _Entry(value, begin, begin + seconds)

    def find(self, key: K) -> V | None:
        """Give a value for as long as it is true."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        if entry.begin <= self.now() < entry.end:
            return entry.value
        self.forget(key)
        return None

    def forget(self, key: K) -> None:
        """Forget a value, if there is one."""
        self._entries.pop(key, None)


@define
class _Share:
    left: int
    is_last: bool


class Shares:
    """How many lookups sources have left of those that this process has taken for them.

    A source's share is good until its minute is over. Who finds none takes one while it holds the lock of the
    source, so that many at once do not take many.
    """

    def __init__(self, clock: IReactorTime, most: int = MOST):
        self._known: Memory[str, _Share] = Memory(clock, most)
        self._taking: WeakValueDictionary[str, Lock] = WeakValueDictionary()
        self.now = self._known.now

    def spend(self, source: str) -> bool:
        """Use up a lookup; tell whether there was one.

        :raises LimitReached: if there will be none until the minute is over.
        """
        share = self._known.find(source)
        if share is None:
            return False
        if share.left:
            share.left -= 1
            return True
        if share.is_last:
            raise TooManyLookups
        return False

    def taking(self, source: str) -> Lock:
        """Give the lock to hold while a share of ``source`` is taken."""
        return self._taking.setdefault(source, Lock())

    def take(self, source: str, share: Share, since: float) -> None:
        """Add a share, and use up the first lookup of it.

        :param since: when it was asked for.
        :raises LimitReached: if nothing is left to be taken.
        """
        left = max(share.lookups - 1, 0)
        self._known.keep(source, _Share(left, not share.lookups), share.seconds, since)
        if not share.lookups:
            raise TooManyLookups


class Limits:
    """What this process remembers.

    :ivar lockouts: until when a source is locked out for a kind of failure, as it was within the last second.
    :ivar lookups: what sources may still look up.
    :ivar senders: the devices that may not hand in a message yet.
    :ivar submitted: the file names of messages that were accepted lately, so that a device that has reached
        its limit is told of those that it submits again.
    """

    def __init__(self, clock: IReactorTime):
        self.lockouts: Memory[tuple[str, str], datetime] = Memory(clock)
        self.lookups = Shares(clock)
        self.senders: Memory[tuple[WorkspaceID, DeviceID], bool] = Memory(clock)
        self.submitted: Memory[Submitted, FileName] = Memory(clock)
