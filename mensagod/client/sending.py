"""Sending messages (spec 04, *Sending*)."""

from mensagod.client.answers import required
from mensagod.client.connection import ClientConnection
from mensagod.requests.sending import SendFields
from mensagod.status import Status
from mensagod.values.identity import Domain
from mensagod.values.paths import FileName


async def send(connection: ClientConnection, message: str, domain: Domain) -> FileName:
    """Send a message. After this returns, the server delivers it, or reports that it cannot.

    :param message: an envelope, see :func:`mensagod.delivery.envelopes.seal_message`; at most 25,000,000
        characters.
    :param domain: the recipient's domain.
    :return: the name of the message's file in the directory of outgoing messages.
    """
    response = await connection.request("SEND", SendFields(message=message, domain=domain), Status.OK)
    return required(response, "FileName", FileName.from_text)
