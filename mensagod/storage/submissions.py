"""Messages that were handed in within the last day, so that none is sent twice (spec 04, *Sending*).

A time that lies more than an hour ahead was written under a wrong clock, and counts as forgotten.
"""

from typing import Final

from mensagod.storage.rows import Transaction, maybe
from mensagod.values.identity import Domain, WorkspaceID
from mensagod.values.paths import FileName

IS_NEW: Final = (
    "NOT EXISTS (SELECT FROM submissions WHERE workspace = %(sender)s AND domain = %(domain)s"
    " AND digest = %(digest)s AND at BETWEEN now() - interval '1 day' AND now() + interval '1 hour')"
)
"""Whether the workspace has not handed in these bytes for this domain; a condition of other statements."""


def find_recent(txn: Transaction, sender: WorkspaceID, domain: Domain, digest: bytes) -> FileName | None:
    """Give the file name that was answered when a workspace handed these bytes in, within a day."""
    txn.execute(
        "SELECT name FROM submissions WHERE workspace = %s AND domain = %s AND digest = %s"
        " AND at BETWEEN now() - interval '1 day' AND now() + interval '1 hour'",
        (sender.uuid, str(domain), digest),
    )
    return maybe(lambda row: FileName.from_text(row.name), txn)


def forget_old(txn: Transaction) -> None:
    """Remove what counts as forgotten."""
    txn.execute(
        "DELETE FROM submissions WHERE at NOT BETWEEN now() - interval '1 day' AND now() + interval '1 hour'"
    )
