"""The parts of a running server that commands use: those that operations use, and the live sessions."""

from collections.abc import Awaitable
from typing import Protocol, TypeVar
from uuid import UUID

from attrs import define

from mensagod.operations.parts import Parts
from mensagod.sessions.live import LiveSession
from mensagod.sessions.who import Member

T = TypeVar("T")


class ILiveSessions(Protocol):
    """The live sessions of this process, see :class:`mensagod.sessions.live.LiveSessions`."""

    @property
    def process(self) -> UUID:
        """The ID of the process."""

    def enter(self, session: LiveSession) -> None:
        """Add a session that has logged in."""

    def leave(self, session: LiveSession) -> None:
        """Remove a session; its :attr:`~.LiveSession.member` must still be set."""

    async def count_updates(self, member: Member) -> int:
        """Count the new update records by other devices, and mark them as told to ``member``."""

    async def tell(self, member: Member, reading: Awaitable[tuple[T, int]]) -> T:
        """Await a result with the number of the last update record that it covers; mark those as told."""


@define(eq=False)
class Server(Parts):
    """The parts of a running server that commands use.

    :ivar sessions: the live sessions of this process.
    """

    sessions: ILiveSessions
