"""GETCARD, its older forms ORGCARD and USERCARD, and TRANSFER: reading keycards (spec 04, *Identity*)."""

from collections.abc import Sequence
from typing import ClassVar

from mensagod.commands.audience import Audience
from mensagod.commands.interfaces import Command
from mensagod.errors import BadRequest, NotFound
from mensagod.keycards.carddata import FRAME_ESCAPES, FRAME_SIZE, compose_card_data, frame_entry, framed_size
from mensagod.operations.lookups import find_workspace
from mensagod.requests.identity import (
    GetCardFields,
    OrgCardFields,
    Owner,
    TransferFields,
    UserCardFields,
)
from mensagod.sessions.outcomes import Outcome
from mensagod.sessions.session import Session
from mensagod.status import Status
from mensagod.storage.keycards import ORGANIZATION, Extent
from mensagod.values.identity import Domain, UserID, WorkspaceID
from mensagod.wire.fields import Fields, NoFields
from mensagod.wire.messages import LongResponse, Response


class GetCard(Command):
    """Give the entries of a keycard, in two steps: the size, then the entries."""

    name: ClassVar[str] = "GETCARD"
    audience = Audience.CLIENTS | Audience.SERVER
    fields: ClassVar[type[Fields]] = GetCardFields
    more_fields = (TransferFields,)
    last_status: ClassVar[Status] = Status.OK

    async def perform(
        self, asked: GetCardFields | OrgCardFields | UserCardFields, session: Session
    ) -> Outcome:
        """104 with ``Item-Count`` and ``Total-Size``, then 200 with these and ``Card-Data``.

        404 for an unknown owner or entry. An Owner with a user ID in one of the server's domains counts as a
        lookup (GETWID).
        """
        if asked.end is not None and asked.end < asked.start:
            raise BadRequest("End-Index is before Start-Index")
        owner = await _find_owner(asked.owner or session.server.domain, session)
        found = await session.server.resolver.excerpt(owner, asked.start, asked.end)
        if found is None:
            raise NotFound("No such keycard entry")
        if isinstance(found, Extent):
            return await self._give_large(owner, found, session)
        return await self._give([entry.text for entry in found], session)

    async def _give(self, entries: Sequence[str], session: Session) -> Response:
        """Offer a keycard by its size; give it when the client asks for it.

        The entries are shared with the cache. The answer is composed only then, so that an open offer takes
        no memory.
        """
        sizes = {"Item-Count": str(len(entries)), "Total-Size": str(sum(map(framed_size, entries)))}
        await session.again(Response(Status.TRANSFER, data=sizes), TransferFields)
        return Response(self.last_status, data={**sizes, "Card-Data": compose_card_data(entries)})

    async def _give_large(self, owner: WorkspaceID, extent: Extent, session: Session) -> LongResponse:
        """Offer a large keycard by its size; then read its entries as fast as the client takes them."""
        size = extent.size + extent.count * FRAME_SIZE
        sizes = {"Item-Count": str(extent.count), "Total-Size": str(size)}
        await session.again(Response(Status.TRANSFER, data=sizes), TransferFields)
        texts = session.server.resolver.texts(owner, extent)
        return LongResponse(
            Response(self.last_status, data=sizes),
            "Card-Data",
            size + extent.escapes + extent.count * FRAME_ESCAPES,
            (frame_entry(text) async for text in texts),
        )


class OrgCard(GetCard):
    """Older form of GETCARD for the organization's keycard; its last answer is 104."""

    name = "ORGCARD"
    fields = OrgCardFields
    last_status = Status.TRANSFER


class UserCard(GetCard):
    """Older form of GETCARD with a required Owner; its last answer is 104."""

    name = "USERCARD"
    fields = UserCardFields
    last_status = Status.TRANSFER


class Transfer(Command):
    """Ask for the keycard that GETCARD has offered; refused where there is no offer."""

    name = "TRANSFER"
    audience = Audience.CLIENTS | Audience.SERVER

    async def perform(self, asked: NoFields, session: Session) -> Outcome:
        """400: no keycard was offered."""
        raise BadRequest("No keycard was asked for")


async def _find_owner(owner: Owner, session: Session) -> WorkspaceID:
    """Find the owner of the requested keycard; the organization is named only by a domain, not by an ID.

    :raises NotFound: if there is no such ID, name or domain here, or the ID belongs to another domain.
    """
    if isinstance(owner, WorkspaceID):
        return await _find_workspace(owner, None, session)
    domain = owner if isinstance(owner, Domain) else owner.domain
    if not session.server.is_local(domain):
        raise NotFound("No such keycard owner")
    if isinstance(owner, Domain):
        return ORGANIZATION
    if isinstance(owner.id, UserID):
        return await find_workspace(session.server, owner.id, domain, session.source)
    return await _find_workspace(owner.id, domain, session)


async def _find_workspace(workspace: WorkspaceID, domain: Domain | None, session: Session) -> WorkspaceID:
    if not await session.server.resolver.is_in(workspace, domain):
        raise NotFound("No such keycard owner")
    return workspace
