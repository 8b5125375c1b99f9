"""PREREG and REGCODE: accounts that the administrator makes and their owners complete (spec 04)."""

from attrs import frozen
from twisted.internet.task import deferLater
from twisted.plugin import IPlugin
from zope.interface import implementer

from mensagod.commands.fields import NewDevice, NewPassword
from mensagod.commands.interfaces import ICommand
from mensagod.commands.policy import Administrator
from mensagod.crypto.passwords import make_code, parse_code
from mensagod.errors import BadRequest, BadValue, Unauthorized
from mensagod.sessions.session import Outcome, Session
from mensagod.storage import preregistrations
from mensagod.storage.devices import Presented
from mensagod.storage.preregistrations import Preregistration
from mensagod.storage.workspaces import Credentials
from mensagod.values.identity import SERVER_WORKSPACE, Domain, UserID, WorkspaceID
from mensagod.wire.messages import Request, Response
from mensagod.wire.status import Status


def parse_new_user_id(text: str) -> UserID:
    """Read a user ID that is to be given out."""
    user_id = UserID.from_text(text)
    user_id.check_grantable()
    return user_id


def parse_new_workspace(text: str) -> WorkspaceID:
    """Read a workspace ID that is to be given out; the one that stands for the server never is."""
    workspace = WorkspaceID.from_text(text)
    if workspace == SERVER_WORKSPACE:
        raise BadValue("this ID stands for the server")
    return workspace


@implementer(IPlugin, ICommand)
@frozen
class Prereg:
    """Make a workspace for somebody, and the code with which they register."""

    name = "PREREG"
    demands = (Administrator(),)

    async def perform(self, request: Request, session: Session) -> Outcome:
        """Answer 200 with ``Workspace-ID``, ``Domain``, ``Reg-Code`` and ``User-ID`` if one was given."""
        server = session.server
        asked = request.optional("Workspace-ID", parse_new_workspace)
        user_id = request.optional("User-ID", parse_new_user_id)
        domain = request.optional("Domain", Domain.from_text, server.domain)
        if not server.is_local(domain):
            raise BadRequest("Domain is not one of this server's")
        code = make_code(server.config.security.diceware_wordcount)
        code_hash = await server.password_checks.run_for(session, server.hasher.hash, code)
        workspace = asked or WorkspaceID.random()
        await server.database.run(preregistrations.preregister, workspace, user_id, domain, code_hash)
        data = {"Workspace-ID": str(workspace), "Domain": str(domain), "Reg-Code": code}
        if user_id is not None:
            data["User-ID"] = str(user_id)
        return Response(Status.OK, data=data)


@implementer(IPlugin, ICommand)
@frozen
class Regcode:
    """Complete an account with the code that the administrator gave."""

    name = "REGCODE"
    demands = ()

    async def perform(self, request: Request, session: Session) -> Outcome:
        """Answer 201 with ``Workspace-ID``, ``User-ID`` and ``Domain``."""
        server = session.server
        workspace = request.optional("Workspace-ID", WorkspaceID.from_text)
        user_id = request.optional("User-ID", UserID.from_text)
        who = workspace or user_id
        if who is None:
            raise BadRequest("Missing required field Workspace-ID")
        domain = request.optional("Domain", Domain.from_text)
        code = request.required("Reg-Code", parse_code)
        password = NewPassword.from_request(request)
        device = NewDevice.from_request(request)
        found = await self._find(who, domain, session)
        hasher = server.hasher
        stored = found.code_hash if found is not None else hasher.dummy
        right = await server.code_checks.run_for(session, hasher.verify, stored, code)
        if found is None or not right:
            await deferLater(server.reactor, server.config.security.failure_delay_sec)
            raise Unauthorized("No such ID and registration code")
        credentials = Credentials(
            await server.code_checks.run_for(session, hasher.hash, password.hash),
            password.parameters.algorithm,
            password.parameters.salt,
            password.parameters.parameters,
        )
        name = await server.database.run(
            preregistrations.complete,
            found,
            credentials,
            Presented(device.id, device.key.public, device.info, session.host),
            server.config.global_.default_quota_bytes,
        )
        if name is None:
            raise Unauthorized("No such ID and registration code")
        return Response(
            Status.REGISTERED,
            data={"Workspace-ID": str(found.workspace), "User-ID": name, "Domain": str(found.domain)},
        )

    async def _find(
        self, who: WorkspaceID | UserID, domain: Domain | None, session: Session
    ) -> Preregistration | None:
        """Find the account that waits for its owner."""
        database = session.server.database
        if isinstance(who, UserID):
            if who.workspace is None:
                where = domain or session.server.domain
                return await database.read(preregistrations.find_by_name, who, where)
            who = who.workspace
        return await database.read(preregistrations.find_by_workspace, who, domain)
