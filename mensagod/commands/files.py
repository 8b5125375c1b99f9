"""SELECT, LIST, EXISTS, DOWNLOAD: looking at files and fetching them (spec 04, *Files*)."""

from functools import partial

from attrs import frozen
from twisted.plugin import IPlugin
from zope.interface import implementer

from mensagod.commands.interfaces import ICommand
from mensagod.commands.policy import LoggedIn, member_of
from mensagod.commands.rights import Right, require
from mensagod.errors import BadRequest, BadValue, CommandError, LimitReached, NotFound, StateMismatch
from mensagod.sessions.session import Outcome, SendRaw, Session, Step
from mensagod.storage import files, folders, queue
from mensagod.storage.store import StoredFile
from mensagod.values.paths import ServerPath
from mensagod.values.times import parse_long, parse_unix_time
from mensagod.wire.messages import Request, Response
from mensagod.wire.status import Status

MAX_LISTING = 16_000_000
"""The longest list of names in one answer, in characters."""

_SHORTEST_NAME = len("0.0.00000000-0000-0000-0000-000000000000")


def parse_directory(text: str) -> ServerPath:
    """Read the path of a directory."""
    path = ServerPath.from_text(text)
    if path.is_file:
        raise BadValue("a directory's path is needed here")
    return path


def parse_file(text: str) -> ServerPath:
    """Read the path of a file."""
    path = ServerPath.from_text(text)
    if not path.is_file:
        raise BadValue("a file's path is needed here")
    return path


def check_right(right: Right, path: ServerPath, session: Session) -> None:
    """Refuse what the session has no right to do; :class:`mensagod.errors.Forbidden`."""
    require(right, path, member_of(session), session.server.config.security.admin_file_access)


@implementer(IPlugin, ICommand)
@frozen
class Select:
    """Make a directory the current one."""

    name = "SELECT"
    demands = (LoggedIn(),)

    async def perform(self, request: Request, session: Session) -> Outcome:
        """Answer 200, or 404 if there is no such directory."""
        path = request.required("Path", parse_directory)
        check_right(Right.SELECT, path, session)
        if await session.server.database.read(folders.find_folder, path) is None:
            raise NotFound("No such directory")
        member_of(session).directory = path
        return Response(Status.OK)


@implementer(IPlugin, ICommand)
@frozen
class Exists:
    """Tell whether a file or directory is there."""

    name = "EXISTS"
    demands = (LoggedIn(),)

    async def perform(self, request: Request, session: Session) -> Outcome:
        """Answer 200 if it is, 404 if not."""
        path = request.required("Path", ServerPath.from_text)
        check_right(Right.EXISTS, path, session)
        database = session.server.database
        if path.is_file:
            found = await database.read(files.file_exists, path)
        else:
            found = await database.read(folders.find_folder, path) is not None
        if not found:
            raise NotFound("No such file or directory")
        return Response(Status.OK)


@implementer(IPlugin, ICommand)
@frozen
class List:
    """Give the names of a directory's files, all or those since a time."""

    name = "LIST"
    demands = (LoggedIn(),)

    async def perform(self, request: Request, session: Session) -> Outcome:
        """Answer 200 with ``FileCount``, and ``Files`` if there are any."""
        path = request.optional("Path", parse_directory) or member_of(session).directory
        since = request.optional("Time", parse_unix_time, 0)
        check_right(Right.LIST, path, session)
        names = await self._names(path, since, session)
        listing = ",".join(names)
        if len(listing) > MAX_LISTING:
            raise LimitReached("Too many files for one answer: ask with Time")
        data = {"FileCount": str(len(names))}
        if names:
            data["Files"] = listing
        return Response(Status.OK, data=data)

    async def _names(self, path: ServerPath, since: int, session: Session) -> list[str]:
        database = session.server.database
        # One name more than fits, so that it shows: a million names would only be thrown away.
        most = MAX_LISTING // (_SHORTEST_NAME + 1) + 2
        if path.area == "out" and path.workspace is not None and path.depth == 2:
            return await database.read(queue.list_outgoing, path.workspace, since, most)
        names = await database.read(files.list_files, path, since, most)
        if names is None:
            raise NotFound("No such directory")
        return names


@implementer(IPlugin, ICommand)
@frozen
class Download:
    """Fetch a file, in two steps: its size, then its bytes."""

    name = "DOWNLOAD"
    demands = (LoggedIn(),)

    async def perform(self, request: Request, session: Session) -> Outcome:
        """Answer 100 with ``Size``, and wait for the request that asks for the data."""
        if request.has("Size"):
            raise StateMismatch  # the second step, too late
        path = request.required("Path", parse_file)
        offset = request.optional("Offset", parse_long, 0)
        check_right(Right.DOWNLOAD, path, session)
        server = session.server
        if not await server.database.read(files.file_exists, path):
            raise NotFound("No such file")
        try:
            # Open from now on, so that a file deleted meanwhile is still served to its end.
            stored = await server.files.run(server.store.open, path)
        except FileNotFoundError:
            if await server.database.read(files.file_exists, path):
                # Nobody deleted it meanwhile: its content is lost, which must not go unnoticed.
                raise
            raise NotFound("No such file") from None
        try:
            return self._offer(stored, offset, session)
        except CommandError:
            stored.close()
            raise

    def _offer(self, stored: StoredFile, offset: int, session: Session) -> Response:
        if offset > stored.size:
            raise BadRequest("Offset is beyond the end of the file")
        stored.seek(offset)
        send = partial(self._send, stored, stored.size - offset)
        session.expect(Step("DOWNLOAD", ("Size",), send, stored.close))
        return Response(Status.CONTINUE, data={"Size": str(stored.size)})

    async def _send(self, stored: StoredFile, left: int, request: Request, session: Session) -> Outcome:
        """Send the data; the first request's path and offset count."""
        return SendRaw(stored, left)
