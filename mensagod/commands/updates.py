"""GETUPDATES: what changed in the workspace (spec 04, *Update notification*)."""

from attrs import frozen
from twisted.plugin import IPlugin
from zope.interface import implementer

from mensagod.commands.interfaces import ICommand
from mensagod.commands.policy import LoggedIn, member_of
from mensagod.errors import NotFound
from mensagod.sessions.session import Member, Outcome, Session
from mensagod.storage import updates
from mensagod.storage.updates import Updates
from mensagod.values.identity import RandomID
from mensagod.values.times import parse_unix_time
from mensagod.wire.messages import Request, Response
from mensagod.wire.status import Status


@implementer(IPlugin, ICommand)
@frozen
class GetUpdates:
    """Give the update records since a time, or since a record."""

    name = "GETUPDATES"
    demands = (LoggedIn(),)

    async def perform(self, request: Request, session: Session) -> Outcome:
        """Answer 200 with ``UpdateCount``, ``Update0`` and so on, and ``Remaining``."""
        member = member_of(session)
        time = request.required("Time", parse_unix_time)
        since = request.optional("Since", RandomID.from_text)
        found = await session.server.sessions.tell(member, self._find(member, time, since, session))
        data = {"UpdateCount": str(len(found.records))}
        data.update((f"Update{number}", str(record)) for number, record in enumerate(found.records))
        data["Remaining"] = str(found.remaining)
        return Response(Status.OK, data=data)

    async def _find(
        self, member: Member, time: int, since: RandomID | None, session: Session
    ) -> tuple[Updates, int]:
        """Give the records, and the newest number."""
        run = session.server.database.run
        if since is None:
            found = await run(updates.list_since_time, member.workspace, time)
            return found, found.last
        known = await run(updates.list_since_record, member.workspace, since.uuid)
        if known is None:
            raise NotFound("No such update record: start over with LIST")
        return known, known.last
