"""Preregistered workspaces: made by the administrator or ``mensagod init``, not registered yet."""

from attrs import field, frozen

from mensagod.storage import devices, mailboxes, workspaces
from mensagod.storage.devices import Presented
from mensagod.storage.rows import Row, Transaction, changed, maybe
from mensagod.storage.workspaces import Credentials
from mensagod.values.identity import Domain, UserID, WorkspaceID


@frozen
class Preregistration:
    """A preregistered workspace, and the Argon2id hash of its registration code."""

    workspace: WorkspaceID
    domain: Domain
    code_hash: str = field(repr=False)

    @classmethod
    def from_row(cls, row: Row) -> "Preregistration":
        """Make one from the columns that this module selects."""
        return cls(WorkspaceID(row.workspace), Domain(row.domain), row.code_hash)


def preregister(
    txn: Transaction,
    workspace: WorkspaceID,
    user_id: UserID | None,
    domain: Domain,
    code_hash: str,
) -> None:
    """Create a preregistered workspace, with its user ID and code (spec 04, PREREG).

    :raises mensagod.storage.workspaces.Taken: if the workspace ID or the user ID is taken.
    """
    workspaces.add_preregistered(txn, workspace, domain)
    if user_id is not None:
        workspaces.add_name(txn, user_id, domain, workspace, "current")
    txn.execute(
        "INSERT INTO preregistrations (workspace, code_hash) VALUES (%s, %s)", (workspace.uuid, code_hash)
    )


def find_by_workspace(
    txn: Transaction, workspace: WorkspaceID, domain: Domain | None
) -> Preregistration | None:
    """Find a preregistration by its workspace ID.

    :param domain: its domain must be this one; ``None`` allows any.
    """
    txn.execute(
        "SELECT workspace, domain, code_hash FROM preregistrations"
        " JOIN workspaces ON workspaces.id = workspace WHERE workspace = %s",
        (workspace.uuid,),
    )
    found = maybe(Preregistration.from_row, txn)
    return found if found is not None and domain in {None, found.domain} else None


def find_by_name(txn: Transaction, user_id: UserID, domain: Domain) -> Preregistration | None:
    """Find a preregistration by its user ID."""
    txn.execute(
        "SELECT preregistrations.workspace, names.domain, code_hash FROM preregistrations"
        " JOIN names ON names.workspace = preregistrations.workspace AND names.kind = 'current'"
        " WHERE names.user_id = %s AND names.domain = %s",
        (str(user_id), str(domain)),
    )
    return maybe(Preregistration.from_row, txn)


def complete(
    txn: Transaction, found: Preregistration, credentials: Credentials, device: Presented, quota: int
) -> str | None:
    """Turn a preregistration into an account with a mailbox and a device (spec 04, REGCODE).

    :param quota: bytes; 0 is no limit.
    :returns: its user ID, or the text of the workspace ID if it has none; ``None`` if the preregistration was
        completed or replaced meanwhile.
    """
    txn.execute(
        "DELETE FROM preregistrations WHERE workspace = %s AND code_hash = %s",
        (found.workspace.uuid, found.code_hash),
    )
    if not changed(txn) or not workspaces.activate(txn, found.workspace, credentials):
        return None
    mailboxes.create(txn, found.workspace, quota)
    devices.register(txn, found.workspace, device)
    return str(workspaces.current_name(txn, found.workspace) or found.workspace)
