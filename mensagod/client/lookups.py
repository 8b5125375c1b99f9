"""Looking up workspace IDs and keycards (spec 04, *Identity*)."""

import re

from mensagod.client.answers import required
from mensagod.client.connection import ClientConnection
from mensagod.requests.identity import GetCardFields, GetWIDFields
from mensagod.status import Status
from mensagod.values.identity import Domain, MAddress, UserID, WAddress, WorkspaceID

# A value may contain the text of a mark, but a line of an entry always has a colon before the value.
_ENTRY = re.compile(r"----- BEGIN ENTRY -----\r?\n(.*?\n)----- END ENTRY -----", re.DOTALL)


async def get_workspace_id(
    connection: ClientConnection, user_id: UserID, domain: Domain | None = None
) -> WorkspaceID:
    """Find the workspace of a user of this server.

    :param domain: a domain of the server; default: its main one.
    :raises RequestRefused: with 404 if there is no such user.
    """
    response = await connection.request("GETWID", GetWIDFields(user_id=user_id, domain=domain), Status.OK)
    return required(response, "Workspace-ID", WorkspaceID.from_text)


async def get_card(
    connection: ClientConnection,
    owner: MAddress | WAddress | WorkspaceID | Domain | None = None,
    start: int = 1,
    end: int | None = None,
) -> list[str]:
    """Fetch the entries of a keycard as text. Nothing is verified here.

    :param owner: the organization unless given.
    :param start: the index of the first entry; 0 means the current entry only.
    :param end: the index of the last entry; the current one unless given.
    :raises RequestRefused: with 404 if there is no such card or entry.
    """
    fields = GetCardFields(owner=owner, start=start, end=end)
    async with connection.turn() as turn:
        await turn.request("GETCARD", fields, Status.TRANSFER)
        # Servers that implement the older commands answer 104 here, too.
        response = await turn.request("TRANSFER", None, Status.OK, Status.TRANSFER)
    return _ENTRY.findall(required(response, "Card-Data", str))
