"""The checks of a login, step by step, and the login as one change of state (spec 04, *Logging in*)."""

import re
from hmac import compare_digest
from os import urandom
from typing import Final
from uuid import UUID

from attrs import field, frozen

from mensagod.crypto import base85
from mensagod.crypto.cryptostring import CryptoString
from mensagod.crypto.sealing import EncryptionKey, SealBroken
from mensagod.errors import (
    BadValue,
    CommandError,
    Forbidden,
    KeyFailure,
    NotFound,
    NotImplementedHere,
    StateMismatch,
    Unauthorized,
)
from mensagod.operations.parts import Parts
from mensagod.organization.keyring import Keyring
from mensagod.status import Status
from mensagod.storage import devices, logins, workspaces
from mensagod.storage.devices import DeviceStatus, Presented
from mensagod.storage.logins import Admission, LoggedIn
from mensagod.storage.workspaces import Workspace, WorkspaceStatus
from mensagod.values.identity import WorkspaceID

_CHALLENGE = re.compile(r"[0-9A-Za-z!#$%&()*+\-;<=>?@^_`{|}~]{40}")
_CHALLENGE_BYTES: Final = 32

_MAX_CHALLENGE: Final = 512
"""The longest sealed challenge that is opened, in characters; no valid one is longer."""

_UNOPENED = "The challenge cannot be opened"


class Pending(CommandError):
    """The workspace or the device waits for approval."""

    status = Status.PENDING


class WorkspaceUnavailable(CommandError):
    """The workspace is disabled or suspended."""

    status = Status.UNAVAILABLE


class PaymentRequired(CommandError):
    """The workspace is not paid for."""

    status = Status.PAYMENT_REQUIRED


class RegistrationIncomplete(CommandError):
    """The workspace is only preregistered."""

    status = Status.PROCESS_INCOMPLETE


async def find_account(parts: Parts, workspace: WorkspaceID) -> Workspace:
    """Find a workspace that may log in; an archived one is reported as unknown.

    :raises CommandError: if it does not exist, or its status does not allow a login.
    """
    found = await parts.database.read(workspaces.find_workspace, workspace)
    if found is None:
        raise NotFound("No such workspace")
    refusal = _refusal(found.status)
    if refusal is not None:
        raise refusal
    return found


async def open_challenge(parts: Parts, sealed: CryptoString) -> str:
    """Open a sealed challenge; other sealed texts are not opened, so the server is no decryption oracle.

    :raises KeyFailure: if it cannot be opened, or its text has another form; the error is the same in both
        cases.
    """
    keyring = parts.keyring
    try:
        return _open(keyring, sealed)
    except KeyFailure:
        newer = await parts.keys.newer(keyring)
        if newer is None:
            raise
        return _open(newer, sealed)


def _open(keyring: Keyring, sealed: CryptoString) -> str:
    if len(sealed.data) > _MAX_CHALLENGE:
        raise KeyFailure(_UNOPENED)
    try:
        challenge = keyring.open(sealed).decode("ascii")
        if _CHALLENGE.fullmatch(challenge) and len(base85.decode(challenge)) == _CHALLENGE_BYTES:
            return challenge
    except (SealBroken, UnicodeDecodeError, BadValue):
        pass
    raise KeyFailure(_UNOPENED)


@frozen
class DeviceChallenge:
    """A random text that only one device can open.

    :ivar sealed: the text, sealed to the device's key.
    """

    sealed: CryptoString
    _text: str = field(repr=False)

    @classmethod
    def make(cls, key: EncryptionKey) -> "DeviceChallenge":
        """Make a new challenge for the device with this key."""
        text = base85.encode(urandom(_CHALLENGE_BYTES))
        return cls(key.seal(text.encode("ascii")), text)

    def is_answered_by(self, response: str) -> bool:
        """Tell whether ``response`` is the opened challenge."""
        return compare_digest(response.encode(), self._text.encode())


async def check_device(parts: Parts, workspace: WorkspaceID, device: Presented) -> None:
    """Check that a device may log in, before it is challenged.

    :raises CommandError: if its status, its key, or the lack of approval does not allow that.
    """
    known = await parts.database.read(devices.find_device, workspace, device.id)
    if known is None:
        if await parts.database.read(devices.has_trusted, workspace):
            raise NotImplementedHere("New devices cannot be approved by this server yet")
        return
    if known.status is DeviceStatus.BLOCKED:
        raise Forbidden("This device is blocked", close=True)
    if known.status is DeviceStatus.PENDING:
        raise Pending("This device waits for approval")
    if not compare_digest(str(known.key), str(device.key)):
        raise Unauthorized("Not the key of this device")


async def log_in(parts: Parts, admission: Admission, process: UUID) -> LoggedIn:
    """Log in a device that has answered its challenge, as one change of state.

    :param process: the ID of the server process that has the session.
    :raises CommandError: if the workspace or the device may not log in any more.
    """
    try:
        return await parts.database.run(logins.log_in, admission, process, parts.domain)
    except logins.NotAdmitted as error:
        raise _refusal(error.status) or StateMismatch from None


def _refusal(status: WorkspaceStatus) -> CommandError | None:
    """Give the error for a login to a workspace of this status; ``None`` if it may log in."""
    if status in {WorkspaceStatus.DISABLED, WorkspaceStatus.SUSPENDED}:
        return WorkspaceUnavailable(f"This workspace is {status}")
    if status is WorkspaceStatus.PENDING:
        return Pending("This workspace waits for the administrator's approval")
    if status is WorkspaceStatus.UNPAID:
        return PaymentRequired("This workspace waits for its payment")
    if status is WorkspaceStatus.PREREGISTERED:
        return RegistrationIncomplete("This workspace has not been registered yet")
    if status is WorkspaceStatus.ARCHIVED:
        return NotFound("No such workspace")
    return None
