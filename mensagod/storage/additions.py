"""Adding an entry to a user's card: what it builds on, and the change of state (spec 04, ADDENTRY)."""

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
"""How many entries a card may grow by within :data:`ENTRIES_WINDOW`."""
MORE_REVOCATIONS: Final = 10
"""How many revocations may come on top: who adds too much may be a thief."""
ENTRIES_WINDOW: Final = timedelta(hours=1)


@frozen
class Basis:
    """What a new entry is checked against.

    :ivar organization: the organization's current entry.
    :ivar previous: the user's; ``None`` if there is none.
    :ivar holder: who has the name that the entry asks for.
    """

    organization: StoredEntry | None
    previous: StoredEntry | None
    holder: HeldName | None


def read_basis(txn: Transaction, workspace: WorkspaceID, user_id: UserID | None, domain: Domain) -> Basis:
    """Read what a new entry of ``workspace`` is checked against; all may change until it is added."""
    return Basis(
        keycards.current_entry(txn, keycards.ORGANIZATION),
        keycards.current_entry(txn, workspace),
        None if user_id is None else workspaces.find_holder(txn, user_id, domain),
    )


def add_user_entry(txn: Transaction, entry: UserEntry, stored: StoredEntry, basis: Basis) -> None:
    """Add a complete entry, and let the workspace's name follow it.

    :raises NoncompliantKeycard: if somebody else changed the card, or the organization's, since ``basis``.
    :raises mensagod.storage.workspaces.Taken: if somebody else has the name meanwhile.
    :raises LimitReached: if the card grew too much lately, or the workspace had too many names.
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
