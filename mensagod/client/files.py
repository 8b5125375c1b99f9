"""Directories and files of a workspace (spec 04, *Files*)."""

from io import BytesIO

from mensagod.client.answers import optional, required
from mensagod.client.connection import ClientConnection
from mensagod.client.errors import UnexpectedAnswer
from mensagod.client.expectations import Sink
from mensagod.requests.files import (
    DownloadDataFields,
    DownloadFields,
    ExistsFields,
    ListFields,
    SelectFields,
)
from mensagod.status import Status
from mensagod.values.paths import FileName, ServerPath
from mensagod.values.times import parse_long

MAX_IN_MEMORY = 64 * 1024 * 1024


async def list_files(
    connection: ClientConnection, path: ServerPath | None = None, time: int | None = None
) -> list[FileName]:
    """List the files of a directory.

    :param path: the current directory unless given.
    :param time: a Unix time; list only files with this or a later time in their names.
    """
    response = await connection.request("LIST", ListFields(path=path, time=time or 0), Status.OK)
    return optional(response, "Files", _file_names) or []


async def select(connection: ClientConnection, path: ServerPath) -> None:
    """Make a directory the current one."""
    await connection.request("SELECT", SelectFields(path=path), Status.OK)


async def exists(connection: ClientConnection, path: ServerPath) -> bool:
    """Tell whether a file or directory exists.

    :raises RequestRefused: if the server refuses the request with a status other than 404.
    """
    response = await connection.request("EXISTS", ExistsFields(path=path), Status.OK, Status.NOT_FOUND)
    return response.status == Status.OK


async def download(
    connection: ClientConnection, path: ServerPath, offset: int = 0, max_size: int = MAX_IN_MEMORY
) -> bytes:
    """Download a file into memory, from ``offset`` to its end.

    :param max_size: the most bytes to download.
    :raises UnexpectedAnswer: if there are more; the connection ends.
    """
    content = BytesIO()
    await download_to(connection, path, content, offset, max_size)
    return content.getvalue()


async def download_to(
    connection: ClientConnection,
    path: ServerPath,
    sink: Sink,
    offset: int = 0,
    max_size: int | None = None,
) -> int:
    """Download a file into ``sink``, in pieces; give the number of bytes.

    :param sink: has ``write``; if it is an :class:`~twisted.internet.interfaces.IConsumer` it can slow down
        the server.
    :param max_size: the most bytes to download.
    :raises UnexpectedAnswer: if there are more, or if the file ends before ``offset``; the connection ends.
    """
    async with connection.turn() as turn:
        response = await turn.request("DOWNLOAD", DownloadFields(path=path, offset=offset), Status.CONTINUE)
        size = required(response, "Size", parse_long)
        missing = size - offset
        if missing < 0 or (max_size is not None and missing > max_size):
            raise UnexpectedAnswer(f"The file has {size} bytes")
        await turn.receive("DOWNLOAD", DownloadDataFields(size=str(size)), missing, sink)
    return missing


def _file_names(text: str) -> list[FileName]:
    """Parse a list of names."""
    return [FileName.from_text(name) for name in text.split(",")]
