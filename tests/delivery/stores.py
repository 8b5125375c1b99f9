"""A content store whose steps a test can watch, hold up or break."""

from collections.abc import Callable, Sequence
from datetime import date
from threading import Event
from uuid import UUID

from attrs import define, field
from twisted.internet import reactor
from twisted.internet.task import deferLater
from zope.interface import implementer

from mensagod.contents.interfaces import IContentStore, IContentWriter, IStoredContent
from mensagod.contents.keys import ContentKey


def nothing(key: ContentKey) -> None:
    """Let the step be done."""


class Gate:
    """Holds up the first step that comes to it."""

    def __init__(self) -> None:
        self._held, self._opened = Event(), Event()

    def __call__(self, *_: object) -> None:
        if not self._held.is_set():
            self._held.set()
            self._opened.wait(30)

    async def holds(self) -> None:
        """Wait until a step has come."""
        while not self._held.is_set():
            await deferLater(reactor, 0.01)

    def open(self) -> None:
        """Let it go on."""
        self._opened.set()


@implementer(IContentStore)
@define
class WatchedStore:
    """The real store; before some steps a function of the test is called, in the step's thread.

    :ivar free: the free space in percent.
    """

    store: IContentStore
    before_write: Callable[[ContentKey], None] = nothing
    before_open: Callable[[ContentKey], None] = nothing
    before_remove: Callable[[ContentKey], None] = nothing
    free: float = field(default=100.0)

    @property
    def place(self) -> str:
        return self.store.place

    def write(self, key: ContentKey, offset: int = 0) -> IContentWriter:
        self.before_write(key)
        return self.store.write(key, offset)

    def open(self, key: ContentKey, size: int) -> IStoredContent:
        self.before_open(key)
        return self.store.open(key, size)

    def head(self, key: ContentKey) -> int | None:
        return self.store.head(key)

    def remove(self, key: ContentKey) -> None:
        self.before_remove(key)
        self.store.remove(key)

    def list_days(self) -> Sequence[date]:
        return self.store.list_days()

    def list_day(self, day: date, after: UUID | None, most: int) -> Sequence[UUID]:
        return self.store.list_day(day, after, most)

    def free_percent(self) -> float:
        return self.free

    def read_id(self) -> UUID | None:
        return self.store.read_id()

    def propose_id(self, store: UUID) -> None:
        self.store.propose_id(store)

    def require_id(self, store: UUID) -> None:
        self.store.require_id(store)
