"""LOGIN, PASSWORD, DEVICE: the three steps of a login (spec 04, *Logging in*)."""

import re
from functools import partial
from hmac import compare_digest
from os import urandom

from attrs import frozen
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.plugin import IPlugin
from zope.interface import implementer

from mensagod.commands.fields import NewDevice
from mensagod.commands.interfaces import ICommand
from mensagod.commands.policy import LoggedOut
from mensagod.crypto import base85
from mensagod.crypto.cryptostring import CryptoString
from mensagod.crypto.passwords import parse_password_hash
from mensagod.crypto.sealing import CURVE25519, SealBroken
from mensagod.errors import (
    AuthenticationFailure,
    BadValue,
    CommandError,
    Forbidden,
    KeyFailure,
    NotFound,
    NotImplementedHere,
    StateMismatch,
    Unauthorized,
)
from mensagod.sessions.session import Attempt, Member, Outcome, Session, Step
from mensagod.storage import devices, logins, workspaces
from mensagod.storage.devices import DeviceStatus, Presented
from mensagod.storage.logins import Admission
from mensagod.storage.workspaces import Credentials, Workspace, WorkspaceStatus
from mensagod.values.identity import WorkspaceID
from mensagod.values.paths import ServerPath
from mensagod.wire.messages import Request, Response
from mensagod.wire.status import Status

_log = Logger(namespace="mensagod.commands.login")

_CHALLENGE = re.compile(r"[0-9A-Za-z!#$%&()*+\-;<=>?@^_`{|}~]{40}")
_CHALLENGE_BYTES = 32

_MAX_CHALLENGE = 512
"""No sealed challenge is longer, in characters; what is longer is not even tried."""

_UNOPENED = "The challenge cannot be opened"


class Pending(CommandError):
    """The workspace or the device waits for somebody's decision."""

    status = Status.PENDING


class WorkspaceUnavailable(CommandError):
    """The workspace may not log in now."""

    status = Status.UNAVAILABLE


class PaymentRequired(CommandError):
    """The workspace may not log in until it is paid for."""

    status = Status.PAYMENT_REQUIRED


class RegistrationIncomplete(CommandError):
    """The workspace's owner has not registered yet."""

    status = Status.PROCESS_INCOMPLETE


def _refusal(status: WorkspaceStatus) -> CommandError | None:
    """Say what a workspace of this status hears at LOGIN; ``None`` if it may go on."""
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


def parse_login_type(text: str) -> str:
    """Read a Login-Type; there is one."""
    if text != "PLAIN":
        raise BadValue("the only login type is PLAIN")
    return text


def parse_challenge(text: str) -> CryptoString:
    """Read a sealed challenge; :class:`mensagod.errors.UnsupportedAlgorithm` if no key of ours is meant."""
    challenge = CryptoString.from_text(text)
    challenge.require([CURVE25519])
    return challenge


@implementer(IPlugin, ICommand)
@frozen
class Login:
    """Begin a login: name the workspace, and have the server prove that it is the organization's."""

    name = "LOGIN"
    demands = (LoggedOut(),)

    async def perform(self, request: Request, session: Session) -> Outcome:
        """Answer 100 with the opened challenge and what the client gave at registration."""
        if session.attempt is not None:
            raise StateMismatch
        request.required("Login-Type", parse_login_type)
        asked = request.required("Workspace-ID", WorkspaceID.from_text)
        sealed = request.required("Challenge", parse_challenge)
        workspace = await self._find(asked, session)
        challenge = _open_challenge(sealed, session)
        session.attempt = Attempt(workspace.id, workspace.domain)
        credentials = workspace.credentials or Credentials("")
        return Response(
            Status.CONTINUE,
            data={
                "Response": challenge,
                "Password-Algorithm": credentials.algorithm,
                "Password-Salt": credentials.salt,
                "Password-Parameters": credentials.parameters,
            },
        )

    async def _find(self, workspace: WorkspaceID, session: Session) -> Workspace:
        """Find a workspace that may log in; an unknown one and an archived one look the same."""
        found = await session.server.database.read(workspaces.find_workspace, workspace)
        refusal = NotFound("No such workspace") if found is None else _refusal(found.status)
        if found is None or refusal is not None:
            raise refusal or NotFound
        return found


def _open_challenge(sealed: CryptoString, session: Session) -> str:
    """Open a challenge, if it is one: the server is no oracle for other sealed texts.

    :raises KeyFailure: the same for what does not open and for what opens to something else.
    """
    if len(sealed.data) > _MAX_CHALLENGE:
        raise KeyFailure(_UNOPENED)
    try:
        challenge = session.server.keyring.open(sealed).decode("ascii")
        if _CHALLENGE.fullmatch(challenge) and len(base85.decode(challenge)) == _CHALLENGE_BYTES:
            return challenge
    except (SealBroken, UnicodeDecodeError, BadValue):
        pass
    raise KeyFailure(_UNOPENED)


@implementer(IPlugin, ICommand)
@frozen
class Password:
    """Prove that the user knows the password."""

    name = "PASSWORD"
    demands = (LoggedOut(),)

    async def perform(self, request: Request, session: Session) -> Outcome:
        """Answer 100, or 402 after a delay; then the login starts over."""
        attempt = session.attempt
        if attempt is None or attempt.password_checked:
            raise StateMismatch
        password = request.required("Password-Hash", parse_password_hash)
        server = session.server
        found = await server.database.read(workspaces.find_workspace, attempt.workspace)
        hasher = server.hasher
        stored = found.credentials.hash if found is not None and found.credentials else hasher.dummy
        if not await server.password_checks.run_for(session, hasher.verify, stored, password):
            session.attempt = None
            await deferLater(server.reactor, server.config.security.failure_delay_sec)
            raise AuthenticationFailure("Wrong password")
        if hasher.needs_rehash(stored):
            fresh = await server.password_checks.run_for(session, hasher.hash, password)
            await server.database.run(workspaces.replace_password_hash, attempt.workspace, stored, fresh)
        attempt.password_checked = True
        return Response(Status.CONTINUE)


@implementer(IPlugin, ICommand)
@frozen
class Device:
    """Prove which of the workspace's devices this is; then the session is logged in."""

    name = "DEVICE"
    demands = (LoggedOut(),)

    async def perform(self, request: Request, session: Session) -> Outcome:
        """Answer 100 with a challenge sealed to the device's key, and wait for the response."""
        attempt = session.attempt
        if attempt is None or not attempt.password_checked or request.has("Response"):
            raise StateMismatch
        given = NewDevice.from_request(request)
        known = await session.server.database.read(devices.find_device, attempt.workspace, given.id)
        if known is None:
            if await session.server.database.read(devices.has_trusted, attempt.workspace):
                raise NotImplementedHere("New devices cannot be approved by this server yet")
        else:
            _check_known(known, given)
        challenge = base85.encode(urandom(_CHALLENGE_BYTES))
        answer = partial(self._finish, attempt, given, challenge)
        session.expect(Step("DEVICE", ("Device-ID", "Device-Key", "Response"), answer))
        sealed = given.key.seal(challenge.encode("ascii"))
        return Response(Status.CONTINUE, data={"Challenge": str(sealed)})

    async def _finish(
        self, attempt: Attempt, given: NewDevice, challenge: str, request: Request, session: Session
    ) -> Outcome:
        """Check the response, and log in."""
        again = NewDevice.from_request(request)
        response = request.required("Response", str)
        same = again.id == given.id and again.key == given.key
        if not same or not compare_digest(response.encode(), challenge.encode()):
            session.attempt = None
            raise Unauthorized("Wrong response to the device challenge")
        return await _log_in(attempt, given, session)


def _check_known(known: devices.Device, given: NewDevice) -> None:
    if known.status is DeviceStatus.BLOCKED:
        raise Forbidden("This device is blocked", close=True)
    if known.status is DeviceStatus.PENDING:
        raise Pending("This device waits for approval")
    if not compare_digest(str(known.key), str(given.key.public)):
        raise Unauthorized("Not the key of this device")


async def _log_in(attempt: Attempt, given: NewDevice, session: Session) -> Outcome:
    """Make the session the device's, as one change of state in the database."""
    server = session.server
    device = Presented(given.id, given.key.public, given.info, session.host)
    login = Admission(attempt.workspace, device)
    try:
        result = await server.database.run(logins.log_in, login, server.sessions.process, server.domain)
    except logins.NotAdmitted as error:
        session.attempt = None
        raise _refusal(error.status) or StateMismatch from None
    if result.elsewhere:
        _log.warn(
            "device {device} is logged in twice",
            device=str(given.id),
            workspace=str(attempt.workspace),
            session=session.id,
            address=session.host,
            others=result.elsewhere,
        )
    session.enter(
        Member(
            workspace=attempt.workspace,
            domain=attempt.domain,
            device=given.id,
            is_admin=result.is_admin,
            directory=ServerPath.workspace_root(attempt.workspace),
            session=login.session,
            seen=result.last_update,
            # Others may have changed something since, and could wake nobody yet.
            stale=True,
            last_event=result.last_event,
        )
    )
    return Response(Status.OK, data={"Is-Admin": str(result.is_admin)})
