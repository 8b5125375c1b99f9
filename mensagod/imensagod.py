"""Every interface of mensagod: where one part meets another, and where an operator's code meets ours."""

from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING

from zope.interface import Attribute, Interface

if TYPE_CHECKING:
    from mensagod.paths import ServerPath
    from mensagod.session import Outcome, Session
    from mensagod.storage.store import StoredFile
    from mensagod.wire.messages import Request, Response


class ICommand(Interface):
    """A command of the protocol, found as a plugin.

    One object serves all sessions at once: it keeps no state of its own. An object that provides this
    interface and :class:`twisted.plugin.IPlugin`, in a module of ``twisted/plugins``, is a command of
    the server from its next start on.
    """

    name: str = Attribute("The Action, in upper case, that clients ask for.")

    demands = Attribute("A tuple of :class:`IDemand`: what a session must be before the command runs.")

    async def perform(request: "Request", session: "Session") -> "Outcome":
        """Do what ``request`` asks and say what to answer.

        :raises mensagod.errors.CommandError: a condition that the client is told. Anything else that is
            raised is a fault of the server: the client gets a 300 with an incident id.
        """


class IDemand(Interface):
    """A condition that a session must meet before a command's own checks begin."""

    def check(session: "Session") -> None:
        """Return if the session meets it.

        :raises mensagod.errors.CommandError: if it does not.
        """


class ISink(Interface):
    """Where the bytes of a raw data phase go (spec 01, *Raw data phases*)."""

    async def write(data: bytes) -> None:
        """Take the next bytes, and return when more may come.

        :raises mensagod.errors.CommandError: the rest is of no use: it is read and discarded, and the
            error is answered.
        """

    async def finish() -> "Response":
        """All bytes have come: give the answer.

        :raises mensagod.errors.CommandError: as an answer.
        """

    async def interrupted() -> "Response":
        """The bytes stopped coming: give the answer to send if the client still listens."""


class IMailboxStore(Interface):
    """Where the content of files is kept. Every method blocks, and belongs into a thread.

    What a method promises is durable when it returns.
    """

    def write(path: "ServerPath", content: bytes) -> None:
        """Make the file ``path``; ``FileExistsError`` if there is one, and no file after any error."""

    def move(moves: "Sequence[tuple[ServerPath, ServerPath]]") -> list[OSError | None]:
        """Move files, each from its first path to its second; done already is as good.

        :returns: for each what went wrong, if anything did; ``FileNotFoundError`` if it is at neither place.
        """

    def remove(path: "ServerPath") -> None:
        """Remove a file; one that is not there is as good."""

    def open(path: "ServerPath") -> "StoredFile":
        """Open a file to read; ``FileNotFoundError`` if there is none."""

    def read_head(path: "ServerPath", size: int) -> bytes:
        """Give the first bytes of a file, at most ``size``."""

    def old_outgoing(seconds: float, most: int) -> "Generator[list[ServerPath], None, None]":
        """Give the files below ``out`` that are older than ``seconds``, at most ``most`` at a time."""

    def free_percent() -> float:
        """Tell how much of the space is free."""


class ISource(Interface):
    """Where the bytes of a raw data phase come from. One read at a time."""

    def read_ready(size: int) -> bytes:
        """Give some of the next bytes, at most ``size``, if that needs no waiting for a disk; else none."""

    def read(size: int) -> bytes:
        """Give the next bytes, at most ``size``; fewer only at the end. Runs in a thread.

        :raises OSError: if the content cannot be read; the connection is closed then.
        """

    def close() -> None:
        """Let go of what is read from. May be called more than once."""
