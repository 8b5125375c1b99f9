"""Messages that were submitted within the last day, so that none is sent twice (spec 04, *Sending*).

A time that lies more than an hour ahead was written under a wrong clock, and counts as forgotten.
"""

from collections.abc import Sequence
from uuid import UUID

from attrs import frozen

from mensagod.storage.rows import Row, Transaction, many
from mensagod.storage.workspaces import Recipient, WorkspaceStatus
from mensagod.values.identity import Domain, MAddress, UserID, WAddress, WorkspaceID
from mensagod.values.paths import FileName


@frozen
class Submitted:
    """What makes two submissions the same message.

    :ivar digest: BLAKE2b-256 of the envelope as it was submitted.
    """

    workspace: WorkspaceID
    domain: Domain
    digest: bytes

    @property
    def sorting(self) -> tuple[UUID, str, bytes]:
        """The key of its row, to sort by."""
        return (self.workspace.uuid, str(self.domain), self.digest)


@frozen
class NewSubmission:
    """A submission as it comes.

    :ivar name: the file name that is to be answered.
    :ivar size: bytes of its content.
    :ivar recipient: its recipient, if the domain is ours and it could be read.
    """

    submitted: Submitted
    name: FileName
    size: int
    recipient: MAddress | WAddress | None


@frozen
class Prospect:
    """What accepting a submission needs to know.

    :ivar known: the file name that was answered if it was submitted before, within a day.
    :ivar fits: whether it fits into the quota of its sender.
    :ivar recipient: the workspace that it goes to, if there is one.
    """

    known: FileName | None
    fits: bool
    recipient: Recipient | None

    @classmethod
    def from_row(cls, row: Row) -> "Prospect":
        """Make one from the columns of the function ``begin_acceptance``."""
        recipient = None
        if row.target is not None:
            status = WorkspaceStatus(row.status)
            recipient = Recipient(WorkspaceID(row.target), status, row.has_mailbox)
        known = None if row.known is None else FileName.from_text(row.known)
        return cls(known, row.fits is not False, recipient)


def add(txn: Transaction, new: Sequence[NewSubmission]) -> dict[Submitted, Prospect]:
    """Remember submissions, of which no two may be the same message, and find their recipients."""
    # In one order, so that no two transactions wait for each other.
    new = sorted(new, key=lambda submission: submission.submitted.sorting)
    addresses = [submission.recipient for submission in new]
    ids = [None if address is None else address.id for address in addresses]
    txn.execute(
        "SELECT known, fits, target, status, has_mailbox FROM begin_acceptance("
        "%s::uuid[], %s::text[], %s::bytea[], %s::text[], %s::bigint[], %s::uuid[], %s::text[])",
        (
            [submission.submitted.workspace.uuid for submission in new],
            [str(submission.submitted.domain) for submission in new],
            [submission.submitted.digest for submission in new],
            [submission.name.text for submission in new],
            [submission.size for submission in new],
            [one.uuid if isinstance(one, WorkspaceID) else None for one in ids],
            [str(one) if isinstance(one, UserID) else None for one in ids],
        ),
    )
    prospects = many(Prospect.from_row, txn)
    return {submission.submitted: found for submission, found in zip(new, prospects, strict=True)}


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
