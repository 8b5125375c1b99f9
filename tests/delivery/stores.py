"""A mailbox store whose steps a test can watch, hold up or break."""

from collections.abc import Callable, Generator, Sequence
from threading import Event

from attrs import define, field
from twisted.internet import reactor
from twisted.internet.task import deferLater
from zope.interface import implementer

from mensagod.storage.interfaces import IMailboxStore
from mensagod.storage.store import MailboxStore
from mensagod.storage.stored_file import StoredFile
from mensagod.values.paths import ServerPath


def nothing(path: ServerPath) -> None:
    """Let the step be done."""


class Gate:
    """Holds up the first step that comes to it."""

    def __init__(self) -> None:
        self._held, self._opened = Event(), Event()

    def __call__(self, path: ServerPath) -> None:
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


@implementer(IMailboxStore)
@define
class WatchedStore:
    """The real store; before each step a function of the test is called, in the step's thread."""

    store: MailboxStore
    before_write: Callable[[ServerPath], None] = nothing
    before_move: Callable[[ServerPath], None] = nothing
    before_open: Callable[[ServerPath], None] = nothing
    free: float = field(default=100.0)

    def write(self, path: ServerPath, content: bytes) -> None:
        self.before_write(path)
        self.store.write(path, content)

    def move(self, moves: Sequence[tuple[ServerPath, ServerPath]]) -> list[OSError | None]:
        return [self._move(*move) for move in moves]

    def _move(self, source: ServerPath, destination: ServerPath) -> OSError | None:
        try:
            self.before_move(source)
        except OSError as error:
            return error
        return self.store.move([(source, destination)])[0]

    def remove(self, path: ServerPath) -> None:
        self.store.remove(path)

    def open(self, path: ServerPath) -> StoredFile:
        self.before_open(path)
        return self.store.open(path)

    def read_head(self, path: ServerPath, size: int) -> bytes:
        return self.store.read_head(path, size)

    def old_outgoing(self, seconds: float, most: int) -> Generator[list[ServerPath], None, None]:
        return self.store.old_outgoing(seconds, most)

    def free_percent(self) -> float:
        return self.free
