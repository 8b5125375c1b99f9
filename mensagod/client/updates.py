"""Changes by other devices and by deliveries (spec 04, *Update notification*)."""

from typing import Self

from attrs import frozen

from mensagod.client.answers import optional, required
from mensagod.client.connection import ClientConnection
from mensagod.errors import BadValue
from mensagod.requests.files import GetUpdatesFields
from mensagod.status import Status
from mensagod.values.identity import DeviceID, RandomID
from mensagod.values.times import parse_integer, parse_unix_time


@frozen
class UpdateRecord:
    """One change.

    :ivar type: ``CREATE``, ``DELETE``, ``MKDIR``, ``RMDIR``, ``MOVE`` or ``REPLACE``.
    :ivar data: a path, or two texts with a colon between them.
    :ivar time: a Unix time.
    :ivar device: the device that made the change; the zero ID for the server.
    """

    id: RandomID
    type: str
    data: str
    time: int
    device: DeviceID

    @classmethod
    def from_text(cls, text: str) -> Self:
        """Parse a record; raise :class:`BadValue` if it is malformed."""
        try:
            id_, type_, rest = text.split(",", 2)
            data, time, device = rest.rsplit(",", 2)
        except ValueError as error:
            raise BadValue("Not five values") from error
        return cls(RandomID.from_text(id_), type_, data, parse_unix_time(time), DeviceID.from_text(device))


@frozen
class Updates:
    """Changes, the oldest first.

    :ivar remaining: how many more there are; ``None`` if the server does not say.
    """

    records: list[UpdateRecord]
    remaining: int | None


async def get_updates(connection: ClientConnection, time: int, since: RandomID | None = None) -> Updates:
    """Get the changes in a workspace.

    :param time: a Unix time; get the changes at or after it.
    :param since: the last record that the client knows; get only later changes.
    :raises RequestRefused: with 404 if the server no longer has ``since``: list all files then.
    """
    response = await connection.request("GETUPDATES", GetUpdatesFields(time=time, since=since), Status.OK)
    count = required(response, "UpdateCount", parse_integer)
    # If the count is larger than the number of fields, this fails at the first missing one.
    records = [required(response, f"Update{number}", UpdateRecord.from_text) for number in range(count)]
    return Updates(records, optional(response, "Remaining", parse_integer))
