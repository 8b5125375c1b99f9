"""Finding, listing and opening files (spec 04, *Files*)."""

from typing import Final

from attrs import frozen

from mensagod.contents.inline import InlineContent
from mensagod.contents.interfaces import IStoredContent
from mensagod.errors import BadRequest, LimitReached, NotFound
from mensagod.operations.parts import Parts
from mensagod.operations.rights import Actor, Right, require
from mensagod.storage import files, folders, queue
from mensagod.storage.contents import Content
from mensagod.storage.listings import Listing
from mensagod.values.paths import ServerPath

MAX_LISTING = 16_000_000
"""The longest list of names that fits into one answer, in characters."""

_SHORTEST_NAME: Final = len("0.0.00000000-0000-0000-0000-000000000000")


def _check(right: Right, path: ServerPath, actor: Actor, parts: Parts) -> None:
    require(right, path, actor, admin_file_access=parts.config.security.admin_file_access)


@frozen
class OpenFile:
    """A file that is open for reading.

    :ivar size: in bytes.
    """

    size: int
    source: IStoredContent


async def require_directory(parts: Parts, actor: Actor, path: ServerPath) -> None:
    """Check that a directory exists, and that ``actor`` may select it.

    :raises mensagod.errors.Forbidden: if ``actor`` has no right to it.
    :raises NotFound: if it does not exist.
    """
    _check(Right.SELECT, path, actor, parts)
    if await parts.database.read(folders.find_folder, path) is None:
        raise NotFound("No such directory")


async def exists(parts: Parts, actor: Actor, path: ServerPath) -> bool:
    """Tell whether a file or directory exists.

    :raises mensagod.errors.Forbidden: if ``actor`` has no right to know.
    """
    _check(Right.EXISTS, path, actor, parts)
    if path.is_file:
        return await parts.database.read(files.file_exists, path)
    return await parts.database.read(folders.find_folder, path) is not None


async def list_names(parts: Parts, actor: Actor, directory: ServerPath, since: int) -> Listing:
    """List the names of a directory's files.

    :param since: Unix seconds; files whose name has an earlier time are left out.
    :raises mensagod.errors.Forbidden: if ``actor`` has no right to it.
    :raises NotFound: if the directory does not exist.
    :raises LimitReached: if the names are longer than :data:`MAX_LISTING`.
    """
    _check(Right.LIST, directory, actor, parts)
    listing = await _list(parts, directory, since)
    if len(listing.names) > MAX_LISTING:
        raise LimitReached("Too many files for one answer: ask with Time")
    return listing


async def _list(parts: Parts, path: ServerPath, since: int) -> Listing:
    # One name more than can fit is enough to detect the excess without reading all names.
    most = MAX_LISTING // (_SHORTEST_NAME + 1) + 2
    if path.area == "out" and path.workspace is not None and path.depth == 2:
        return await parts.database.read(queue.list_outgoing, path.workspace, since, most)
    listing = await parts.database.read(files.list_files, path, since, most)
    if listing is None:
        raise NotFound("No such directory")
    return listing


async def open_file(parts: Parts, actor: Actor, path: ServerPath, offset: int) -> OpenFile:
    """Open a file at ``offset``; the caller must close it.

    An open file can be read to its end, also if it is deleted meanwhile.

    :raises mensagod.errors.Forbidden: if ``actor`` has no right to it.
    :raises NotFound: if it does not exist.
    :raises BadRequest: if it is shorter than ``offset``.
    """
    _check(Right.DOWNLOAD, path, actor, parts)
    content = await parts.database.read(files.find_content, path)
    if content is None:
        raise NotFound("No such file")
    if offset > content.size:
        raise BadRequest("Offset is beyond the end of the file")
    try:
        stored = await _open(parts, content)
    except FileNotFoundError:
        if await parts.database.read(files.file_exists, path):
            # It was not deleted meanwhile: its content is lost, which must be reported as an incident.
            raise
        raise NotFound("No such file") from None
    stored.seek(offset)
    return OpenFile(content.size, stored)


async def _open(parts: Parts, content: Content) -> IStoredContent:
    if content.key is None:
        return InlineContent(content.data or b"")
    return await parts.files.run(parts.store.open, content.key, content.size)
