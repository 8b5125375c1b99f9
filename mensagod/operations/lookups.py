"""Looking up names, within limits that make collecting them hopeless (spec 04, GETWID)."""

from datetime import timedelta
from typing import Final

from mensagod.errors import NotFound
from mensagod.operations.lockouts import count_failure, refuse_locked, refuse_remembered
from mensagod.operations.parts import Parts
from mensagod.storage.failures import Limit
from mensagod.storage.lookups import Allowance, look_up, take_share
from mensagod.values.identity import Domain, UserID, WorkspaceID

ALLOWANCE: Final = Allowance(100, 10, Limit("lookup", 50, timedelta(minutes=5), timedelta(minutes=30)))
"""A hundred names a minute, counted by tens; the fiftieth miss within five minutes locks out for thirty."""


async def find_workspace(parts: Parts, user_id: UserID, domain: Domain, source: str) -> WorkspaceID:
    """Find the workspace that a name leads to, for a client that asks.

    A domain that is not ours has nobody, and is never resolved. What is found clears nothing: else a
    known name between the guesses would lift the limit.

    :param source: by what the client is counted.
    :raises NotFound: if nobody has that name.
    :raises mensagod.errors.LimitReached: after too many lookups within a minute.
    :raises mensagod.operations.lockouts.LockedOut: while the source is locked out.
    :raises mensagod.errors.Terminated: if this miss is one too many.
    """
    found = await _look_up(parts, user_id, domain, source)
    if found is not None and parts.is_local(domain):
        return found
    await count_failure(parts, ALLOWANCE.misses, source)
    raise NotFound("No such user ID")


async def count_wish(parts: Parts, source: str, *, is_taken: bool) -> None:
    """Count that a client asks for a name: what it hears tells whether somebody has it.

    :param is_taken: whether it hears that it cannot have the name, which counts as a miss.
    :raises mensagod.errors.CommandError: as :func:`find_workspace`, but never ``NotFound``.
    """
    await refuse_locked(parts, ALLOWANCE.misses, source)
    await _count(parts, source)
    if is_taken:
        await count_failure(parts, ALLOWANCE.misses, source)


async def _look_up(parts: Parts, user_id: UserID, domain: Domain, source: str) -> WorkspaceID | None:
    refuse_remembered(parts, ALLOWANCE.misses, source)
    found = await parts.database.read(look_up, user_id, domain, source, ALLOWANCE.misses)
    if found.is_locked:
        await refuse_locked(parts, ALLOWANCE.misses, source)
    await _count(parts, source)
    return found.workspace


async def _count(parts: Parts, source: str) -> None:
    """Count a lookup: it is one of the process's share, or else a share is taken first.

    :raises mensagod.errors.LimitReached: if nothing is left; until the minute is over memory knows that.
    """
    shares = parts.limits.lookups
    if shares.spend(source):
        return
    async with shares.taking(source):
        if shares.spend(source):
            return
        begin = shares.now()
        shares.take(source, await parts.database.write(take_share, source, ALLOWANCE), begin)
