"""Who is logged in at this process, and what they have not been told yet."""

from collections import defaultdict, deque
from collections.abc import Awaitable, Collection, Iterator
from typing import Final, Protocol, TypeVar
from uuid import UUID, uuid4

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from mensagod.errors import ServerUnavailable
from mensagod.sessions.who import Member
from mensagod.storage import sessions, updates
from mensagod.storage.database import Database
from mensagod.storage.events import Ending
from mensagod.storage.sessions import SessionKey
from mensagod.values.identity import WorkspaceID

REMEMBERED: Final = 1000
"""How many endings are remembered for logins whose answer was still on its way from the database."""

T = TypeVar("T")


class LiveSession(Protocol):
    """One session, as far as others may act on it.

    :ivar host: the client's address.
    """

    host: str

    @property
    def member(self) -> Member | None:
        """Who is logged in; ``None`` before and after."""

    def end(self, reason: str) -> None:
        """Close the connection once the running command is answered; called in the reactor."""


@define(eq=False)
class LiveSessions:
    """The sessions of this process, by workspace (spec 04, *Update notification*).

    Each has a row in the database, which is removed when it leaves. By the row other processes know of the
    session, and by removing it they end it (:func:`mensagod.storage.sessions.end_sessions`).
    """

    database: Database
    process: UUID = field(factory=uuid4)
    _sessions: defaultdict[WorkspaceID, dict[LiveSession, Member]] = field(
        factory=lambda: defaultdict(dict), init=False
    )
    _kept_rows: set[SessionKey] = field(factory=set, init=False)
    _endings: deque[tuple[int, Ending]] = field(factory=lambda: deque(maxlen=REMEMBERED), init=False)

    _log = Logger(namespace="mensagod.sessions")

    def __iter__(self) -> Iterator[tuple[LiveSession, Member]]:
        """Give the sessions that are there now, each with who is logged in."""
        return iter([entry for workspace in self._sessions.values() for entry in workspace.items()])

    def __contains__(self, entry: tuple[LiveSession, Member]) -> bool:
        """Whether a session is still there, and of the same member."""
        session, member = entry
        return self._sessions.get(member.workspace, {}).get(session) is member

    def enter(self, session: LiveSession) -> None:
        """Take a session in that has logged in: from now on it is told of changes, and can be ended."""
        member = session.member
        if member is None:
            raise ValueError("nobody is logged in")
        self._sessions[member.workspace][session] = member
        # It may have been ended while the answer of the database to its login was on its way.
        for number, ending in self._endings:
            if _covers(ending, number, member):
                self._end(session, member, ending.reason)
                return

    def leave(self, session: LiveSession) -> None:
        """Forget a session, here and in the database; its member is still known."""
        if session.member is not None:
            self._discard(session, session.member)
            self.remove_rows([session.member.row])

    def end(self, number: int, ending: Ending) -> None:
        """End the sessions that an event ended, and that are older than it."""
        self._endings.append((number, ending))
        for session, member in tuple(self._sessions.get(ending.workspace, {}).items()):
            if _covers(ending, number, member):
                self._end(session, member, ending.reason)

    def end_one(self, session: LiveSession, member: Member, reason: str) -> None:
        """End a session, unless it has left meanwhile."""
        if (session, member) in self:
            self._end(session, member, reason)

    def wake(self, workspace: WorkspaceID | None) -> None:
        """Records were made in this workspace, or ``None`` in any: who is logged in to it has to look."""
        workspaces = tuple(self._sessions) if workspace is None else (workspace,)
        for woken in workspaces:
            for member in self._sessions.get(woken, {}).values():
                member.stale = True

    def unaware(self) -> dict[WorkspaceID, int]:
        """Give the workspaces of the sessions that have nothing to look for.

        Each comes with the number of the last update record that all of these sessions were told of.
        """
        found: dict[WorkspaceID, int] = {}
        for workspace, present in self._sessions.items():
            seen = [member.seen for member in present.values() if not member.stale]
            if seen:
                found[workspace] = min(seen)
        return found

    async def count_updates(self, member: Member) -> int:
        """Count what other devices did since ``member`` was last told, who is told by this."""
        counting = self.database.read(updates.count_by_others, member.workspace, member.seen, member.device)
        return await self.tell(member, counting)

    async def tell(self, member: Member, reading: Awaitable[tuple[T, int]]) -> T:
        """Await what ``member`` is told of changes, with the number of the last one: it is no news then.

        :raises mensagod.errors.ServerUnavailable: while the database is away; the member stays untold.
        """
        # Cleared first: what comes while the database is read may or may not be in what it says.
        member.stale = False
        try:
            news, last = await reading
        except BaseException:
            member.stale = True
            raise
        member.seen = max(member.seen, last)
        return news

    def remove_rows(self, rows: Collection[SessionKey]) -> None:
        """Have the database forget sessions that are no more: soon, or once it is there again."""
        removal: Deferred[None] = self.database.run(sessions.remove_sessions, rows)
        removal.addErrback(self._keep_rows, rows)

    async def remove_kept_rows(self) -> None:
        """Remove the rows of sessions that left while the database was away.

        :raises mensagod.errors.ServerUnavailable: while it is away still.
        """
        rows = tuple(self._kept_rows)
        if rows:
            await self.database.run(sessions.remove_sessions, rows)
            self._kept_rows.difference_update(rows)

    def _end(self, session: LiveSession, member: Member, reason: str) -> None:
        self._discard(session, member)
        self._log.info(
            "session ended: {reason}",
            reason=reason,
            workspace=str(member.workspace),
            device=str(member.device),
            address=session.host,
        )
        session.end(reason)

    def _discard(self, session: LiveSession, member: Member) -> None:
        self._sessions[member.workspace].pop(session, None)
        if not self._sessions[member.workspace]:
            del self._sessions[member.workspace]

    def _keep_rows(self, failure: Failure, rows: Collection[SessionKey]) -> None:
        """Remember rows that could not be removed."""
        self._kept_rows.update(rows)
        if not failure.check(ServerUnavailable):
            self._log.failure("the row of a session that ended stays for now", failure)


def _covers(ending: Ending, number: int, member: Member) -> bool:
    """Tell whether an event ended the session of ``member``; those that began after it go on."""
    return (
        member.last_event < number
        and member.workspace == ending.workspace
        and ending.device in {None, member.device}
        and member.session != ending.spare
    )
