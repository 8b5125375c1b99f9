"""PREREG and REGCODE: the administrator preregisters an account, and its owner completes it (spec 04)."""

from mensagod.commands.audience import Audience
from mensagod.commands.interfaces import Command
from mensagod.operations.preregistration import NewAccount, Owner, complete_account, offer_account
from mensagod.requests.registration import PreregFields, RegcodeFields
from mensagod.sessions.outcomes import Outcome
from mensagod.sessions.session import Session
from mensagod.status import Status
from mensagod.storage.devices import Presented
from mensagod.values.identity import WorkspaceID
from mensagod.wire.messages import Response


class Prereg(Command):
    """Preregister an account: make a workspace, and a registration code for its owner."""

    name = "PREREG"
    audience = Audience.ADMINISTRATOR
    fields = PreregFields

    async def perform(self, asked: PreregFields, session: Session) -> Outcome:
        """200 with ``Workspace-ID``, ``Domain``, ``Reg-Code``, and ``User-ID`` if one was given.

        408 with ``Field`` for an ID that is taken.
        """
        account = NewAccount(
            workspace=asked.workspace or WorkspaceID.random(),
            user_id=asked.user_id,
            domain=asked.domain or session.server.domain,
        )
        code = await offer_account(session.server, session, account)
        data = {
            "Workspace-ID": str(account.workspace),
            "Domain": str(account.domain),
            "Reg-Code": code.text,
        }
        if account.user_id is not None:
            data["User-ID"] = str(account.user_id)
        return Response(Status.OK, data=data)


class Regcode(Command):
    """Complete a preregistered account with its registration code."""

    name = "REGCODE"
    audience = Audience.CLIENTS
    fields = RegcodeFields

    async def perform(self, asked: RegcodeFields, session: Session) -> Outcome:
        """201 with ``Workspace-ID``, ``User-ID``, ``Domain``; 401 for a wrong ID or code."""
        device = asked.device
        owner = Owner(
            code=asked.code,
            password=asked.password.hash,
            parameters=asked.password.login_parameters,
            device=Presented(device.id, device.key.public, device.info, session.host),
        )
        done = await complete_account(session.server, session, asked.who, asked.domain, owner)
        return Response(
            Status.REGISTERED,
            data={"Workspace-ID": str(done.workspace), "User-ID": done.name, "Domain": str(done.domain)},
        )
