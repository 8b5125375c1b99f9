"""Server processes that share the database, and the sessions that each of them has."""

from uuid import UUID

from mensagod.storage.devices import Presented
from mensagod.storage.rows import Transaction, many
from mensagod.values.identity import DeviceID, WorkspaceID

DEAD_SECONDS = 60
"""After this silence a process counts as dead, and its sessions as ended."""


def enroll(txn: Transaction, process: UUID, name: str) -> None:
    """Make a process known, or note that it still lives; forget those that do not.

    Who could not speak for a while itself, because the database was away, first lets the others speak.
    """
    txn.execute(
        "DELETE FROM processes WHERE seen < now() - %(dead)s * interval '1 second' AND EXISTS ("
        "SELECT FROM processes WHERE id = %(process)s AND seen >= now() - %(dead)s * interval '1 second')",
        {"process": process, "dead": DEAD_SECONDS},
    )
    txn.execute(
        "INSERT INTO processes (id, name) VALUES (%s, %s)"
        " ON CONFLICT (id) DO UPDATE SET seen = now(), name = excluded.name",
        (process, name),
    )


def dismiss(txn: Transaction, process: UUID) -> None:
    """Forget a process that ends, and its sessions."""
    txn.execute("DELETE FROM processes WHERE id = %s", (process,))


def add_session(
    txn: Transaction, session: UUID, process: UUID, workspace: WorkspaceID, device: Presented
) -> None:
    """Note that a device is logged in at a process.

    The process becomes known again if it was taken for dead, which a while without database can do.
    """
    txn.execute("INSERT INTO processes (id, name) VALUES (%s, '') ON CONFLICT (id) DO NOTHING", (process,))
    txn.execute(
        "INSERT INTO sessions (id, process, workspace, device, address) VALUES (%s, %s, %s, %s, %s)",
        (session, process, workspace.uuid, device.id.uuid, device.address),
    )


def other_sessions(txn: Transaction, session: UUID, workspace: WorkspaceID, device: DeviceID) -> list[str]:
    """Give the addresses of a device's other live sessions."""
    txn.execute(
        "SELECT address FROM sessions WHERE workspace = %s AND device = %s AND id <> %s",
        (workspace.uuid, device.uuid, session),
    )
    return many(lambda row: row.address, txn)


def remove_session(txn: Transaction, session: UUID) -> None:
    """Note that a session has ended."""
    txn.execute("DELETE FROM sessions WHERE id = %s", (session,))
