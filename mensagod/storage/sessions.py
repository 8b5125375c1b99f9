"""The rows of logged-in sessions. A session ends when its row is deleted (spec 06, *Running many*)."""

from collections.abc import Collection, Sequence
from typing import TypeAlias
from uuid import UUID

from attrs import frozen

from mensagod.storage import events
from mensagod.storage.devices import Presented
from mensagod.storage.events import Ending
from mensagod.storage.rows import Transaction, many
from mensagod.values.identity import DeviceID, WorkspaceID

SessionKey: TypeAlias = tuple[WorkspaceID, UUID]
"""The key of a session's row: its workspace and its ID."""


@frozen
class PresentSession:
    """A session whose connection is open in this process, whether or not it has a row."""

    id: UUID
    workspace: WorkspaceID
    device: DeviceID
    address: str


def add_session(
    txn: Transaction, session: UUID, process: UUID, workspace: WorkspaceID, device: Presented
) -> None:
    """Add the row of a session.

    The row of its process is added, too, if it was deleted because the process counted as dead. That happens
    if the process could not reach the database for a while.
    """
    _ensure_process(txn, process)
    txn.execute(
        "INSERT INTO sessions (id, process, workspace, device, address) VALUES (%s, %s, %s, %s, %s)",
        (session, process, workspace.uuid, device.id.uuid, device.address),
    )


def other_sessions(txn: Transaction, session: UUID, workspace: WorkspaceID, device: DeviceID) -> list[str]:
    """Give the addresses of a device's other sessions."""
    txn.execute(
        "SELECT address FROM sessions WHERE workspace = %s AND device = %s AND id <> %s",
        (workspace.uuid, device.uuid, session),
    )
    return many(lambda row: row.address, txn)


def remove_sessions(txn: Transaction, sessions: Collection[SessionKey]) -> None:
    """Delete the rows of sessions whose connections have ended."""
    txn.execute(
        "DELETE FROM sessions USING unnest(%s::uuid[], %s::uuid[]) AS ended (workspace, id)"
        " WHERE sessions.workspace = ended.workspace AND sessions.id = ended.id",
        ([workspace.uuid for workspace, _ in sessions], [session for _, session in sessions]),
    )


def end_sessions(
    txn: Transaction,
    workspace: WorkspaceID,
    *,
    device: DeviceID | None = None,
    spare: UUID | None = None,
    reason: str,
) -> None:
    """End sessions of a workspace in all processes; their connections are closed within a second.

    Call this at the end of a transaction, because it adds an event, see :func:`mensagod.storage.events.add`.

    :param device: the device whose sessions end; ``None`` for all devices.
    :param spare: the ID of a session that continues.
    :param reason: a sentence for their clients and for the log.
    """
    txn.execute(
        "DELETE FROM sessions WHERE workspace = %(workspace)s"
        " AND (%(device)s::uuid IS NULL OR device = %(device)s)"
        " AND (%(spare)s::uuid IS NULL OR id <> %(spare)s)",
        {
            "workspace": workspace.uuid,
            "device": None if device is None else device.uuid,
            "spare": spare,
        },
    )
    events.add(txn, Ending(workspace, device, spare, reason))


def restore_sessions(txn: Transaction, process: UUID, sessions: Sequence[PresentSession]) -> frozenset[UUID]:
    """Add the missing rows of sessions, which were deleted while their process counted as dead.

    :returns: the sessions that have rows now: those whose workspace and device may log in.
    """
    _ensure_process(txn, process)
    found = _find_rows(txn, sessions)
    without_row = [session for session in sessions if found.get(session.id) is False]
    txn.execute(
        "INSERT INTO sessions (id, process, workspace, device, address)"
        " SELECT id, %(process)s, workspace, device, address"
        " FROM unnest(%(ids)s::uuid[], %(workspaces)s::uuid[], %(devices)s::uuid[], %(addresses)s::text[])"
        " AS without_row (id, workspace, device, address)",
        {
            **_columns(without_row),
            "process": process,
            "addresses": [session.address for session in without_row],
        },
    )
    return frozenset(found)


def rightful_sessions(txn: Transaction, sessions: Sequence[PresentSession]) -> frozenset[UUID]:
    """Give the sessions that have a row and whose workspace and device may log in."""
    return frozenset(session for session, has_row in _find_rows(txn, sessions).items() if has_row)


def _find_rows(txn: Transaction, sessions: Sequence[PresentSession]) -> dict[UUID, bool]:
    """Give, for each session whose workspace and device may log in, whether it has a row."""
    txn.execute(
        "SELECT present.id, sessions.id IS NOT NULL AS has_row"
        " FROM unnest(%(ids)s::uuid[], %(workspaces)s::uuid[], %(devices)s::uuid[])"
        " AS present (id, workspace, device)"
        " JOIN workspaces ON workspaces.id = present.workspace"
        " AND workspaces.status IN ('active', 'approved')"
        " JOIN devices ON devices.workspace = present.workspace AND devices.id = present.device"
        " AND devices.status IN ('registered', 'approved')"
        " LEFT JOIN sessions ON sessions.workspace = present.workspace AND sessions.id = present.id",
        _columns(sessions),
    )
    return dict(many(lambda row: (row.id, row.has_row), txn))


def _ensure_process(txn: Transaction, process: UUID) -> None:
    """Add the row of a process if it is missing, without a name, so that its next heartbeat notices."""
    txn.execute("INSERT INTO processes (id, name) VALUES (%s, '') ON CONFLICT (id) DO NOTHING", (process,))


def _columns(sessions: Sequence[PresentSession]) -> dict[str, object]:
    return {
        "ids": [session.id for session in sessions],
        "workspaces": [session.workspace.uuid for session in sessions],
        "devices": [session.device.uuid for session in sessions],
    }
