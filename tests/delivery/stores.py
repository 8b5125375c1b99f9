"""A mailbox store whose steps a test can watch, hold up or break."""

from collections.abc import Callable, Generator, Sequence

from attrs import define, field
from zope.interface import implementer

from mensagod.imensagod import IMailboxStore
from mensagod.paths import ServerPath
from mensagod.storage.store import MailboxStore, StoredFile


def nothing(path: ServerPath) -> None:
    """Let the step be done."""


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
