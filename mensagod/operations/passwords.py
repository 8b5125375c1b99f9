"""Checking passwords (spec 04, PASSWORD)."""

from twisted.internet.task import deferLater

from mensagod.errors import Unauthorized
from mensagod.operations.parts import Parts
from mensagod.storage import workspaces
from mensagod.threads.fair_queue import Client
from mensagod.values.identity import WorkspaceID


async def check_password(parts: Parts, client: Client, workspace: WorkspaceID, password: str) -> str | None:
    """Tell whether a password is that of a workspace; give what is stored of it if so.

    It takes as long for a workspace that is not there. A wrong password costs a delay.
    """
    found = await parts.database.read(workspaces.find_workspace, workspace)
    hasher = parts.hasher
    stored = found.credentials.hash if found is not None and found.credentials else hasher.dummy
    if await parts.password_checks.run_for(client, hasher.verify, stored, password):
        return stored
    await delay_failure(parts)
    return None


async def require_password(parts: Parts, client: Client, workspace: WorkspaceID, password: str) -> None:
    """Make sure that a password is that of a workspace that is logged in (spec 04, REVOKE, ORGREVOKE).

    :raises Unauthorized: after a delay, if it is not.
    """
    if await check_password(parts, client, workspace, password) is None:
        raise Unauthorized("Wrong password")


async def prove_password(parts: Parts, client: Client, workspace: WorkspaceID, password: str) -> str | None:
    """Check a password as :func:`check_password` does; store a right one anew if its cost is not today's.

    :returns: what is stored of it then.
    """
    stored = await check_password(parts, client, workspace, password)
    if stored is None or not parts.hasher.needs_rehash(stored):
        return stored
    fresh = await parts.password_checks.run_for(client, parts.hasher.hash, password)
    if await parts.database.run(workspaces.replace_password_hash, workspace, stored, fresh):
        return fresh
    # Another login was faster, or the password was changed meanwhile.
    return await check_password(parts, client, workspace, password)


async def delay_failure(parts: Parts) -> None:
    """Let somebody who failed wait before the answer."""
    await deferLater(parts.reactor, parts.config.security.failure_delay_sec)
