"""Workspaces: accounts, their states and their names."""

import unicodedata
from collections.abc import Sequence
from enum import StrEnum

from attrs import field, frozen

from mensagod.errors import LimitReached, ResourceExists
from mensagod.storage.rows import Row, Transaction, changed, many, maybe
from mensagod.values.identity import Domain, MAddress, UserID, WAddress, WorkspaceID

MOST_FORMER_NAMES = 5
"""The most former names of a workspace; they stay reserved for it."""


class WorkspaceStatus(StrEnum):
    """The states of a workspace (spec 04, LOGIN)."""

    ACTIVE = "active"
    APPROVED = "approved"
    PENDING = "pending"
    PREREGISTERED = "preregistered"
    DISABLED = "disabled"
    SUSPENDED = "suspended"
    UNPAID = "unpaid"
    ARCHIVED = "archived"


@frozen
class Credentials:
    """The stored password hash of a workspace, and the parameters with which its client hashes the password.

    :ivar hash: the Argon2id hash of the client's hash.
    """

    hash: str = field(repr=False)
    algorithm: str = ""
    salt: str = ""
    parameters: str = ""


@frozen
class Workspace:
    """An account.

    :ivar credentials: ``None`` before registration and after archiving.
    """

    id: WorkspaceID
    domain: Domain
    status: WorkspaceStatus
    credentials: Credentials | None

    @classmethod
    def from_row(cls, row: Row) -> "Workspace":
        """Make one from the columns of :func:`find_workspace`."""
        credentials = None
        if row.password_hash is not None:
            credentials = Credentials(
                row.password_hash, row.password_algorithm, row.password_salt, row.password_parameters
            )
        return cls(WorkspaceID(row.id), Domain(row.domain), WorkspaceStatus(row.status), credentials)


class Taken(ResourceExists):
    """The ID belongs to another workspace, or belonged to one before."""

    def __init__(self, field: str):
        super().__init__(f"{field} is taken", {"Field": field})


def find_workspace(txn: Transaction, workspace: WorkspaceID) -> Workspace | None:
    """Find an account by its ID, unless it is archived.

    For an archived one no row is read, as for a missing one, so that the time taken does not tell them apart.
    """
    txn.execute(
        "SELECT id, domain, status, password_hash, password_algorithm, password_salt, password_parameters"
        " FROM workspaces WHERE id = %s AND status <> 'archived'",
        (workspace.uuid,),
    )
    return maybe(Workspace.from_row, txn)


def find_domain(txn: Transaction, workspace: WorkspaceID) -> Domain | None:
    """Give the domain of a workspace, unless it is archived or not registered yet."""
    txn.execute(
        "SELECT domain FROM workspaces WHERE id = %s AND status NOT IN ('archived', 'preregistered')",
        (workspace.uuid,),
    )
    return maybe(lambda row: Domain(row.domain), txn)


def find_registered(txn: Transaction, user_id: UserID, domain: Domain) -> WorkspaceID | None:
    """Find the workspace with a user ID, which is its current name or an alias (spec 04, GETWID).

    Former names do not count, and neither do workspaces that are archived or not registered yet. A user ID in
    the form of a RandomID means the workspace with that ID.
    """
    if user_id.workspace is not None:
        txn.execute(
            "SELECT id FROM workspaces WHERE id = %s AND domain = %s"
            " AND status NOT IN ('archived', 'preregistered')",
            (user_id.workspace.uuid, str(domain)),
        )
    else:
        txn.execute(
            "SELECT workspaces.id FROM names JOIN workspaces ON workspaces.id = names.workspace"
            " WHERE names.domain = %s AND names.user_id = %s AND names.kind <> 'former'"
            " AND workspaces.status NOT IN ('archived', 'preregistered')",
            (str(domain), str(user_id)),
        )
    return maybe(lambda row: WorkspaceID(row.id), txn)


@frozen
class Recipient:
    """The workspace of an address.

    :ivar has_mailbox: whether it has a mailbox.
    """

    workspace: WorkspaceID
    status: WorkspaceStatus
    has_mailbox: bool

    @classmethod
    def from_row(cls, row: Row) -> "Recipient":
        """Make one from the columns of :func:`find_recipients`."""
        return cls(WorkspaceID(row.id), WorkspaceStatus(row.status), row.has_mailbox)


def find_recipients(txn: Transaction, addresses: Sequence[MAddress | WAddress]) -> list[Recipient | None]:
    """Find the workspaces of addresses, by workspace ID or by user ID; ``None`` for each that has none."""
    if not addresses:
        return []
    txn.execute(
        "SELECT workspaces.id, workspaces.status, mailboxes.workspace IS NOT NULL AS has_mailbox"
        " FROM unnest(%s::uuid[], %s::text[], %s::text[])"
        " WITH ORDINALITY AS wanted (workspace, user_id, domain, place)"
        " LEFT JOIN names ON names.domain = wanted.domain AND names.user_id = wanted.user_id"
        " AND names.kind <> 'former'"
        " LEFT JOIN workspaces ON workspaces.id = coalesce(wanted.workspace, names.workspace)"
        " AND (wanted.workspace IS NULL OR workspaces.domain = wanted.domain)"
        " LEFT JOIN mailboxes ON mailboxes.workspace = workspaces.id ORDER BY place",
        (
            [address.id.uuid if isinstance(address.id, WorkspaceID) else None for address in addresses],
            [None if isinstance(address.id, WorkspaceID) else str(address.id) for address in addresses],
            [str(address.domain) for address in addresses],
        ),
    )
    return many(lambda row: None if row.id is None else Recipient.from_row(row), txn)


def find_targets(txn: Transaction, targets: Sequence[WorkspaceID]) -> list[Recipient | None]:
    """Find workspaces that messages go to; ``None`` for each that does not exist."""
    if not targets:
        return []
    txn.execute(
        "SELECT workspaces.id, workspaces.status, mailboxes.workspace IS NOT NULL AS has_mailbox"
        " FROM unnest(%s::uuid[]) WITH ORDINALITY AS wanted (workspace, place)"
        " LEFT JOIN workspaces ON workspaces.id = wanted.workspace"
        " LEFT JOIN mailboxes ON mailboxes.workspace = wanted.workspace ORDER BY place",
        ([target.uuid for target in targets],),
    )
    return many(lambda row: None if row.id is None else Recipient.from_row(row), txn)


def is_administrator(txn: Transaction, workspace: WorkspaceID, domain: Domain) -> bool:
    """Tell whether a workspace has the user ID ``admin`` in the main domain."""
    txn.execute(
        "SELECT 1 FROM names WHERE domain = %s AND user_id = 'admin' AND kind = 'current' AND workspace = %s",
        (str(domain), workspace.uuid),
    )
    return txn.fetchone() is not None


def add_preregistered(txn: Transaction, workspace: WorkspaceID, domain: Domain) -> None:
    """Create a preregistered workspace.

    :raises Taken: if the ID is or was in use.
    """
    txn.execute(
        "INSERT INTO workspaces (id, domain, status) VALUES (%s, %s, 'preregistered') ON CONFLICT DO NOTHING",
        (workspace.uuid, str(domain)),
    )
    if not changed(txn):
        raise Taken("Workspace-ID")


def activate(txn: Transaction, workspace: WorkspaceID, credentials: Credentials) -> bool:
    """Turn a preregistered workspace into an active one; tell whether it was preregistered."""
    txn.execute(
        "UPDATE workspaces SET status = 'active', password_hash = %s, password_algorithm = %s,"
        " password_salt = %s, password_parameters = %s WHERE id = %s AND status = 'preregistered'",
        (
            credentials.hash,
            credentials.algorithm,
            credentials.salt,
            credentials.parameters,
            workspace.uuid,
        ),
    )
    return changed(txn)


def replace_password_hash(txn: Transaction, workspace: WorkspaceID, old: str, new: str) -> bool:
    """Store another Argon2id hash of the same password; tell whether ``old`` was still the stored one."""
    txn.execute(
        "UPDATE workspaces SET password_hash = %s WHERE id = %s AND password_hash = %s",
        (new, workspace.uuid, old),
    )
    return changed(txn)


def add_name(txn: Transaction, user_id: UserID, domain: Domain, workspace: WorkspaceID, kind: str) -> None:
    """Give a name to a workspace.

    :param kind: ``current`` or ``alias``.
    :raises Taken: if any workspace holds the name in this domain, or held it once.
    """
    txn.execute(
        "INSERT INTO names (domain, user_id, workspace, kind, unicode) VALUES (%s, %s, %s, %s, %s)"
        " ON CONFLICT (domain, user_id) DO NOTHING",
        (str(domain), str(user_id), workspace.uuid, kind, unicodedata.unidata_version),
    )
    if not changed(txn):
        raise Taken("User-ID")


def current_name(txn: Transaction, workspace: WorkspaceID) -> UserID | None:
    """Give the name of a workspace, if it has one."""
    txn.execute(
        "SELECT user_id FROM names WHERE workspace = %s AND kind = 'current'",
        (workspace.uuid,),
    )
    return maybe(lambda row: UserID(row.user_id), txn)


@frozen
class HeldName:
    """The workspace that holds a name, and in which way.

    :ivar kind: ``current``, ``former`` or ``alias``.
    """

    workspace: WorkspaceID
    kind: str

    @classmethod
    def from_row(cls, row: Row) -> "HeldName":
        """Make one from its columns."""
        return cls(WorkspaceID(row.workspace), row.kind)


def find_holder(txn: Transaction, user_id: UserID, domain: Domain) -> HeldName | None:
    """Find the holder of a name, be it current, former or an alias; no other workspace may have it."""
    txn.execute(
        "SELECT workspace, kind FROM names WHERE domain = %s AND user_id = %s", (str(domain), str(user_id))
    )
    return maybe(HeldName.from_row, txn)


def rename(txn: Transaction, user_id: UserID, domain: Domain, workspace: WorkspaceID) -> None:
    """Change a workspace's current name; its old one stays reserved for it (spec 04, ADDENTRY).

    The caller holds the lock of the workspace.

    :raises Taken: if another workspace holds or held the name, or if it is an alias.
    :raises LimitReached: if the workspace would have more than :data:`MOST_FORMER_NAMES` former names.
    """
    if current_name(txn, workspace) == user_id:
        return
    txn.execute(
        "UPDATE names SET kind = 'former' WHERE workspace = %s AND kind = 'current'", (workspace.uuid,)
    )
    txn.execute(
        "INSERT INTO names (domain, user_id, workspace, kind, unicode)"
        " VALUES (%(domain)s, %(name)s, %(workspace)s, 'current', %(unicode)s)"
        " ON CONFLICT (domain, user_id) DO UPDATE SET kind = 'current'"
        " WHERE names.workspace = %(workspace)s AND names.kind = 'former'",
        {
            "domain": str(domain),
            "name": str(user_id),
            "workspace": workspace.uuid,
            "unicode": unicodedata.unidata_version,
        },
    )
    if not changed(txn):
        raise Taken("User-ID")
    txn.execute(
        "SELECT 1 FROM names WHERE workspace = %s AND kind = 'former' OFFSET %s LIMIT 1",
        (workspace.uuid, MOST_FORMER_NAMES),
    )
    if txn.fetchone() is not None:
        raise LimitReached(
            f"A workspace keeps at most {MOST_FORMER_NAMES} former names; one can be taken back"
        )


def lock(txn: Transaction, workspace: WorkspaceID) -> WorkspaceStatus | None:
    """Lock a workspace's name and card against changes until the transaction ends; give its status."""
    txn.execute("SELECT status FROM workspaces WHERE id = %s FOR NO KEY UPDATE", (workspace.uuid,))
    return maybe(lambda row: WorkspaceStatus(row.status), txn)
