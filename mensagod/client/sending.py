"""Giving messages to the server (spec 04, *Sending*)."""

from mensagod.client.answers import required
from mensagod.client.connection import ClientConnection
from mensagod.requests.sending import SendFields
from mensagod.status import Status
from mensagod.values.identity import Domain
from mensagod.values.paths import FileName


async def send(connection: ClientConnection, message: str, domain: Domain) -> FileName:
    """Send a message; once this returns the server will deliver it or report that it cannot.

    :param message: an envelope, see :func:`mensagod.delivery.envelopes.seal_message`; at most 25,000,000
        characters.
    :param domain: the recipient's.
    :return: the name of the file in the directory of outgoing messages, by which it can be taken back.
    """
    response = await connection.request("SEND", SendFields(message=message, domain=domain), Status.OK)
    return required(response, "FileName", FileName.from_text)
