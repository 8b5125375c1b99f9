"""Logging in: workspace, password, device, and a proof from each side (spec 04, *Logging in*)."""

import base64
import hmac
import os

from attrs import frozen

from mensagod.client.answers import optional, required
from mensagod.client.connection import ClientConnection, Turn
from mensagod.client.devices import DeviceCredentials
from mensagod.client.errors import ServerNotProven, UnexpectedAnswer
from mensagod.crypto.cryptostring import CryptoString
from mensagod.crypto.sealing import EncryptionKey
from mensagod.errors import BadValue
from mensagod.requests.login import PLAIN, DeviceFields, DeviceResponseFields, LoginFields
from mensagod.requests.passwords import PasswordFields
from mensagod.status import Status
from mensagod.values.identity import WorkspaceID
from mensagod.wire.messages import Response

CHALLENGE_SIZE = 32


@frozen
class LoginResult:
    """The server's answer at the end of a login.

    :ivar key_info: the keys of the user, sealed to this device, if another device has just approved it.
    """

    is_admin: bool
    key_info: CryptoString | None


async def log_in(
    connection: ClientConnection,
    workspace: WorkspaceID,
    password_hash: str,
    device: DeviceCredentials,
    organization_key: CryptoString,
) -> LoginResult:
    """Log in to a workspace.

    :param organization_key: the ``Encryption-Key`` of the organization. The server proves its identity by
        opening a challenge that is sealed to this key.
    :raises RequestRefused: if a step is refused. The statuses 105 and 101 say that another device has to
        approve this one; :func:`present_device` may then be tried again on the same connection.
    :raises ServerNotProven: if the server cannot open the challenge; the connection ends.
    """
    async with connection.turn() as turn:
        await _present_workspace(turn, workspace, organization_key)
        await turn.request("PASSWORD", PasswordFields(password_hash=password_hash), Status.CONTINUE)
        return await _present_device(turn, device)


async def present_device(connection: ClientConnection, device: DeviceCredentials) -> LoginResult:
    """Try the last step of a login again, after the server said that the device waits for approval.

    :raises RequestRefused: if it still waits (101), or is blocked.
    """
    async with connection.turn() as turn:
        return await _present_device(turn, device)


async def _present_workspace(turn: Turn, workspace: WorkspaceID, organization_key: CryptoString) -> None:
    """Let the server prove that it has the key of the organization."""
    challenge = base64.b85encode(os.urandom(CHALLENGE_SIZE))
    sealed = EncryptionKey.from_cryptostring(organization_key).seal(challenge)
    fields = LoginFields(login_type=PLAIN, workspace=workspace, challenge=sealed)
    response = await turn.request("LOGIN", fields, Status.CONTINUE)
    if not hmac.compare_digest(response.data.get("Response", "").encode(), challenge):
        raise ServerNotProven("The server did not open the challenge")


async def _present_device(turn: Turn, device: DeviceCredentials) -> LoginResult:
    """Prove that the device has its key."""
    response = await turn.request("DEVICE", DeviceFields(device=device.presented), Status.CONTINUE)
    fields = DeviceResponseFields(device=device.presented, response=_opened(response, device))
    response = await turn.request("DEVICE", fields, Status.OK, Status.APPROVED)
    return LoginResult(
        required(response, "Is-Admin", _parse_flag),
        optional(response, "Key-Info", CryptoString.from_text),
    )


def _opened(response: Response, device: DeviceCredentials) -> str:
    """Open the server's challenge."""
    challenge = required(response, "Challenge", CryptoString.from_text)
    try:
        text = device.keys.open(challenge).decode("ascii")
        fresh = len(base64.b85decode(text)) == CHALLENGE_SIZE
    except (BadValue, ValueError) as error:
        raise UnexpectedAnswer("The server's challenge does not open") from error
    if not fresh:
        # Otherwise a malicious server could let the device open texts that others have sealed to it.
        raise UnexpectedAnswer("The server's challenge is not 32 random bytes")
    return text


def _parse_flag(text: str) -> bool:
    """Read ``True`` or ``False``."""
    flags = {"true": True, "false": False}
    try:
        return flags[text.lower()]
    except KeyError as error:
        raise BadValue("Neither True nor False") from error
