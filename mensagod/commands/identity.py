"""GETWID and ISCURRENT: the workspace of a name, and whether an entry is current (spec 04, *Identity*)."""

from mensagod.commands.audience import Audience
from mensagod.commands.interfaces import Command
from mensagod.errors import NotFound
from mensagod.operations.lookups import find_workspace
from mensagod.requests.identity import GetWIDFields, IsCurrentFields
from mensagod.sessions.outcomes import Outcome
from mensagod.sessions.session import Session
from mensagod.status import Status
from mensagod.storage.keycards import ORGANIZATION
from mensagod.wire.messages import Response


class GetWID(Command):
    """Give the workspace ID of a user ID in one of the server's domains."""

    name = "GETWID"
    audience = Audience.CLIENTS | Audience.SERVER
    fields = GetWIDFields

    async def perform(self, asked: GetWIDFields, session: Session) -> Outcome:
        """200 with ``Workspace-ID``; 404 for an unknown user ID.

        414 for the 101st lookup within a minute from one source (an IPv4 address, or an IPv6 /64); 405 with
        ``Lock-Time`` for the 50th miss within 5 minutes, which closes the connection; then 407 with
        ``Lock-Time`` until 30 minutes after the last attempt.
        """
        server = session.server
        workspace = await find_workspace(server, asked.user_id, asked.domain or server.domain, session.source)
        return Response(Status.OK, data={"Workspace-ID": str(workspace)})


class IsCurrent(Command):
    """Tell whether an entry is the current one of its keycard: the organization's, or that of a workspace."""

    name = "ISCURRENT"
    audience = Audience.CLIENTS | Audience.SERVER
    fields = IsCurrentFields

    async def perform(self, asked: IsCurrentFields, session: Session) -> Outcome:
        """200 with ``Is-Current``, ``YES`` or ``NO``; 404 if there is no such keycard."""
        resolver, owner = session.server.resolver, asked.workspace
        if owner is not None and not await resolver.is_in(owner, None):
            raise NotFound("No such keycard")
        current = await resolver.current(ORGANIZATION if owner is None else owner)
        if current is None:
            raise NotFound("No such keycard")
        return Response(Status.OK, data={"Is-Current": "YES" if asked.index == current.number else "NO"})
