"""The interfaces of the database and of the mailbox store (spec 06, *Database* and *Files*)."""

from collections.abc import Awaitable, Callable, Generator, Sequence
from typing import Concatenate, ParamSpec, Protocol, TypeVar

from zope.interface import Interface

from mensagod.storage.rows import Transaction
from mensagod.storage.stored_file import StoredFile
from mensagod.values.paths import ServerPath

T = TypeVar("T")
P = ParamSpec("P")


class Interactions(Protocol):
    """Runs interactions; :class:`mensagod.storage.database.Database` says what each method promises."""

    def run(
        self, interaction: Callable[Concatenate[Transaction, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> Awaitable[T]:
        """Run an interaction in one transaction."""

    def write(
        self, interaction: Callable[Concatenate[Transaction, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> Awaitable[T]:
        """Run an interaction of one statement."""

    def read(
        self, interaction: Callable[Concatenate[Transaction, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> Awaitable[T]:
        """Run an interaction of one statement that only reads."""


class IMailboxStore(Interface):
    """Stores the content of files. Every method blocks: call it in a thread.

    When a method returns, its changes are durable.
    """

    def write(path: ServerPath, content: bytes) -> None:
        """Create the file ``path``.

        After an error the file does not exist, except after ``FileExistsError``.
        """

    def move(moves: Sequence[tuple[ServerPath, ServerPath]]) -> list[OSError | None]:
        """Move files, each from its first path to its second; a file that was moved before counts as moved.

        :returns: the error of each move, or ``None``; ``FileNotFoundError`` if the file is at neither path.
        """

    def remove(path: ServerPath) -> None:
        """Remove a file, if it exists."""

    def open(path: ServerPath) -> StoredFile:
        """Open a file for reading; ``FileNotFoundError`` if there is none."""

    def read_head(path: ServerPath, size: int) -> bytes:
        """Give the first bytes of a file, at most ``size``."""

    def old_outgoing(seconds: float, most: int) -> Generator[list[ServerPath], None, None]:
        """Give the files below ``out`` that are older than ``seconds``, at most ``most`` at a time."""

    def free_percent() -> float:
        """Give the free space of the file system in percent."""
