"""What a client hears that failed too often (spec 04, *Failure limits*).

A kind of failure is a :class:`mensagod.storage.failures.Limit`; nothing here knows any of them.
"""

from datetime import datetime

from mensagod.errors import CommandError, Terminated
from mensagod.operations.parts import IDatabase
from mensagod.status import Status
from mensagod.storage import failures
from mensagod.storage.failures import Limit
from mensagod.values.times import format_timestamp


class LockedOut(CommandError):
    """The source failed too often, and tries again too early."""

    status = Status.UNAVAILABLE


async def refuse_locked(database: IDatabase, limit: Limit, source: str) -> None:
    """Refuse a try of a source that is locked out; the lockout begins anew.

    :raises LockedOut: with ``Lock-Time``.
    """
    until = await database.run(failures.find_lock, limit, source)
    if until is not None:
        raise LockedOut("Locked out after too many failures", _lock_time(until))


async def count_failure(database: IDatabase, limit: Limit, source: str) -> None:
    """Count a failure.

    :raises Terminated: with ``Lock-Time``, if it is the one that locks the source out.
    """
    until = await database.run(failures.note_failure, limit, source)
    if until is not None:
        raise Terminated("Too many failures", _lock_time(until))


async def clear_failures(database: IDatabase, limit: Limit, source: str) -> None:
    """Forget what a source failed at, because it has succeeded."""
    await database.run(failures.clear, limit, source)


def _lock_time(until: datetime) -> dict[str, str]:
    return {"Lock-Time": format_timestamp(until)}
