"""What a client hears that failed too often (spec 04, *Failure limits*).

A kind of failure is a :class:`mensagod.storage.failures.Limit`; nothing here knows any of them.
"""

from datetime import datetime
from typing import Final

from mensagod.errors import CommandError, Terminated
from mensagod.operations.parts import Parts
from mensagod.status import Status
from mensagod.storage import failures
from mensagod.storage.failures import Limit
from mensagod.values.times import format_timestamp

_MEMORY: Final = 1.0
"""Seconds for which a lockout is known without the database; the next try restarts it if it is there."""


class LockedOut(CommandError):
    """The source failed too often, and tries again too early."""

    status = Status.UNAVAILABLE


def refuse_remembered(parts: Parts, limit: Limit, source: str) -> None:
    """Refuse a try of a source of which this process knows that it is locked out.

    :raises LockedOut: with ``Lock-Time``.
    """
    until = parts.limits.lockouts.find((limit.kind, source))
    if until is not None:
        raise LockedOut("Locked out after too many failures", _lock_time(until))


async def refuse_locked(parts: Parts, limit: Limit, source: str) -> None:
    """Refuse a try of a source that is locked out; the lockout begins anew, once a second at most.

    :raises LockedOut: with ``Lock-Time``.
    """
    refuse_remembered(parts, limit, source)
    lockout = await parts.database.read(failures.find_lock, limit, source)
    if lockout is None:
        return
    until = lockout.until
    if lockout.is_aged:
        anew = await parts.database.write(failures.restart_lock, limit, source)
        until = until if anew is None else anew
    parts.limits.lockouts.keep((limit.kind, source), until, _MEMORY)
    raise LockedOut("Locked out after too many failures", _lock_time(until))


async def count_failure(parts: Parts, limit: Limit, source: str) -> None:
    """Count a failure.

    :raises Terminated: with ``Lock-Time``, if it is the one that locks the source out.
    """
    until = await parts.database.write(failures.note_failure, limit, source)
    if until is not None:
        raise Terminated("Too many failures", _lock_time(until))


async def clear_failures(parts: Parts, limit: Limit, source: str) -> None:
    """Forget what a source failed at, because it has succeeded."""
    parts.limits.lockouts.forget((limit.kind, source))
    await parts.database.write(failures.clear, limit, source)


def _lock_time(until: datetime) -> dict[str, str]:
    return {"Lock-Time": format_timestamp(until)}
