"""CANCEL, IDLE, LOGOUT, QUIT: the session itself (spec 04, *Session*)."""

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
    """Give up what is pending; a login that has not finished starts over."""

    name = "CANCEL"
    audience = Audience.EVERYBODY

    async def perform(self, asked: NoFields, session: Session) -> Outcome:
        """200."""
        # The dispatch has given up the command that waited for a further request already.
        session.restart_login()
        return Response(Status.OK)


class Idle(Command):
    """Keep the connection; on demand, count the update records since a time."""

    name = "IDLE"
    audience = Audience.EVERYBODY
    fields = IdleFields

    async def perform(self, asked: IdleFields, session: Session) -> Outcome:
        """200, with ``UpdateCount`` if CountUpdates asks for it, which needs a login."""
        if asked.count_updates is None:
            return Response(Status.OK)
        member = member_of(session)
        server = session.server
        counting = server.database.read(updates.count_since, member.workspace, asked.count_updates)
        count = await server.sessions.tell(member, counting)
        return Response(Status.OK, data={"UpdateCount": str(count)})


class Logout(Command):
    """Become as after connecting."""

    name = "LOGOUT"
    audience = Audience.EVERYBODY

    async def perform(self, asked: NoFields, session: Session) -> Outcome:
        """200, also where nobody is logged in."""
        session.leave()
        return Response(Status.OK)


class Quit(Command):
    """Close the connection."""

    name = "QUIT"
    audience = Audience.EVERYBODY

    async def perform(self, asked: NoFields, session: Session) -> Outcome:
        """No answer."""
        return Hangup()
