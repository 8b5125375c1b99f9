"""Names that sources look up, counted across processes (spec 04, GETWID)."""

from datetime import timedelta
from typing import Final

from attrs import frozen

from mensagod.storage.failures import Limit, lock_parameters
from mensagod.storage.rows import Row, Transaction, one
from mensagod.values.identity import Domain, UserID, WorkspaceID

LOOKUP_WINDOW: Final = timedelta(minutes=1)
"""Over how long lookups are counted: it begins with the first one after the window before."""

_CAUTION: Final = 4
"""No share is more than a fourth of what is left, so that little of the rest lies idle in other processes."""


@frozen
class Allowance:
    """How much a source may look up.

    :ivar per_minute: how many names, there or not.
    :ivar share: how many of them a process takes at once, while there are many left.
    :ivar misses: how many that are not there.
    """

    per_minute: int
    share: int
    misses: Limit


@frozen
class Lookup:
    """What came of looking up a name.

    :ivar is_locked: whether the source is locked out; then nothing was looked up.
    :ivar workspace: what the name leads to.
    """

    is_locked: bool
    workspace: WorkspaceID | None

    @classmethod
    def from_row(cls, row: Row) -> "Lookup":
        """Make one from the columns of :func:`look_up`."""
        workspace = None if row.workspace is None else WorkspaceID(row.workspace)
        return cls(row.is_locked, workspace)


_BY_ID = "(SELECT id FROM workspaces WHERE id = %(workspace)s AND domain = %(domain)s"
_BY_NAME = (
    "(SELECT id FROM workspaces WHERE id = (SELECT workspace FROM names"
    " WHERE domain = %(domain)s AND user_id = %(name)s AND kind <> 'former')"
)
_STATUS = " AND status NOT IN ('archived', 'preregistered')) AS workspace, "
_IS_LOCKED = (
    "EXISTS (SELECT FROM failures WHERE kind = %(kind)s AND source = %(source)s"
    " AND locked_until > now() AND locked_until <= now() + %(longest)s) AS is_locked"
)
_LOOK_UP_ID = "SELECT " + _BY_ID + _STATUS + _IS_LOCKED
_LOOK_UP_NAME = "SELECT " + _BY_NAME + _STATUS + _IS_LOCKED


def look_up(txn: Transaction, user_id: UserID, domain: Domain, source: str, misses: Limit) -> Lookup:
    """Look up a name for ``source``; nothing is counted.

    It finds what :func:`mensagod.storage.workspaces.find_registered` finds.
    """
    workspace = user_id.workspace
    parameters = lock_parameters(misses, source) | {"domain": str(domain)}
    if workspace is None:
        txn.execute(_LOOK_UP_NAME, parameters | {"name": str(user_id)})
    else:
        txn.execute(_LOOK_UP_ID, parameters | {"workspace": workspace.uuid})
    return one(Lookup.from_row, txn)


@frozen
class Share:
    """Lookups that a process may let a source do until its window ends.

    :ivar lookups: how many; 0 if there are none left.
    :ivar seconds: until the window ends.
    """

    lookups: int
    seconds: float

    @classmethod
    def from_row(cls, row: Row) -> "Share":
        """Make one from the columns of :func:`take_share`."""
        return cls(row.share, float(row.seconds))


def take_share(txn: Transaction, source: str, allowance: Allowance) -> Share:
    """Take a share of what ``source`` may look up within its window; what is taken is never given back.

    A window that begins further ahead than the present was begun before the clock was set back: it is over.
    """
    txn.execute(
        "INSERT INTO lookups AS known (source, since, taken, share)"
        " VALUES (%(source)s, now(), %(share)s, %(share)s)"
        " ON CONFLICT (source) DO UPDATE SET (since, taken, share) = ("
        "SELECT since, used + free, free FROM (SELECT since, used,"
        " greatest(least(%(share)s, greatest((%(most)s - used) / %(caution)s, 1), %(most)s - used), 0)"
        " AS free"
        " FROM (SELECT CASE WHEN runs THEN known.since ELSE excluded.since END AS since,"
        " CASE WHEN runs THEN known.taken ELSE 0 END AS used"
        " FROM (SELECT known.since > excluded.since - %(window)s"
        " AND known.since < excluded.since + %(window)s"
        " AS runs) AS age) AS begun) AS shared)"
        " RETURNING share, extract(epoch FROM since + %(window)s - now()) AS seconds",
        {
            "source": source,
            "window": LOOKUP_WINDOW,
            "most": allowance.per_minute,
            "share": min(allowance.share, max(allowance.per_minute // _CAUTION, 1)),
            "caution": _CAUTION,
        },
    )
    return one(Share.from_row, txn)


def forget_old(txn: Transaction) -> None:
    """Remove the windows that are over."""
    parameters = {"window": LOOKUP_WINDOW}
    txn.execute("DELETE FROM lookups WHERE since < now() - %(window)s", parameters)
    txn.execute("DELETE FROM lookups WHERE since > now() + %(window)s", parameters)
