"""The parts of a running server, as commands see them: those of the operations, and the sessions."""

from collections.abc import Awaitable
from typing import Protocol, TypeVar
from uuid import UUID

from attrs import define

from mensagod.operations.parts import Parts
from mensagod.sessions.live import LiveSession
from mensagod.sessions.who import Member

T = TypeVar("T")


class ILiveSessions(Protocol):
    """The sessions of this process, see :class:`mensagod.sessions.live.LiveSessions`."""

    @property
    def process(self) -> UUID:
        """The ID of the process."""

    def enter(self, session: LiveSession) -> None:
        """Take a session in that has logged in."""

    def leave(self, session: LiveSession) -> None:
        """Forget a session; its member is still known."""

    async def count_updates(self, member: Member) -> int:
        """Count what other devices did since ``member`` was last told, who is told by this."""

    async def tell(self, member: Member, reading: Awaitable[tuple[T, int]]) -> T:
        """Await what ``member`` is told of changes, with the number of the last one."""


@define(eq=False)
class Server(Parts):
    """The parts of a running server.

    :ivar sessions: those of this process.
    """

    sessions: ILiveSessions
