"""Adding an entry to a user's keycard: what it depends on, and the transaction (spec 04, ADDENTRY)."""

from datetime import timedelta
from typing import Final

from attrs import frozen

from mensagod.errors import LimitReached
from mensagod.keycards.entries import UserEntry
from mensagod.keycards.errors import NoncompliantKeycard
from mensagod.storage import keycards, workspaces
from mensagod.storage.keycards import StoredEntry
from mensagod.storage.rows import Transaction
from mensagod.storage.workspaces import HeldName, WorkspaceStatus
from mensagod.values.identity import Domain, UserID, WorkspaceID

MOST_ENTRIES: Final = 60
"""The most entries that may be added to a card within :data:`ENTRIES_WINDOW`."""
MORE_REVOCATIONS: Final = 10
"""The most further entries that revoke, so that a thief who reaches the limit cannot prevent a revocation."""
ENTRIES_WINDOW: Final = timedelta(hours=1)
"""The period of the two limits."""


@frozen
class Basis:
    """The state of the database that a new entry was checked against.

    :ivar organization: the organization's current entry.
    :ivar previous: the user's current entry; ``None`` if there is none.
    :ivar holder: the holder of the user ID in the new entry; ``None`` if there is none.
    """

    organization: StoredEntry | None
    previous: StoredEntry | None
    holder: HeldName | None


def read_basis(txn: Transaction, workspace: WorkspaceID, user_id: UserID | None, domain: Domain) -> Basis:
    """Read what a new entry of ``workspace`` is checked against; it may change before the entry is added."""
    return Basis(
        keycards.current_entry(txn, keycards.ORGANIZATION),
        keycards.current_entry(txn, workspace),
        None if user_id is None else workspaces.find_holder(txn, user_id, domain),
    )


def add_user_entry(txn: Transaction, entry: UserEntry, stored: StoredEntry, basis: Basis) -> None:
    """Add a complete entry, and rename the workspace to the entry's user ID.

    :raises NoncompliantKeycard: if the card, or the organization's, has changed since ``basis`` was read.
    :raises mensagod.storage.workspaces.Taken: if another workspace holds the user ID.
    :raises LimitReached: if too many entries were added recently, or the workspace has too many former names.
    """
    status = workspaces.lock(txn, entry.workspace)
    if status in {None, WorkspaceStatus.ARCHIVED}:
        raise NoncompliantKeycard("The workspace is no longer there")
    if keycards.current_entry(txn, entry.workspace) != basis.previous:
        raise NoncompliantKeycard("Another entry was added meanwhile: begin again")
    most = MOST_ENTRIES if entry.revokes is None else MOST_ENTRIES + MORE_REVOCATIONS
    if keycards.has_grown(txn, entry.workspace, most, ENTRIES_WINDOW):
        raise LimitReached("Too many entries within an hour")
    if keycards.hold_organization(txn) != basis.organization:
        raise NoncompliantKeycard("The organization's keycard has changed meanwhile: begin again")
    if entry.user_id is not None:
        workspaces.rename(txn, entry.user_id, entry.domain, entry.workspace)
    keycards.add_entry(txn, entry.workspace, stored)
