"""The change of state that a login is, in one transaction (spec 04, *Logging in*)."""

from uuid import UUID, uuid4

from attrs import field, frozen

from mensagod.storage import devices, events, folders, mailboxes, sessions, workspaces
from mensagod.storage.devices import DeviceStatus, Presented
from mensagod.storage.rows import Transaction
from mensagod.storage.workspaces import WorkspaceStatus
from mensagod.values.identity import Domain, WorkspaceID

_ADMITTED = frozenset({WorkspaceStatus.ACTIVE, WorkspaceStatus.APPROVED})


class NotAdmitted(Exception):
    """What was true when the login began is so no more.

    :ivar status: the workspace's status; an admitted one if it is the device that is not, or the password was
        changed.
    """

    def __init__(self, status: WorkspaceStatus):
        super().__init__(str(status))
        self.status = status


@frozen
class Admission:
    """A device of a workspace that proved itself.

    :ivar password: what was stored of the password when it was found right.
    """

    workspace: WorkspaceID
    device: Presented
    password: str = field(repr=False)
    session: UUID = field(factory=uuid4)


@frozen
class LoggedIn:
    """What a session begins with.

    :ivar last_update: the number of the newest update record.
    :ivar last_event: the number of the newest event when the login began: what ended sessions later ends this
        one, too.
    :ivar elsewhere: the addresses at which the same device is logged in too.
    """

    is_admin: bool
    last_update: int
    last_event: int
    elsewhere: list[str]


def log_in(txn: Transaction, login: Admission, process: UUID, main_domain: Domain) -> LoggedIn:
    """Register or recognise the device, make what the workspace must have, and note the session.

    :raises NotAdmitted: if the workspace or the device may not log in any more, or its password was changed.
    """
    # Before anything is checked: who changes that later, and ends sessions for it, ends this one too.
    last_event = events.newest(txn)
    workspace = workspaces.find_workspace(txn, login.workspace)
    if workspace is None or workspace.status not in _ADMITTED:
        raise NotAdmitted(workspace.status if workspace else WorkspaceStatus.ARCHIVED)
    if workspace.credentials is None or workspace.credentials.hash != login.password:
        raise NotAdmitted(workspace.status)
    # Of two first devices at once the lock lets one be first.
    mailbox = mailboxes.lock(txn, login.workspace)
    if mailbox is None:
        raise NotAdmitted(WorkspaceStatus.ARCHIVED)
    _admit_device(txn, login, workspace.status)
    devices.note_login(txn, login.workspace, login.device.id, login.device.info)
    folders.ensure_top(txn, login.workspace)
    sessions.add_session(txn, login.session, process, login.workspace, login.device)
    return LoggedIn(
        workspaces.is_administrator(txn, login.workspace, main_domain),
        mailbox.last_update,
        last_event,
        sessions.other_sessions(txn, login.session, login.workspace, login.device.id),
    )


def _admit_device(txn: Transaction, login: Admission, status: WorkspaceStatus) -> None:
    known = devices.find_device(txn, login.workspace, login.device.id)
    if known is None:
        if devices.has_trusted(txn, login.workspace):
            raise NotAdmitted(status)
        devices.register(txn, login.workspace, login.device)
    elif known.key != login.device.key or known.status not in {
        DeviceStatus.REGISTERED,
        DeviceStatus.APPROVED,
    }:
        raise NotAdmitted(status)
