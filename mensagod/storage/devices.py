"""Devices of workspaces, and what they may do (spec 04, *Logging in*)."""

from enum import StrEnum

from attrs import frozen

from mensagod.crypto.cryptostring import CryptoString
from mensagod.storage.rows import Row, Transaction, maybe
from mensagod.values.identity import DeviceID, WorkspaceID


class DeviceStatus(StrEnum):
    """The states of a device within its workspace."""

    REGISTERED = "registered"
    APPROVED = "approved"
    PENDING = "pending"
    BLOCKED = "blocked"


@frozen
class KnownDevice:
    """A device that asked for its workspace at least once."""

    id: DeviceID
    key: CryptoString
    status: DeviceStatus

    @classmethod
    def from_row(cls, row: Row) -> "KnownDevice":
        """Make one from ``id``, ``key`` and ``status``."""
        return cls(DeviceID(row.id), CryptoString.from_text(row.key), DeviceStatus(row.status))


@frozen
class Presented:
    """A device as it presents itself, and from where."""

    id: DeviceID
    key: CryptoString
    info: CryptoString | None
    address: str


def find_device(txn: Transaction, workspace: WorkspaceID, device: DeviceID) -> KnownDevice | None:
    """Find a device of a workspace."""
    txn.execute(
        "SELECT id, key, status FROM devices WHERE workspace = %s AND id = %s",
        (workspace.uuid, device.uuid),
    )
    return maybe(KnownDevice.from_row, txn)


def has_trusted(txn: Transaction, workspace: WorkspaceID) -> bool:
    """Tell whether any device of the workspace is registered or approved."""
    txn.execute(
        "SELECT 1 FROM devices WHERE workspace = %s AND status IN ('registered', 'approved') LIMIT 1",
        (workspace.uuid,),
    )
    return txn.fetchone() is not None


def register(txn: Transaction, workspace: WorkspaceID, device: Presented) -> None:
    """Store a device as registered."""
    txn.execute(
        "INSERT INTO devices (workspace, id, key, info, status, address)"
        " VALUES (%s, %s, %s, %s, 'registered', %s)",
        (
            workspace.uuid,
            device.id.uuid,
            str(device.key),
            str(device.info) if device.info else None,
            device.address,
        ),
    )


def note_login(txn: Transaction, workspace: WorkspaceID, device: DeviceID, info: CryptoString | None) -> None:
    """Note that a device has logged in; new information about it replaces the old."""
    txn.execute(
        "UPDATE devices SET last_login = now(), info = coalesce(%s, info) WHERE workspace = %s AND id = %s",
        (str(info) if info else None, workspace.uuid, device.uuid),
    )
