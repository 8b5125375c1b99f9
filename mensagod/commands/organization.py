"""ORGREVOKE: the administrator's client revokes the organization's keys (spec 04, *Identity*)."""

from attrs import frozen
from twisted.logger import Logger
from twisted.plugin import IPlugin
from zope.interface import implementer

from mensagod.commands.interfaces import ICommand
from mensagod.commands.passwords import require_password
from mensagod.commands.policy import Administrator
from mensagod.crypto.passwords import parse_password_hash
from mensagod.errors import Forbidden, ServerUnavailable
from mensagod.organization import keycard
from mensagod.organization.keyring import KeyringFault
from mensagod.sessions.session import Outcome, Session
from mensagod.wire.messages import Request, Response
from mensagod.wire.status import Status

_log = Logger(namespace="mensagod.commands.organization")


@implementer(IPlugin, ICommand)
@frozen
class OrgRevoke:
    """Revoke the organization's current entry and keys, and begin anew with others."""

    name = "ORGREVOKE"
    demands = (Administrator(),)

    async def perform(self, request: Request, session: Session) -> Outcome:
        """Answer 200 with ``Index``, ``pvk`` and ``ek`` for DNS; 403 unless it is switched on."""
        password = request.required("Password-Hash", parse_password_hash)
        server = session.server
        if not server.config.security.remote_orgrevoke:
            raise Forbidden("Only the operator revokes the organization's keys: mensagod org revoke")
        await require_password(password, session)
        current = await server.database.read(keycard.current_entry)
        try:
            change = await server.keys.change(keycard.revoke, current.hash)
        except keycard.Overtaken:
            raise ServerUnavailable("Somebody else has just changed the organization's keycard") from None
        except KeyringFault as fault:
            _log.critical("ORGREVOKE cannot be done: {fault}", fault=str(fault), event="keys_faulty")
            raise ServerUnavailable("The organization.key of this server is not the right one") from None
        _log.warn(
            "the organization's keys were revoked by its administrator's client",
            event="organization_revoked",
            session=session.id,
            address=session.host,
            index=change.entry.index,
        )
        keys = {"pvk": str(change.entry.primary_key), "ek": str(change.entry.encryption_key)}
        return Response(Status.OK, data={"Index": str(change.entry.index), **keys})
