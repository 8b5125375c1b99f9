"""Commands about the connection itself (spec 04, *Session*)."""

from mensagod.client.answers import required
from mensagod.client.connection import ClientConnection
from mensagod.requests.sessions import IdleFields
from mensagod.status import Status
from mensagod.values.times import parse_integer


async def cancel(connection: ClientConnection) -> None:
    """Cancel a pending step; an unfinished login starts again from its first step."""
    await connection.request("CANCEL", None, Status.OK)


async def idle(connection: ClientConnection, count_updates: int | None = None) -> int | None:
    """Keep the connection from being closed as idle.

    :param count_updates: a Unix time.
    :returns: the number of update records since ``count_updates``; ``None`` if that is not given.
    """
    response = await connection.request("IDLE", IdleFields(count_updates=count_updates), Status.OK)
    return None if count_updates is None else required(response, "UpdateCount", parse_integer)


async def log_out(connection: ClientConnection) -> None:
    """Log out; the connection remains open."""
    await connection.request("LOGOUT", None, Status.OK)
    connection.update_count = None
