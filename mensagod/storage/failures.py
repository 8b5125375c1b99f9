"""Failures, counted for each source across processes and restarts (spec 04, *Failure limits*)."""

from datetime import datetime, timedelta
from typing import Final

from attrs import frozen

from mensagod.storage import slots
from mensagod.storage.rows import Row, Transaction, changed, maybe, one
from mensagod.storage.slots import Slots

_RESTART: Final = timedelta(seconds=1)
"""A lockout is restarted at most so often."""

_SKEW: Final = timedelta(minutes=1)
"""By so much the clocks of those who write rows may differ."""

_LONGEST: Final = timedelta(days=8)
"""No row matters for longer: no limit has a window or a lockout of more than a week."""


@frozen
class Limit:
    """How many failures of one kind a source has until it is locked out.

    :ivar kind: one of the kinds of spec 04, *Failure limits*.
    :ivar most: the failure that makes this number locks out; 0 is no limit.
    :ivar window: for how long a failure counts; 0 is no limit.
    :ivar lockout: how long the source is locked out.
    """

    kind: str
    most: int
    window: timedelta
    lockout: timedelta


@frozen
class Lockout:
    """That a source is locked out.

    :ivar until: when it is over.
    :ivar is_aged: whether a try is to restart it.
    """

    until: datetime
    is_aged: bool

    @classmethod
    def from_row(cls, row: Row) -> "Lockout":
        """Make one from the columns of :func:`find_lock`."""
        return cls(row.locked_until, row.is_aged)


def lock_parameters(limit: Limit, source: str) -> dict[str, object]:
    """Give what statements name that look at lockouts.

    Among it is ``longest``: a lockout that ends later from now was put there before the clock was set back,
    and counts as over (spec 06, *Clocks lie*).
    """
    return {"kind": limit.kind, "source": source, "longest": limit.lockout + _SKEW}


_LOCKED = (
    " WHERE kind = %(kind)s AND source = %(source)s"
    " AND locked_until > now() AND locked_until <= now() + %(longest)s"
)
_FIND = "SELECT locked_until, locked_until < now() + %(lockout)s - %(pause)s AS is_aged FROM failures"
_BEGIN_ANEW = "UPDATE failures SET locked_until = now() + %(lockout)s, expires = now() + %(lockout)s"
_IF_AGED = " AND locked_until < now() + %(lockout)s - %(pause)s RETURNING locked_until"
_FIRST = (
    "INSERT INTO failures AS known (kind, source, slot, used, times, locked_until, expires)"
    " VALUES (%(kind)s, %(source)s, 1, 1, ARRAY[now()],"
    " CASE WHEN %(room)s = 0 THEN now() + %(lockout)s END, now() + greatest(%(window)s, %(lockout)s))"
    " ON CONFLICT (kind, source) DO UPDATE SET expires = excluded.expires"
)
# A failure that does not fit locks out, and those before it are forgotten.
_FITS = "CASE WHEN " + slots.FITS + " THEN "
_NEXT = (
    ", slot = " + _FITS + slots.SLOT + " ELSE 1 END"
    ", used = " + _FITS + slots.USED + " ELSE 0 END"
    ", times = " + _FITS + slots.TIMES + " ELSE '{}' END"
    ", locked_until = " + _FITS + "known.locked_until ELSE now() + %(lockout)s END"
)
_LOCKOUT = (
    " RETURNING CASE WHEN locked_until > now() AND locked_until <= now() + %(longest)s"
    " THEN locked_until END AS locked_until"
)
_NOTE = _FIRST + _NEXT + _LOCKOUT


def note_failure(txn: Transaction, limit: Limit, source: str) -> datetime | None:
    """Count a failure; give the end of the lockout if it led to one. This is one statement."""
    if not limit.most or not limit.window:
        return None
    # As many fit as do not lock out yet.
    fitting = Slots(limit.most - 1, limit.window)
    txn.execute(_NOTE, lock_parameters(limit, source) | fitting.parameters | {"lockout": limit.lockout})
    return one(_locked_until, txn)


def find_lock(txn: Transaction, limit: Limit, source: str) -> Lockout | None:
    """Tell whether ``source`` is locked out. This is one statement, which only reads."""
    txn.execute(
        _FIND + _LOCKED,
        lock_parameters(limit, source) | {"lockout": limit.lockout, "pause": _RESTART},
    )
    return maybe(Lockout.from_row, txn)


def restart_lock(txn: Transaction, limit: Limit, source: str) -> datetime | None:
    """Let a lockout begin anew, because ``source`` tries again. This is one statement.

    However many try it, a lockout is written once a second.

    :returns: when it ends now; ``None`` if it is over, or was restarted a moment ago.
    """
    txn.execute(
        _BEGIN_ANEW + _LOCKED + _IF_AGED,
        lock_parameters(limit, source) | {"lockout": limit.lockout, "pause": _RESTART},
    )
    return maybe(_locked_until, txn)


def clear(txn: Transaction, limit: Limit, source: str) -> bool:
    """Forget the failures of this kind and source, and its lockout; tell whether there were any."""
    txn.execute("DELETE FROM failures WHERE kind = %s AND source = %s", (limit.kind, source))
    return changed(txn)


def forget_expired(txn: Transaction) -> None:
    """Remove the rows that matter no more."""
    txn.execute("DELETE FROM failures WHERE expires < now()")
    txn.execute("DELETE FROM failures WHERE expires > now() + %s", (_LONGEST,))


def _locked_until(row: Row) -> datetime | None:
    found: datetime | None = row.locked_until
    return found
