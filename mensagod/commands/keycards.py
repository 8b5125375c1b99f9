"""GETCARD, with its older names ORGCARD and USERCARD: a keycard's entries (spec 04, *Identity*)."""

import re
from collections.abc import Sequence

from attrs import frozen
from twisted.plugin import IPlugin
from zope.interface import implementer

from mensagod.commands.interfaces import ICommand
from mensagod.commands.lookups import find_workspace
from mensagod.errors import BadRequest, BadValue, NotFound
from mensagod.keycards.carddata import FRAME_ESCAPES, FRAME_SIZE, compose_card_data, frame_entry, framed_size
from mensagod.sessions.session import Outcome, Session, Step
from mensagod.storage.keycards import ORGANIZATION, Extent
from mensagod.values.identity import Domain, MAddress, UserID, WorkspaceID, is_random_id
from mensagod.values.times import MAX_INTEGER
from mensagod.wire.messages import LongResponse, Request, Response
from mensagod.wire.status import Status

_INDEX = re.compile(r"-?[0-9]{1,32}")

Owner = MAddress | WorkspaceID | Domain


_END = re.compile(r"[0-9]{1,32}")


def parse_index(text: str) -> int:
    """Read a Start-Index: ASCII digits, a minus sign allowed; all that is not positive is 0."""
    if _INDEX.fullmatch(text) is None:
        raise BadValue("an index is ASCII digits, a minus sign allowed")
    return max(0, min(int(text), MAX_INTEGER))


def parse_end(text: str) -> int:
    """Read an End-Index: ASCII digits; beyond any card means to the end."""
    if _END.fullmatch(text) is None:
        raise BadValue("an end is ASCII digits")
    return min(int(text), MAX_INTEGER)


def parse_owner(text: str) -> Owner:
    """Read an Owner: an address, a workspace ID or a domain."""
    if "/" in text:
        return MAddress.from_text(text)
    return WorkspaceID.from_text(text) if is_random_id(text) else Domain.from_text(text)


@implementer(IPlugin, ICommand)
@frozen
class GetCard:
    """Give the entries of a keycard, in two steps.

    :ivar name: ``GETCARD``, or an older name.
    :ivar last_status: of the second answer; older clients require another one.
    :ivar has_owner: whether a request must have an Owner, or must not; ``None`` if it may.
    """

    name: str = "GETCARD"
    last_status: Status = Status.OK
    has_owner: bool | None = None

    demands = ()

    async def perform(self, request: Request, session: Session) -> Outcome:
        """Answer 104 with ``Item-Count`` and ``Total-Size``, and wait for TRANSFER."""
        owner = self._read_owner(request) or session.server.domain
        start = request.required("Start-Index", parse_index)
        end = request.optional("End-Index", parse_end)
        if end is not None and end < start:
            raise BadRequest("End-Index is before Start-Index")
        workspace = await self._find_owner(owner, session)
        found = await session.server.resolver.excerpt(workspace, start, end)
        if found is None:
            raise NotFound("No such keycard entry")
        if isinstance(found, Extent):
            return self._offer_long(workspace, found, session)
        return self._offer([entry.text for entry in found], session)

    def _read_owner(self, request: Request) -> Owner | None:
        if self.has_owner:
            return request.required("Owner", parse_owner)
        owner = request.optional("Owner", parse_owner)
        if owner is not None and self.has_owner is False:
            raise BadRequest(f"{self.name} has no Owner")
        return owner

    async def _find_owner(self, owner: Owner, session: Session) -> WorkspaceID:
        """Find whose card is asked for; the organization only a domain means, no ID.

        :raises NotFound: if nobody here has that ID, name or domain, or has it in another domain.
        """
        if isinstance(owner, WorkspaceID):
            return await self._find_workspace(owner, None, session)
        domain = owner if isinstance(owner, Domain) else owner.domain
        if not session.server.is_local(domain):
            raise NotFound("No such keycard owner")
        if isinstance(owner, Domain):
            return ORGANIZATION
        if isinstance(owner.id, UserID):
            return await find_workspace(owner.id, domain, session)
        return await self._find_workspace(owner.id, domain, session)

    async def _find_workspace(
        self, workspace: WorkspaceID, domain: Domain | None, session: Session
    ) -> WorkspaceID:
        if not await session.server.resolver.is_in(workspace, domain):
            raise NotFound("No such keycard owner")
        return workspace

    def _offer(self, entries: Sequence[str], session: Session) -> Response:
        """Tell the size of the card as it is now, and keep it for the second step.

        The entries are those that the cache has; composed now, they would take memory for every offer.
        """
        sizes = {"Item-Count": str(len(entries)), "Total-Size": str(sum(map(framed_size, entries)))}

        async def transfer(request: Request, session: Session) -> Outcome:
            return Response(self.last_status, data={**sizes, "Card-Data": compose_card_data(entries)})

        session.expect(Step("TRANSFER", (), transfer))
        return Response(Status.TRANSFER, data=sizes)

    def _offer_long(self, owner: WorkspaceID, extent: Extent, session: Session) -> Response:
        """Tell the size of a large card, and remember only which entries were there."""
        size = extent.size + extent.count * FRAME_SIZE
        sizes = {"Item-Count": str(extent.count), "Total-Size": str(size)}

        async def transfer(request: Request, session: Session) -> Outcome:
            """Read the entries one by one, while the client takes them."""
            texts = session.server.resolver.texts(owner, extent)
            return LongResponse(
                Response(self.last_status, data=sizes),
                "Card-Data",
                size + extent.escapes + extent.count * FRAME_ESCAPES,
                (frame_entry(text) async for text in texts),
            )

        session.expect(Step("TRANSFER", (), transfer))
        return Response(Status.TRANSFER, data=sizes)


@implementer(IPlugin, ICommand)
@frozen
class Transfer:
    """Have the keycard sent that GETCARD offered; alone it is out of place."""

    name = "TRANSFER"
    demands = ()

    async def perform(self, request: Request, session: Session) -> Outcome:
        """Answer 400: no card was offered."""
        raise BadRequest("No keycard was asked for")
