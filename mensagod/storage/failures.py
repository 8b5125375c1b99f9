"""Failures and lookups, counted for each source across processes and restarts (spec 04, *Failure limits*)."""

from datetime import datetime, timedelta

from attrs import frozen

from mensagod.storage.rows import Row, Transaction, changed, maybe, one
from mensagod.values.identity import Domain, UserID, WorkspaceID

LOOKUP_WINDOW = timedelta(minutes=1)
"""Over how long lookups are counted (spec 04, GETWID)."""

_RESTART_SECONDS = 1


@frozen
class Limit:
    """How many failures of one kind a source has until it is locked out.

    :ivar kind: one of the kinds of spec 04, *Failure limits*.
    :ivar most: the failure that makes this number locks out; 0 is no limit.
    :ivar window: for how long a failure counts.
    :ivar lockout: how long the source is locked out.
    """

    kind: str
    most: int
    window: timedelta
    lockout: timedelta


def note_failure(txn: Transaction, limit: Limit, source: str) -> datetime | None:
    """Count a failure; give the end of the lockout if it led to one."""
    if not limit.most:
        return None
    txn.execute(
        "INSERT INTO failures AS known (kind, source, recent, locked_until, expires)"
        " VALUES (%(kind)s, %(source)s, ARRAY[clock_timestamp()],"
        " CASE WHEN %(most)s = 1 THEN clock_timestamp() + %(lockout)s END,"
        " clock_timestamp() + greatest(%(window)s, %(lockout)s))"
        " ON CONFLICT (kind, source) DO UPDATE SET (recent, locked_until, expires) = ("
        "SELECT CASE WHEN count(*) + 1 < %(most)s"
        " THEN array_agg(time ORDER BY time) || clock_timestamp() ELSE '{}' END,"
        " CASE WHEN count(*) + 1 >= %(most)s"
        " THEN clock_timestamp() + %(lockout)s ELSE known.locked_until END,"
        " clock_timestamp() + greatest(%(window)s, %(lockout)s)"
        " FROM unnest(known.recent) AS time WHERE time > clock_timestamp() - %(window)s)"
        " RETURNING CASE WHEN locked_until > clock_timestamp() THEN locked_until END AS locked_until",
        {
            "kind": limit.kind,
            "source": source,
            "most": limit.most,
            "window": limit.window,
            "lockout": limit.lockout,
        },
    )
    return one(_locked_until, txn)


def find_lock(txn: Transaction, limit: Limit, source: str) -> datetime | None:
    """Give the end of a lockout if ``source`` is locked out; a try restarts it.

    At most one write a second: who tries in a fast loop costs a read each time.
    """
    txn.execute(
        "SELECT locked_until FROM failures WHERE kind = %s AND source = %s"
        " AND locked_until > clock_timestamp()",
        (limit.kind, source),
    )
    found = maybe(_locked_until, txn)
    if found is None:
        return None
    txn.execute(
        "UPDATE failures SET locked_until = clock_timestamp() + %(lockout)s,"
        " expires = clock_timestamp() + %(lockout)s"
        " WHERE kind = %(kind)s AND source = %(source)s AND locked_until > clock_timestamp()"
        " AND locked_until < clock_timestamp() + %(lockout)s - %(pause)s * interval '1 second'"
        " RETURNING locked_until",
        {"kind": limit.kind, "source": source, "lockout": limit.lockout, "pause": _RESTART_SECONDS},
    )
    return maybe(_locked_until, txn) or found


def clear(txn: Transaction, limit: Limit, source: str) -> bool:
    """Forget the failures of this kind and source, and its lockout; tell whether there were any."""
    txn.execute("DELETE FROM failures WHERE kind = %s AND source = %s", (limit.kind, source))
    return changed(txn)


def forget_expired(txn: Transaction) -> None:
    """Remove the rows that matter no more."""
    txn.execute("DELETE FROM failures WHERE expires < now()")
    txn.execute("DELETE FROM lookups WHERE seen < now() - %s", (LOOKUP_WINDOW,))


@frozen
class Allowance:
    """How much a source may look up.

    :ivar per_minute: how many names, there or not.
    :ivar misses: how many that are not there.
    """

    per_minute: int
    misses: Limit


@frozen
class Lookup:
    """What came of looking up a name.

    :ivar is_locked: whether the source is locked out; then nothing was looked up.
    :ivar is_counted: whether there was room for it in the source's minute; if not, nothing was looked up.
    :ivar workspace: what the name leads to.
    """

    is_locked: bool
    is_counted: bool
    workspace: WorkspaceID | None

    @classmethod
    def from_row(cls, row: Row) -> "Lookup":
        """Make one from the columns of :func:`look_up`."""
        workspace = None if row.workspace is None else WorkspaceID(row.workspace)
        return cls(row.is_locked, row.is_counted, workspace)


def look_up(txn: Transaction, user_id: UserID, domain: Domain, source: str, allowance: Allowance) -> Lookup:
    """Count a lookup of ``source`` and do it: one statement, and so one round trip.

    It finds what :func:`mensagod.storage.workspaces.find_registered` finds.
    """
    workspace = user_id.workspace
    txn.execute(
        "WITH lock AS ("
        "SELECT 1 FROM failures WHERE kind = %(kind)s AND source = %(source)s"
        " AND locked_until > clock_timestamp()),"
        " counted AS ("
        "INSERT INTO lookups AS known (source, recent, seen)"
        " SELECT %(source)s, ARRAY[clock_timestamp()], clock_timestamp() WHERE NOT EXISTS (SELECT FROM lock)"
        " ON CONFLICT (source) DO UPDATE SET seen = clock_timestamp(), recent = ("
        "SELECT coalesce(array_agg(time ORDER BY time), '{}') || clock_timestamp()"
        " FROM unnest(known.recent) AS time WHERE time > clock_timestamp() - %(minute)s)"
        " WHERE (SELECT count(*) FROM unnest(known.recent) AS time"
        " WHERE time > clock_timestamp() - %(minute)s) < %(most)s"
        " RETURNING 1)"
        " SELECT EXISTS (SELECT FROM lock) AS is_locked, EXISTS (SELECT FROM counted) AS is_counted,"
        " (SELECT id FROM workspaces WHERE status NOT IN ('archived', 'preregistered')"
        " AND id = coalesce(%(workspace)s::uuid, (SELECT workspace FROM names"
        " WHERE domain = %(domain)s AND user_id = %(name)s AND kind <> 'former'))"
        " AND (%(workspace)s::uuid IS NULL OR domain = %(domain)s)) AS workspace",
        {
            "kind": allowance.misses.kind,
            "source": source,
            "minute": LOOKUP_WINDOW,
            "most": allowance.per_minute,
            "workspace": None if workspace is None else workspace.uuid,
            "domain": str(domain),
            "name": str(user_id),
        },
    )
    return one(Lookup.from_row, txn)


def _locked_until(row: Row) -> datetime | None:
    found: datetime | None = row.locked_until
    return found
