"""What the server asks of a database, and of a store of contents (spec 06, *Database* and *Files*)."""

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
    """Where the content of files is kept. Every method blocks, and belongs into a thread.

    What a method promises is durable when it returns.
    """

    def write(path: ServerPath, content: bytes) -> None:
        """Make the file ``path``; ``FileExistsError`` if there is one, and no file after any error."""

    def move(moves: Sequence[tuple[ServerPath, ServerPath]]) -> list[OSError | None]:
        """Move files, each from its first path to its second; done already is as good.

        :returns: for each what went wrong, if anything did; ``FileNotFoundError`` if it is at neither place.
        """

    def remove(path: ServerPath) -> None:
        """Remove a file; one that is not there is as good."""

    def open(path: ServerPath) -> StoredFile:
        """Open a file to read; ``FileNotFoundError`` if there is none."""

    def read_head(path: ServerPath, size: int) -> bytes:
        """Give the first bytes of a file, at most ``size``."""

    def old_outgoing(seconds: float, most: int) -> Generator[list[ServerPath], None, None]:
        """Give the files below ``out`` that are older than ``seconds``, at most ``most`` at a time."""

    def free_percent() -> float:
        """Tell how much of the space is free."""
