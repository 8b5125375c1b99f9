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
    :param time: a Unix time; only files from then on, by their names.
    """
    response = await connection.request("LIST", ListFields(path=path, time=time or 0), Status.OK)
    return optional(response, "Files", _file_names) or []


async def select(connection: ClientConnection, path: ServerPath) -> None:
    """Make a directory the current one."""
    await connection.request("SELECT", SelectFields(path=path), Status.OK)


async def exists(connection: ClientConnection, path: ServerPath) -> bool:
    """Tell whether a file or directory is there.

    :raises RequestRefused: if the client has no right to know, or another refusal than 404.
    """
    response = await connection.request("EXISTS", ExistsFields(path=path), Status.OK, Status.NOT_FOUND)
    return response.status == Status.OK


async def download(
    connection: ClientConnection, path: ServerPath, offset: int = 0, max_size: int = MAX_IN_MEMORY
) -> bytes:
    """Fetch a file, or what stands in it from ``offset`` on.

    :param max_size: how many bytes are taken into memory.
    :raises UnexpectedAnswer: if they are more; the connection ends.
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
    """Fetch a file into ``sink``, as it comes; give the number of bytes.

    :param sink: has ``write``; if it is an :class:`~twisted.internet.interfaces.IConsumer` it can slow down
        the server.
    :param max_size: how many bytes are taken.
    :raises UnexpectedAnswer: if they are more, or fewer than none; the connection ends.
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
    """Read a list of names."""
    return [FileName.from_text(name) for name in text.split(",")]
