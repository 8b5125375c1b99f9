"""The transaction of a login (spec 04, *Logging in*)."""

from uuid import UUID, uuid4

from attrs import field, frozen

from mensagod.storage import devices, events, folders, mailboxes, sessions, workspaces
from mensagod.storage.devices import DeviceStatus, Presented
from mensagod.storage.rows import Transaction
from mensagod.storage.workspaces import WorkspaceStatus
from mensagod.values.identity import Domain, WorkspaceID

_ADMITTED = frozenset({WorkspaceStatus.ACTIVE, WorkspaceStatus.APPROVED})


class NotAdmitted(Exception):
    """The workspace or the device may no longer log in.

    :ivar status: the workspace's status; if the workspace may log in, the device may not, or the password was
        changed during the login.
    """

    def __init__(self, status: WorkspaceStatus):
        super().__init__(str(status))
        self.status = status


@frozen
class Admission:
    """A device that has proved that it has its key, and the session that it is going to have.

    :ivar password: what was stored of the password when it was checked.
    """

    workspace: WorkspaceID
    device: Presented
    password: str = field(repr=False)
    session: UUID = field(factory=uuid4)


@frozen
class LoggedIn:
    """The state that a session starts with.

    :ivar last_update: the number of the newest update record.
    :ivar last_event: the number of the newest event when the login began; an
        :class:`~mensagod.storage.events.Ending` after it ends this session, too.
    :ivar elsewhere: the addresses of the device's other sessions.
    """

    is_admin: bool
    last_update: int
    last_event: int
    elsewhere: list[str]


def log_in(txn: Transaction, login: Admission, process: UUID, main_domain: Domain) -> LoggedIn:
    """Check the device, or register a first one; create missing top directories; add the session.

    :raises NotAdmitted: if the workspace or the device may not log in any more, or its password was changed.
    """
    # Read before the checks: a later change of what they check ends this session by a later event.
    last_event = events.newest(txn)
    workspace = workspaces.find_workspace(txn, login.workspace)
    if workspace is None or workspace.status not in _ADMITTED:
        raise NotAdmitted(workspace.status if workspace else WorkspaceStatus.ARCHIVED)
    if workspace.credentials is None or workspace.credentials.hash != login.password:
        raise NotAdmitted(workspace.status)
    # The lock keeps two devices from being registered as the first one at the same time.
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
