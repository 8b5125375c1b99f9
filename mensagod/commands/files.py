"""SELECT, LIST, EXISTS, DOWNLOAD: finding and downloading files (spec 04, *Files*)."""

from collections.abc import AsyncIterator

from attrs import evolve

from mensagod.commands.audience import Audience
from mensagod.commands.interfaces import Command
from mensagod.errors import NotFound
from mensagod.operations.files import exists, list_names, open_file, require_directory
from mensagod.requests.files import (
    DownloadDataFields,
    DownloadFields,
    ExistsFields,
    ListFields,
    SelectFields,
)
from mensagod.sessions.outcomes import Outcome
from mensagod.sessions.session import Session, member_of
from mensagod.status import Status
from mensagod.wire.messages import LongResponse, Response

AT_ONCE = 64 * 1024
"""A longer list of names, in characters, is sent piece by piece."""


class Select(Command):
    """Set the current directory."""

    name = "SELECT"
    audience = Audience.MEMBER
    fields = SelectFields

    async def perform(self, asked: SelectFields, session: Session) -> Outcome:
        """200; 404 if there is no such directory."""
        member = member_of(session)
        await require_directory(session.server, member, asked.path)
        member.directory = asked.path
        return Response(Status.OK)


class Exists(Command):
    """Tell whether a file or directory exists."""

    name = "EXISTS"
    audience = Audience.MEMBER
    fields = ExistsFields

    async def perform(self, asked: ExistsFields, session: Session) -> Outcome:
        """200 if it exists, 404 if not."""
        if not await exists(session.server, member_of(session), asked.path):
            raise NotFound("No such file or directory")
        return Response(Status.OK)


class List(Command):
    """List the names of a directory's files: all, or those since a time."""

    name = "LIST"
    audience = Audience.MEMBER
    fields = ListFields

    async def perform(self, asked: ListFields, session: Session) -> Outcome:
        """200 with ``FileCount``, and ``Files`` if there are any.

        404 for an unknown directory; 414 if the answer would be too long.
        """
        member = member_of(session)
        listing = await list_names(session.server, member, asked.path or member.directory, asked.time)
        answer = Response(Status.OK, data={"FileCount": str(listing.count)})
        if len(listing.names) > AT_ONCE:
            return LongResponse(answer, "Files", len(listing.names), _pieces(listing.names))
        if not listing.count:
            return answer
        return evolve(answer, data={**answer.data, "Files": listing.names})


class Download(Command):
    """Download a file, in two steps: its size, then its bytes."""

    name = "DOWNLOAD"
    audience = Audience.MEMBER
    fields = DownloadFields
    more_fields = (DownloadDataFields,)

    async def perform(self, asked: DownloadFields, session: Session) -> Outcome:
        """100 with ``Size``, then the bytes without a final answer; 404 for an unknown file."""
        opened = await open_file(session.server, member_of(session), asked.path, asked.offset)
        try:
            offer = Response(Status.CONTINUE, data={"Size": str(opened.size)})
            await session.again(offer, DownloadDataFields)
            return await session.send(opened.source, opened.size - asked.offset)
        finally:
            opened.source.close()


async def _pieces(names: str) -> AsyncIterator[str]:
    """Divide the names of files, which have no character that JSON escapes."""
    for begin in range(0, len(names), AT_ONCE):
        yield names[begin : begin + AT_ONCE]
