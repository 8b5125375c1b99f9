"""GETWID and ISCURRENT: who is behind a name, and whether a card is the newest (spec 04, *Identity*)."""

from attrs import frozen
from twisted.plugin import IPlugin
from zope.interface import implementer

from mensagod.commands.interfaces import ICommand
from mensagod.commands.lookups import find_workspace
from mensagod.errors import NotFound
from mensagod.sessions.session import Outcome, Session
from mensagod.storage.keycards import ORGANIZATION
from mensagod.values.identity import Domain, UserID, WorkspaceID
from mensagod.values.times import parse_integer
from mensagod.wire.messages import Request, Response
from mensagod.wire.status import Status


@implementer(IPlugin, ICommand)
@frozen
class GetWID:
    """Give the workspace ID that a user ID of a local domain leads to."""

    name = "GETWID"
    demands = ()

    async def perform(self, request: Request, session: Session) -> Outcome:
        """Answer 200 with ``Workspace-ID``, or 404; 414, 405 and 407 to who asks too much."""
        user_id = request.required("User-ID", UserID.from_text)
        domain = request.optional("Domain", Domain.from_text, session.server.domain)
        workspace = await find_workspace(user_id, domain, session)
        return Response(Status.OK, data={"Workspace-ID": str(workspace)})


@implementer(IPlugin, ICommand)
@frozen
class IsCurrent:
    """Tell whether an entry is the newest of its card: the organization's, or a workspace's."""

    name = "ISCURRENT"
    demands = ()

    async def perform(self, request: Request, session: Session) -> Outcome:
        """Answer 200 with ``Is-Current``, ``YES`` or ``NO``; 404 if there is no card."""
        index = request.required("Index", parse_integer)
        owner = request.optional("Workspace-ID", WorkspaceID.from_text)
        resolver = session.server.resolver
        if owner is not None and not await resolver.is_in(owner, None):
            raise NotFound("No such keycard")
        current = await resolver.current(ORGANIZATION if owner is None else owner)
        if current is None:
            raise NotFound("No such keycard")
        return Response(Status.OK, data={"Is-Current": "YES" if index == current.number else "NO"})
