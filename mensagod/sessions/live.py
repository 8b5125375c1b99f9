"""Who is logged in at this process, and what they have not been told yet."""

from collections import defaultdict
from collections.abc import Awaitable
from typing import TypeVar
from uuid import UUID, uuid4

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from mensagod.errors import ServerUnavailable
from mensagod.sessions.who import Member
from mensagod.storage import processes, updates
from mensagod.storage.database import Database
from mensagod.values.identity import WorkspaceID

T = TypeVar("T")


@define(eq=False)
class LiveSessions:
    """The sessions of this process, by workspace (spec 04, *Update notification*).

    Other processes learn of them through the database.
    """

    database: Database
    process: UUID = field(factory=uuid4)
    _members: defaultdict[WorkspaceID, set[Member]] = field(factory=lambda: defaultdict(set), init=False)

    _log = Logger(namespace="mensagod.sessions")

    def enter(self, member: Member) -> None:
        """Tell this member of changes from now on."""
        self._members[member.workspace].add(member)

    def leave(self, member: Member) -> None:
        """Forget a member, here and in the database."""
        self._members[member.workspace].discard(member)
        if not self._members[member.workspace]:
            del self._members[member.workspace]
        removal: Deferred[None] = self.database.run(processes.remove_session, member.session)
        removal.addErrback(self._keep_row)

    def changed(self, workspace: WorkspaceID) -> None:
        """Records were made in this workspace: who is logged in to it has to look."""
        for member in self._members.get(workspace, ()):
            member.stale = True

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

    def _keep_row(self, failure: Failure) -> None:
        """The row stays until the process ends, which does no harm."""
        if not failure.check(ServerUnavailable):
            self._log.failure("the row of a session that ended stays for now", failure)
