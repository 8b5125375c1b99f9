"""Waiting for what other transactions do."""

from mensagod.storage.rows import Transaction


def until_someone_waits(txn: Transaction) -> None:
    """Block until a transaction waits for a lock."""
    while True:
        txn.execute("SELECT pg_sleep(0.01), count(*) AS waiting FROM pg_locks WHERE NOT granted")
        row = txn.fetchone()
        if row is not None and row.waiting:
            return
