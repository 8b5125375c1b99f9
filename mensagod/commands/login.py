"""LOGIN, PASSWORD, DEVICE: the three steps of a login (spec 04, *Logging in*)."""

from twisted.logger import Logger

from mensagod.commands.audience import Audience
from mensagod.commands.demands import AtStage
from mensagod.commands.interfaces import Command
from mensagod.errors import AuthenticationFailure, CommandError, Unauthorized
from mensagod.operations.logins import (
    DeviceChallenge,
    check_device,
    find_account,
    log_in,
    open_challenge,
)
from mensagod.operations.passwords import prove_password
from mensagod.requests.login import DeviceFields, DeviceResponseFields, LoginFields
from mensagod.requests.passwords import PasswordFields
from mensagod.sessions.login import Event, Stage
from mensagod.sessions.outcomes import Outcome
from mensagod.sessions.session import Session
from mensagod.sessions.who import Member
from mensagod.status import Status
from mensagod.storage.devices import Presented
from mensagod.storage.logins import Admission
from mensagod.storage.workspaces import Credentials
from mensagod.values.paths import ServerPath
from mensagod.wire.messages import Response

_log = Logger(namespace="mensagod.commands.login")


class Login(Command):
    """Begin a login: name the workspace, and have the server prove that it has the organization's key."""

    name = "LOGIN"
    audience = Audience.STRANGER
    demands = (AtStage(Stage.FRESH),)
    fields = LoginFields

    async def perform(self, asked: LoginFields, session: Session) -> Outcome:
        """100 with ``Response``, the opened challenge.

        It also has the values that the client gave at registration: ``Password-Algorithm``,
        ``Password-Salt``, ``Password-Parameters``.

        101, 406, 407 or 416 depending on the status of the workspace; 404 for an unknown workspace; 306 if
        the challenge cannot be opened or is malformed.
        """
        account = await find_account(session.server, asked.workspace)
        challenge = await open_challenge(session.server, asked.challenge)
        session.advance(session.login.name(account.id, account.domain))
        credentials = account.credentials or Credentials("")
        return Response(
            Status.CONTINUE,
            data={
                "Response": challenge,
                "Password-Algorithm": credentials.algorithm,
                "Password-Salt": credentials.salt,
                "Password-Parameters": credentials.parameters,
            },
        )


class Password(Command):
    """Prove knowledge of the password."""

    name = "PASSWORD"
    audience = Audience.STRANGER
    demands = (AtStage(Stage.NAMED),)
    fields = PasswordFields

    async def perform(self, asked: PasswordFields, session: Session) -> Outcome:
        """100; 402 after a delay for a wrong password, and the login starts over."""
        server, (workspace, _) = session.server, session.login.named
        stored = await prove_password(server, session, workspace, asked.password_hash)
        if stored is None:
            session.advance(session.login.after(Event.PASSWORD_WRONG))
            raise AuthenticationFailure("Wrong password")
        session.advance(session.login.prove(stored))
        return Response(Status.CONTINUE)


class Device(Command):
    """Authenticate the device by its key; then the session is logged in."""

    name = "DEVICE"
    audience = Audience.STRANGER
    demands = (AtStage(Stage.PROVEN),)
    fields = DeviceFields
    more_fields = (DeviceResponseFields,)

    async def perform(self, asked: DeviceFields, session: Session) -> Outcome:
        """100 with ``Challenge``, sealed to the device's key; then 200 with ``Is-Admin``.

        401 for a wrong key or response; 403 for a blocked device; 101 for a pending device; 301 for an
        unknown device if the workspace has others.
        """
        workspace, _ = session.login.named
        given = asked.device
        device = Presented(given.id, given.key.public, given.info, session.host)
        await check_device(session.server, workspace, device)
        challenge = DeviceChallenge.make(given.key)
        again = await session.again(
            Response(Status.CONTINUE, data={"Challenge": str(challenge.sealed)}), DeviceResponseFields
        )
        same = again.device.id == given.id and again.device.key == given.key
        if not same or not challenge.is_answered_by(again.response):
            session.advance(session.login.after(Event.DEVICE_REFUSED))
            raise Unauthorized("Wrong response to the device challenge")
        return await _enter(session, device)


async def _enter(session: Session, device: Presented) -> Outcome:
    """Log the device in, and make the session that of a member."""
    server, (workspace, domain, password) = session.server, session.login.proven
    admission = Admission(workspace, device, password)
    try:
        admitted = await log_in(server, admission, server.sessions.process)
    except CommandError as refusal:
        if refusal.status is not Status.SERVER_UNAVAILABLE:
            session.advance(session.login.after(Event.DEVICE_REFUSED))
        raise
    if admitted.elsewhere:
        _log.warn(
            "device {device} is logged in twice",
            device=str(device.id),
            workspace=str(workspace),
            session=session.id,
            address=session.host,
            others=admitted.elsewhere,
        )
    session.enter(
        Member(
            workspace=workspace,
            domain=domain,
            device=device.id,
            is_admin=admitted.is_admin,
            directory=ServerPath.workspace_root(workspace),
            session=admission.session,
            seen=admitted.last_update,
            # Other devices may have changed something before the session could be notified.
            stale=True,
            last_event=admitted.last_event,
        )
    )
    return Response(Status.OK, data={"Is-Admin": str(admitted.is_admin)})
