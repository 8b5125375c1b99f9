"""What the database and the content store have in common (spec 06, *Files*)."""

from collections.abc import Callable
from uuid import UUID, uuid4

from mensagod.contents.interfaces import IContentStore, WrongStore
from mensagod.storage.rows import Transaction, changed, maybe, one


def add_store(txn: Transaction, store: UUID) -> bool:
    """Record the ID of the content store; tell whether there was none.

    Waits for another transaction that does the same.
    """
    txn.execute("INSERT INTO installation (store) VALUES (%s) ON CONFLICT (id) DO NOTHING", (store,))
    return changed(txn)


def find_store(txn: Transaction) -> UUID | None:
    """Give the ID of the content store; ``None`` before the first start with one."""
    txn.execute("SELECT store FROM installation")
    return maybe(lambda row: UUID(str(row.store)), txn)


def agree_on_store(txn: Transaction, store: IContentStore, has_files: Callable[[], bool]) -> UUID:
    """Give the ID that the store must have; a database without one gets one, and so does the store.

    The store has the ID once it is required after the commit. A crash before the commit leaves a proposal,
    which the next start replaces.

    :param has_files: tells whether the store has files at all.
    :raises WrongStore: if the store cannot be the one that the database knows.
    """
    known = find_store(txn)
    if known is not None:
        return known
    made = uuid4()
    if not add_store(txn, made):
        # Another process was faster, and has committed.
        txn.execute("SELECT store FROM installation")
        return one(lambda row: UUID(str(row.store)), txn)
    _refuse_other(txn, store, has_files)
    store.propose_id(made)
    return made


def _refuse_other(txn: Transaction, store: IContentStore, has_files: Callable[[], bool]) -> None:
    found = store.read_id()
    if found is not None:
        raise WrongStore(
            f"{store.place} has the ID {found}, but the database does not know it: correct global.top_dir,"
            " or restore the database that belongs to this store"
        )
    count = _count_contents(txn)
    if count and not has_files():
        raise WrongStore(
            f"The database has {count} files and messages, but {store.place} (global.top_dir) contains none:"
            " mount its disk, or correct global.top_dir"
        )


def _count_contents(txn: Transaction) -> int:
    """Count the contents that are in the store."""
    txn.execute(
        "SELECT (SELECT count(*) FROM contents WHERE day IS NOT NULL)"
        " + (SELECT count(*) FROM queue WHERE day IS NOT NULL) AS contents"
    )
    return one(lambda row: int(row.contents), txn)
