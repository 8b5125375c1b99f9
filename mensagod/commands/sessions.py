"""CANCEL, IDLE, LOGOUT, QUIT: the session itself (spec 04, *Session*)."""

from attrs import frozen
from twisted.plugin import IPlugin
from zope.interface import implementer

from mensagod.commands.interfaces import ICommand
from mensagod.commands.policy import member_of
from mensagod.sessions.session import Hangup, Outcome, Session
from mensagod.storage import updates
from mensagod.values.times import parse_unix_time
from mensagod.wire.messages import Request, Response
from mensagod.wire.status import Status


@implementer(IPlugin, ICommand)
@frozen
class Cancel:
    """Give up what is pending; a login that has not finished starts over."""

    name = "CANCEL"
    demands = ()

    async def perform(self, request: Request, session: Session) -> Outcome:
        """Answer 200; the dispatch has given up the pending step already."""
        session.attempt = None
        return Response(Status.OK)


@implementer(IPlugin, ICommand)
@frozen
class Idle:
    """Keep the connection; on demand, count the update records since a time."""

    name = "IDLE"
    demands = ()

    async def perform(self, request: Request, session: Session) -> Outcome:
        """Answer 200, with ``UpdateCount`` if ``CountUpdates`` asks for it."""
        if not request.has("CountUpdates"):
            return Response(Status.OK)
        member = member_of(session)
        since = request.required("CountUpdates", parse_unix_time)
        server = session.server
        counting = server.database.read(updates.count_since, member.workspace, since)
        count = await server.sessions.tell(member, counting)
        return Response(Status.OK, data={"UpdateCount": str(count)})


@implementer(IPlugin, ICommand)
@frozen
class Logout:
    """Become as after connecting."""

    name = "LOGOUT"
    demands = ()

    async def perform(self, request: Request, session: Session) -> Outcome:
        """Answer 200, also where nobody is logged in."""
        session.leave()
        return Response(Status.OK)


@implementer(IPlugin, ICommand)
@frozen
class Quit:
    """Close the connection."""

    name = "QUIT"
    demands = ()

    async def perform(self, request: Request, session: Session) -> Outcome:
        """Answer nothing."""
        return Hangup()
