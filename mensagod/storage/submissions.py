"""Messages that were submitted within the last day, so that none is sent twice (spec 04, *Sending*).

A time that lies more than an hour ahead was written under a wrong clock, and counts as forgotten.
"""

from collections.abc import Sequence

from attrs import frozen

from mensagod.storage.rows import Transaction, many, one
from mensagod.values.identity import Domain, WorkspaceID
from mensagod.values.paths import FileName


@frozen
class Submitted:
    """What makes two submissions the same message.

    :ivar digest: BLAKE2b-256 of the envelope as it was submitted.
    """

    workspace: WorkspaceID
    domain: Domain
    digest: bytes


def add(txn: Transaction, new: Sequence[tuple[Submitted, FileName]]) -> set[Submitted]:
    """Remember submissions with the file names that are answered; no two may be the same message.

    :returns: those that are new; the others were submitted before, within a day.
    """
    txn.execute(
        "INSERT INTO submissions AS known (workspace, domain, digest, name)"
        " SELECT workspace, domain, digest, name"
        " FROM unnest(%s::uuid[], %s::text[], %s::bytea[], %s::text[]) AS new (workspace, domain, digest, name)"
        # In one order, so that two transactions do not wait for each other.
        " ORDER BY workspace, domain, digest"
        " ON CONFLICT (workspace, domain, digest) DO UPDATE SET name = excluded.name, at = excluded.at"
        " WHERE known.at NOT BETWEEN now() - interval '1 day' AND now() + interval '1 hour'"
        " RETURNING workspace, domain, digest",
        (
            [submitted.workspace.uuid for submitted, _ in new],
            [str(submitted.domain) for submitted, _ in new],
            [submitted.digest for submitted, _ in new],
            [name.text for _, name in new],
        ),
    )
    return set(many(lambda row: Submitted(WorkspaceID(row.workspace), Domain(row.domain), row.digest), txn))


def find_name(txn: Transaction, submitted: Submitted) -> FileName:
    """Give the file name that was answered when a message was submitted that :func:`add` found known."""
    txn.execute(
        "SELECT name FROM submissions WHERE workspace = %s AND domain = %s AND digest = %s",
        (submitted.workspace.uuid, str(submitted.domain), submitted.digest),
    )
    return one(lambda row: FileName.from_text(row.name), txn)


def remove(txn: Transaction, submitted: Sequence[Submitted]) -> None:
    """Forget submissions of this transaction that were not accepted."""
    txn.execute(
        "DELETE FROM submissions AS known"
        " USING unnest(%s::uuid[], %s::text[], %s::bytea[]) AS refused (workspace, domain, digest)"
        " WHERE known.workspace = refused.workspace AND known.domain = refused.domain"
        " AND known.digest = refused.digest",
        (
            [message.workspace.uuid for message in submitted],
            [str(message.domain) for message in submitted],
            [message.digest for message in submitted],
        ),
    )


def forget_old(txn: Transaction) -> None:
    """Remove what counts as forgotten."""
    txn.execute(
        "DELETE FROM submissions WHERE at NOT BETWEEN now() - interval '1 day' AND now() + interval '1 hour'"
    )
