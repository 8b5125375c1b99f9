"""ORGREVOKE: revoking the organization's keys from the administrator's client (spec 04, *Identity*)."""

from twisted.logger import Logger

from mensagod.commands.audience import Audience
from mensagod.commands.interfaces import Command
from mensagod.errors import Forbidden
from mensagod.operations.organization_keys import revoke_organization
from mensagod.operations.passwords import require_password
from mensagod.requests.passwords import PasswordFields
from mensagod.sessions.outcomes import Outcome
from mensagod.sessions.session import Session, member_of
from mensagod.status import Status
from mensagod.wire.messages import Response

_log = Logger(namespace="mensagod.commands.organization")


class OrgRevoke(Command):
    """Revoke the current entry of the organization's keycard; the new entry has new keys."""

    name = "ORGREVOKE"
    audience = Audience.ADMINISTRATOR
    fields = PasswordFields

    async def perform(self, asked: PasswordFields, session: Session) -> Outcome:
        """200 with ``Index`` of the new entry, and its keys for DNS, ``pvk`` and ``ek``.

        401 for a wrong password; 403 unless ``security.remote_orgrevoke`` is on.
        """
        server = session.server
        if not server.config.security.remote_orgrevoke:
            raise Forbidden("Only the operator revokes the organization's keys: mensagod org revoke")
        workspace = member_of(session).workspace
        await require_password(server, session, workspace, asked.password_hash)
        entry = await revoke_organization(server)
        _log.warn(
            "the organization's keys were revoked by its administrator's client",
            event="organization_revoked",
            session=session.id,
            address=session.host,
            index=entry.index,
        )
        keys = {"pvk": str(entry.primary_key), "ek": str(entry.encryption_key)}
        return Response(Status.OK, data={"Index": str(entry.index), **keys})
