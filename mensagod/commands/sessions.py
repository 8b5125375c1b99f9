"""CANCEL, IDLE, LOGOUT, QUIT: controlling the session (spec 04, *Session*)."""

from mensagod.commands.audience import Audience
from mensagod.commands.interfaces import Command
from mensagod.requests.sessions import IdleFields
from mensagod.sessions.outcomes import Hangup, Outcome
from mensagod.sessions.session import Session, member_of
from mensagod.status import Status
from mensagod.storage import updates
from mensagod.wire.fields import NoFields
from mensagod.wire.messages import Response


class Cancel(Command):
    """Give up the command that waits for a further request; a login in progress starts over."""

    name = "CANCEL"
    audience = Audience.EVERYBODY

    async def perform(self, asked: NoFields, session: Session) -> Outcome:
        """200."""
        # The dispatch has already given up the command that waited for a further request.
        session.restart_login()
        return Response(Status.OK)


class Idle(Command):
    """Keep the connection open; on request, count the update records since a time."""

    name = "IDLE"
    audience = Audience.EVERYBODY
    fields = IdleFields

    async def perform(self, asked: IdleFields, session: Session) -> Outcome:
        """200, with ``UpdateCount`` if CountUpdates was given; 401 if that was given without a login."""
        if asked.count_updates is None:
            return Response(Status.OK)
        member = member_of(session)
        server = session.server
        counting = server.database.read(updates.count_since, member.workspace, asked.count_updates)
        count = await server.sessions.tell(member, counting)
        return Response(Status.OK, data={"UpdateCount": str(count)})


class Logout(Command):
    """Log out: the session returns to its state after connecting."""

    name = "LOGOUT"
    audience = Audience.EVERYBODY

    async def perform(self, asked: NoFields, session: Session) -> Outcome:
        """200, also if the client was not logged in."""
        session.leave()
        return Response(Status.OK)


class Quit(Command):
    """Close the connection."""

    name = "QUIT"
    audience = Audience.EVERYBODY

    async def perform(self, asked: NoFields, session: Session) -> Outcome:
        """No answer."""
        return Hangup()
