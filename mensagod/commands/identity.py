"""GETWID and GETCARD: who is behind a name (spec 04, *Identity*)."""

from attrs import frozen
from twisted.plugin import IPlugin
from zope.interface import implementer

from mensagod.errors import NotFound
from mensagod.identity import Domain, UserID
from mensagod.imensagod import ICommand
from mensagod.session import Outcome, Session
from mensagod.storage import workspaces
from mensagod.wire.messages import Request, Response
from mensagod.wire.status import Status


@implementer(IPlugin, ICommand)
@frozen
class GetWID:
    """Give the workspace ID that a user ID of a local domain leads to."""

    name = "GETWID"
    demands = ()

    async def perform(self, request: Request, session: Session) -> Outcome:
        """Answer 200 with ``Workspace-ID``, or 404; a domain that is not ours is never resolved."""
        user_id = request.required("User-ID", UserID.from_text)
        domain = request.optional("Domain", Domain.from_text, session.server.domain)
        workspace = None
        if session.server.is_local(domain):
            workspace = await session.server.database.read(workspaces.find_registered, user_id, domain)
        if workspace is None:
            raise NotFound("No such user ID")
        return Response(Status.OK, data={"Workspace-ID": str(workspace)})
