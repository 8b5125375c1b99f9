"""GETUPDATES: listing update records (spec 04, *Update notification*)."""

from mensagod.commands.audience import Audience
from mensagod.commands.interfaces import Command
from mensagod.operations.updates import list_updates
from mensagod.requests.files import GetUpdatesFields
from mensagod.sessions.outcomes import Outcome
from mensagod.sessions.session import Session, member_of
from mensagod.status import Status
from mensagod.wire.messages import Response


class GetUpdates(Command):
    """List the update records of the workspace since a time, or after a record."""

    name = "GETUPDATES"
    audience = Audience.MEMBER
    fields = GetUpdatesFields

    async def perform(self, asked: GetUpdatesFields, session: Session) -> Outcome:
        """200 with ``UpdateCount``, ``Update0`` and so on, ``Remaining``; 404 for an unknown record."""
        server, member = session.server, member_of(session)
        finding = list_updates(server, member.workspace, asked.time, asked.since)
        found = await server.sessions.tell(member, finding)
        data = {"UpdateCount": str(len(found.records))}
        data.update((f"Update{number}", record) for number, record in enumerate(found.records))
        data["Remaining"] = str(found.remaining)
        return Response(Status.OK, data=data)
