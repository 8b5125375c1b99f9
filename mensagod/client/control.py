"""Commands about the connection itself (spec 04, *Session*)."""

from mensagod.client.answers import required
from mensagod.client.connection import ClientConnection
from mensagod.requests.sessions import IdleFields
from mensagod.status import Status
from mensagod.values.times import parse_integer


async def cancel(connection: ClientConnection) -> None:
    """Give up a pending step; a login that has not finished starts over."""
    await connection.request("CANCEL", None, Status.OK)


async def idle(connection: ClientConnection, count_updates: int | None = None) -> int | None:
    """Show that the client is there.

    :param count_updates: a Unix time; if given, the number of update records from then on is the result.
    """
    response = await connection.request("IDLE", IdleFields(count_updates=count_updates), Status.OK)
    return None if count_updates is None else required(response, "UpdateCount", parse_integer)


async def log_out(connection: ClientConnection) -> None:
    """End the login; the connection stays."""
    await connection.request("LOGOUT", None, Status.OK)
    connection.update_count = None
