"""Checking passwords (spec 04, PASSWORD)."""

from twisted.internet.task import deferLater

from mensagod.errors import Unauthorized
from mensagod.operations.parts import Parts
from mensagod.storage import workspaces
from mensagod.threads.fair_queue import Client
from mensagod.values.identity import WorkspaceID


async def check_password(parts: Parts, client: Client, workspace: WorkspaceID, password: str) -> str | None:
    """Check the password of a workspace; give its stored hash, or ``None`` after a delay if it is wrong.

    The check takes as long for a workspace that does not exist.
    """
    found = await parts.database.read(workspaces.find_workspace, workspace)
    hasher = parts.hasher
    stored = found.credentials.hash if found is not None and found.credentials else hasher.dummy
    if await parts.password_checks.run_for(client, hasher.verify, stored, password):
        return stored
    await delay_failure(parts)
    return None


async def require_password(parts: Parts, client: Client, workspace: WorkspaceID, password: str) -> None:
    """Check the password of the workspace that is logged in (spec 04, REVOKE, ORGREVOKE).

    :raises Unauthorized: after a delay, if it is wrong.
    """
    if await check_password(parts, client, workspace, password) is None:
        raise Unauthorized("Wrong password")


async def prove_password(parts: Parts, client: Client, workspace: WorkspaceID, password: str) -> str | None:
    """Check a password as :func:`check_password` does; replace a hash whose costs are not the configured.

    :returns: the hash that is stored then.
    """
    stored = await check_password(parts, client, workspace, password)
    if stored is None or not parts.hasher.needs_rehash(stored):
        return stored
    fresh = await parts.password_checks.run_for(client, parts.hasher.hash, password)
    if await parts.database.run(workspaces.replace_password_hash, workspace, stored, fresh):
        return fresh
    # Another login has replaced it at the same time, or the password was changed.
    return await check_password(parts, client, workspace, password)


async def delay_failure(parts: Parts) -> None:
    """Wait before a failed attempt is answered."""
    await deferLater(parts.reactor, parts.config.security.failure_delay_sec)
