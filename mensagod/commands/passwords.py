"""Asking a logged-in user for the password once more (spec 04, REVOKE, ORGREVOKE)."""

from twisted.internet.task import deferLater

from mensagod.commands.policy import member_of
from mensagod.errors import Unauthorized
from mensagod.sessions.session import Session
from mensagod.storage import workspaces


async def require_password(password: str, session: Session) -> None:
    """Make sure that ``password`` is that of the workspace that is logged in.

    :raises Unauthorized: after a delay, if it is not.
    """
    server = session.server
    found = await server.database.read(workspaces.find_workspace, member_of(session).workspace)
    hasher = server.hasher
    stored = found.credentials.hash if found is not None and found.credentials else hasher.dummy
    if not await server.password_checks.run_for(session, hasher.verify, stored, password):
        await deferLater(server.reactor, server.config.security.failure_delay_sec)
        raise Unauthorized("Wrong password")
