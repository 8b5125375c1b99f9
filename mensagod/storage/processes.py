"""The server processes that share the database."""

from uuid import UUID

from mensagod.storage.rows import Transaction, changed

DEAD_SECONDS = 60
"""Seconds without a heartbeat after which a process counts as dead, and its sessions as ended."""

_RECENT = "BETWEEN now() - %(dead)s * interval '1 second' AND now() + %(dead)s * interval '1 second'"
_DELETE = "DELETE FROM processes WHERE seen NOT "
_OWN = " AND EXISTS (SELECT FROM processes WHERE id = %(process)s AND seen "
_DELETE_DEAD = _DELETE + _RECENT + _OWN + _RECENT + ")"


def enroll(txn: Transaction, process: UUID, name: str) -> bool:
    """Record the heartbeat of a process, and add its row if it is missing; delete the rows of dead processes.

    Dead processes are deleted only if this process's own heartbeat is recent. If it is not, the database was
    probably unavailable, or its clock was set, and the others get time for their heartbeats first. A
    heartbeat that lies ahead by as much was written before the clock was set back; a process that lives
    renews it.

    :param name: not empty.
    :returns: whether the process had a row. If it counted as dead, its row was deleted with those of its
        sessions.
    """
    txn.execute(_DELETE_DEAD, {"process": process, "dead": DEAD_SECONDS})
    if txn.rowcount:
        _remove_orphans(txn)
    # A row that a login added has an empty name, and does not count as known.
    txn.execute("UPDATE processes SET seen = now() WHERE id = %s AND name = %s", (process, name))
    if changed(txn):
        return True
    txn.execute(
        "INSERT INTO processes (id, name) VALUES (%s, %s)"
        " ON CONFLICT (id) DO UPDATE SET seen = excluded.seen, name = excluded.name",
        (process, name),
    )
    return False


def dismiss(txn: Transaction, process: UUID) -> None:
    """Delete the row of a process that ends, and those of its sessions."""
    txn.execute("DELETE FROM sessions WHERE process = %s", (process,))
    txn.execute("DELETE FROM processes WHERE id = %s", (process,))


def _remove_orphans(txn: Transaction) -> None:
    """Delete the sessions of processes that have no rows.

    A login that is under way at that moment adds the row of its process again, or its session is deleted when
    the next process dies.
    """
    txn.execute(
        "DELETE FROM sessions WHERE NOT EXISTS (SELECT FROM processes WHERE processes.id = sessions.process)"
    )
