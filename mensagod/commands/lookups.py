"""Looking up names, within limits that make collecting them hopeless (spec 04, GETWID)."""

from datetime import timedelta
from typing import Final

from mensagod.commands.lockouts import count_failure, refuse_locked
from mensagod.errors import LimitReached, NotFound
from mensagod.sessions.session import Session
from mensagod.storage.failures import Allowance, Limit, look_up
from mensagod.values.identity import Domain, UserID, WorkspaceID

ALLOWANCE: Final = Allowance(100, Limit("lookup", 50, timedelta(minutes=5), timedelta(minutes=30)))
"""A hundred names a minute; the fiftieth miss within five minutes locks out for thirty."""


async def find_workspace(user_id: UserID, domain: Domain, session: Session) -> WorkspaceID:
    """Find the workspace that a name leads to, for a client that asks.

    A domain that is not ours has nobody, and is never resolved. What is found clears nothing: else a
    known name between the guesses would lift the limit.

    :raises NotFound: if nobody has that name.
    :raises LimitReached: after too many lookups within a minute.
    :raises mensagod.commands.lockouts.LockedOut: while the source is locked out.
    :raises mensagod.errors.Terminated: if this miss is one too many.
    """
    found = await _look_up(user_id, domain, session)
    if found is not None and session.server.is_local(domain):
        return found
    await count_failure(ALLOWANCE.misses, session)
    raise NotFound("No such user ID")


async def count_wish(user_id: UserID, domain: Domain, is_taken: bool, session: Session) -> None:
    """Count that a client asks for a name: what it hears tells whether somebody has it.

    :param is_taken: whether it hears that it cannot have the name, which counts as a miss.
    :raises mensagod.errors.CommandError: as :func:`find_workspace`, but never ``NotFound``.
    """
    await _look_up(user_id, domain, session)
    if is_taken:
        await count_failure(ALLOWANCE.misses, session)


async def _look_up(user_id: UserID, domain: Domain, session: Session) -> WorkspaceID | None:
    found = await session.server.database.read(look_up, user_id, domain, session.source, ALLOWANCE)
    if found.is_locked:
        await refuse_locked(ALLOWANCE.misses, session)
    if not found.is_counted:
        raise LimitReached("Too many lookups within a minute")
    return found.workspace
