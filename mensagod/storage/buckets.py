"""Which process works on which buckets of the queue (spec 05, *The queue*).

A worker's row says until when it lives. A bucket belongs to a process for as long as that has a row that is
valid; so the share of a process costs one row to renew, however many buckets are in it.
"""

from typing import Final
from uuid import UUID

from attrs import frozen

from mensagod.storage.queue import BUCKETS
from mensagod.storage.rows import Transaction, many, one

LEASE_SECONDS: Final = 10
"""How long a worker counts as living after it said so."""


@frozen
class Share:
    """The buckets of one process.

    :ivar workers: how many processes share all buckets.
    """

    buckets: frozenset[int]
    workers: int


def take_share(txn: Transaction, process: UUID) -> Share:
    """Show that a process lives, and give its share; what others have too many of they give back likewise."""
    named: dict[str, object] = {"process": process, "lease": LEASE_SECONDS}
    txn.execute(
        "INSERT INTO queue_workers (process, until)"
        " VALUES (%(process)s, now() + %(lease)s * interval '1 second')"
        " ON CONFLICT (process) DO UPDATE SET until = excluded.until",
        named,
    )
    # A time that lies further ahead was written under another clock.
    txn.execute(
        "DELETE FROM queue_workers"
        " WHERE until NOT BETWEEN now() AND now() + 2 * %(lease)s * interval '1 second'",
        named,
    )
    txn.execute("SELECT count(*) AS workers FROM queue_workers", named)
    workers = one(lambda row: int(row.workers), txn)
    mine = _list_mine(txn, process)
    most = -(-BUCKETS // workers)
    if len(mine) > most:
        _hand_over(txn, [(bucket, process) for bucket in mine[most:]], None)
        return Share(frozenset(mine[:most]), workers)
    free = _list_free(txn, most - len(mine)) if len(mine) < most else []
    if not free:
        return Share(frozenset(mine), workers)
    _hand_over(txn, free, process)
    return Share(frozenset(_list_mine(txn, process)), workers)


def give_back(txn: Transaction, process: UUID) -> None:
    """Give the share of a process back, because it stops."""
    _hand_over(txn, [(bucket, process) for bucket in _list_mine(txn, process)], None)
    txn.execute("DELETE FROM queue_workers WHERE process = %s", (process,))


def _list_mine(txn: Transaction, process: UUID) -> list[int]:
    txn.execute("SELECT bucket FROM queue_buckets WHERE process = %s ORDER BY bucket", (process,))
    return many(lambda row: int(row.bucket), txn)


def _list_free(txn: Transaction, most: int) -> list[tuple[int, UUID | None]]:
    """Give buckets that nobody works on, each with the dead process that has it."""
    txn.execute(
        "SELECT bucket, process FROM queue_buckets WHERE process IS NULL"
        " OR NOT EXISTS (SELECT FROM queue_workers WHERE queue_workers.process = queue_buckets.process)"
        " ORDER BY bucket LIMIT %s",
        (most,),
    )
    return many(lambda row: (int(row.bucket), row.process), txn)


def _hand_over(txn: Transaction, buckets: list[tuple[int, UUID | None]], new: UUID | None) -> None:
    """Give buckets to a process, or to nobody.

    :param buckets: each with the process that has it; if another one has it meanwhile it is left alone.
    """
    for bucket, old in buckets:
        # Nothing but the row itself is asked: after a wait for another process, the rest of the statement
        # would still see the other tables as they were before.
        txn.execute(
            "UPDATE queue_buckets SET process = %s WHERE bucket = %s AND process IS NOT DISTINCT FROM %s",
            (new, bucket, old),
        )
