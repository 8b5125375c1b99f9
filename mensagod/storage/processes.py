"""Server processes that share the database."""

from uuid import UUID

from mensagod.storage.rows import Transaction, changed

DEAD_SECONDS = 60
"""After this silence a process counts as dead, and its sessions as ended."""


def enroll(txn: Transaction, process: UUID, name: str) -> bool:
    """Make a process known, or note that it still lives; forget those that do not.

    Who could not speak for a while itself, because the database was away, first lets the others speak.

    :param name: not empty.
    :returns: whether it was known already. One that was taken for dead is not, and the rows of its sessions
        are gone.
    """
    txn.execute(
        "DELETE FROM processes WHERE seen < now() - %(dead)s * interval '1 second' AND EXISTS ("
        "SELECT FROM processes WHERE id = %(process)s AND seen >= now() - %(dead)s * interval '1 second')",
        {"process": process, "dead": DEAD_SECONDS},
    )
    # A login that made the row again does not know the name.
    txn.execute("UPDATE processes SET seen = now() WHERE id = %s AND name = %s", (process, name))
    if changed(txn):
        return True
    txn.execute(
        "INSERT INTO processes (id, name) VALUES (%s, %s)"
        " ON CONFLICT (id) DO UPDATE SET seen = now(), name = excluded.name",
        (process, name),
    )
    return False


def dismiss(txn: Transaction, process: UUID) -> None:
    """Forget a process that ends, and its sessions."""
    txn.execute("DELETE FROM processes WHERE id = %s", (process,))
