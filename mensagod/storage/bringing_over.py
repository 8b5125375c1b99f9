"""Bringing over the contents of an earlier version, which kept each file at its server path.

This prepares step 0009. A row of ``contents`` or ``queue`` that still has its old path goes through two
transactions:

1. The content is stored under its key, or in its row if it is small, and its hash is recorded.
2. The old name is removed, and the old path with it.

Whatever is killed at any moment, the row tells how to go on: with an old path but no hash the first is done,
maybe again, with both the second. Several processes take turns, because every batch runs under the lock of
migrations.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any, Final
from uuid import UUID

from attrs import define, field, frozen
from twisted.logger import Logger

from mensagod.contents.file_store import FileStore
from mensagod.contents.interfaces import PART_SIZE, WrongStore
from mensagod.contents.keys import ContentKey
from mensagod.contents.old_tree import OldFile, OldTree
from mensagod.contents.writing import hash_of
from mensagod.storage.installation import agree_on_store, find_store
from mensagod.storage.migrations import SchemaError
from mensagod.storage.rows import Row, Transaction, many, one
from mensagod.values.paths import ServerPath

VERSION: Final = 9
"""The schema step before which contents are brought over."""

BATCH: Final = 100
"""The most rows of one transaction."""

BATCH_BYTES: Final = 8 * PART_SIZE
"""After so many bytes a transaction ends early."""

PROGRESS_SECONDS: Final = 5.0

_log = Logger(namespace="mensagod.storage")


@frozen
class _Table:
    """A table whose rows have contents, and its statements."""

    select: str
    store: str
    put_inline: str
    finish: str


_CONTENTS: Final = _Table(
    select="SELECT workspace AS first, key AS second, key AS content, day, size,"
    " hash IS NOT NULL AS is_stored, old_path, NULL AS old_moved FROM contents"
    " WHERE old_path IS NOT NULL AND (workspace, key) > (%s, %s)"
    " ORDER BY workspace, key LIMIT %s",
    store="UPDATE contents SET hash = %s WHERE workspace = %s AND key = %s",
    put_inline="UPDATE contents SET data = %s, day = NULL, hash = %s WHERE workspace = %s AND key = %s",
    finish="UPDATE contents SET old_path = NULL WHERE workspace = %s AND key = %s",
)
_QUEUE: Final = _Table(
    select="SELECT bucket AS first, id AS second, content, day, size, hash IS NOT NULL AS is_stored,"
    " old_path, old_moved FROM queue WHERE (old_path IS NOT NULL OR old_moved IS NOT NULL)"
    " AND (bucket, id) > (%s, %s) ORDER BY bucket, id LIMIT %s",
    store="UPDATE queue SET hash = %s WHERE bucket = %s AND id = %s",
    put_inline="UPDATE queue SET data = %s, day = NULL, hash = %s WHERE bucket = %s AND id = %s",
    finish="UPDATE queue SET old_path = NULL, old_moved = NULL WHERE bucket = %s AND id = %s",
)

_ZERO: Final = UUID(int=0)


class NotBroughtOver(SchemaError):
    """A file of an earlier version could not be brought over."""

    def __init__(self, path: str, error: OSError):
        reason = error.strerror or error
        super().__init__(
            f"{path} could not be brought over to the content store ({reason}): repair that and start again,"
            " or remove the file if it is lost"
        )


@define
class _Walk:
    """Goes through the rows of a table that still have an old path, in the order of their keys."""

    table: _Table
    first: tuple[Any, UUID]
    after: tuple[Any, UUID] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.after = self.first

    def rows(self, txn: Transaction) -> Sequence[Row]:
        """Give the next rows; after the last one begin again, for rows that were left out."""
        rows = self._select(txn)
        if not rows and self.after != self.first:
            self.after = self.first
            rows = self._select(txn)
        return rows

    def _select(self, txn: Transaction) -> Sequence[Row]:
        txn.execute(self.table.select, (*self.after, BATCH))
        return many(lambda row: row, txn)


@define(eq=False)
class BringingOver:
    """The preparation of step 0009: each call is a batch (:data:`mensagod.storage.migrations.Preparation`).

    :ivar store: where the contents go. The old tree is in the same directory.
    :ivar inline_bytes: contents of up to this size go into their row; with 0 none do.
    :ivar clock: gives seconds, for the log.
    """

    store: FileStore
    inline_bytes: int
    clock: Callable[[], float] = time.monotonic
    _tree: OldTree = field(init=False)
    _walks: tuple[_Walk, ...] = field(init=False)
    _is_verified: bool = field(default=False, init=False)
    _next_report: float | None = field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self._tree = OldTree(self.store)
        self._walks = (_Walk(_CONTENTS, (_ZERO, _ZERO)), _Walk(_QUEUE, (-1, _ZERO)))

    def __call__(self, txn: Transaction) -> bool:
        """Bring over some contents; tell whether there were any.

        :raises WrongStore: if the store is not the one that belongs to the database.
        :raises NotBroughtOver: if a file cannot be read or written.
        """
        for walk in self._walks:
            rows = walk.rows(txn)
            if rows:
                if self._verify_store(txn):
                    self._bring_over(txn, walk, rows)
                    self._report(txn)
                return True
        self._clear_up()
        return False

    def _verify_store(self, txn: Transaction) -> bool:
        """Check the store's ID; tell whether that is done, or needs the commit of this batch."""
        if self._is_verified:
            return True
        known = find_store(txn)
        if known is None:
            agree_on_store(txn, self.store, self._has_files)
            return False
        self.store.require_id(known)
        self._is_verified = True
        return True

    def _has_files(self) -> bool:
        return self._tree.exists() or bool(self.store.list_days())

    def _bring_over(self, txn: Transaction, walk: _Walk, rows: Sequence[Row]) -> None:
        room, stored, finished = BATCH_BYTES, False, []
        for row in rows:
            if row.is_stored:
                finished.append(row)
            elif room <= 0:
                break
            elif self._store(txn, walk.table, row):
                stored = True
                room -= row.size
            else:
                # It is lost. Its row stays, so that the start goes on and its owner can remove it.
                txn.execute(walk.table.finish, (row.first, row.second))
        else:
            if not stored:
                walk.after = (rows[-1].first, rows[-1].second)
        # Their hashes were committed by an earlier batch.
        self._tree.unlink(path for row in finished for path in _paths(row))
        for row in finished:
            txn.execute(walk.table.finish, (row.first, row.second))

    def _store(self, txn: Transaction, table: _Table, row: Row) -> bool:
        """Store a content, and record its hash; tell whether it was there."""
        faults = []
        for path in _paths(row):
            name = self._tree.name(path)
            try:
                with self._tree.opened(path) as file:
                    if file is not None and file.size == row.size:
                        self._store_file(txn, table, row, file)
                        return True
                    found = "is missing" if file is None else f"has {file.size} bytes instead of {row.size}"
            except WrongStore:
                raise
            except OSError as error:
                raise NotBroughtOver(name, error) from error
            faults.append(f"{name} {found}")
        _log.error("the content of a file is lost: {faults}", faults=", ".join(faults))
        return False

    def _store_file(self, txn: Transaction, table: _Table, row: Row, file: OldFile) -> None:
        if self.inline_bytes and row.size <= self.inline_bytes:
            content = file.read()
            txn.execute(table.put_inline, (content, hash_of(content), row.first, row.second))
            return
        digest = file.bring_over(self.store, ContentKey(row.day, row.content))
        txn.execute(table.store, (digest, row.first, row.second))

    def _report(self, txn: Transaction) -> None:
        """Log every few seconds how many contents are left."""
        now = self.clock()
        if self._next_report is None or now >= self._next_report:
            self._next_report = now + PROGRESS_SECONDS
            txn.execute(_COUNT)
            left = one(lambda row: int(row.contents), txn)
            _log.info("bringing over the contents of an earlier version: {left} left", left=left)

    def _clear_up(self) -> None:
        """Remove the empty directories of the old tree, and name once what stays in the others."""
        for leftovers in self._tree.remove_empty():
            _log.warn(
                "{count} files below {directory} belong to nothing in the database, and stay there",
                count=leftovers.count,
                directory=leftovers.directory,
            )


_COUNT = """
SELECT (SELECT count(*) FROM contents WHERE old_path IS NOT NULL)
    + (SELECT count(*) FROM queue WHERE old_path IS NOT NULL OR old_moved IS NOT NULL) AS contents"""


def _paths(row: Row) -> list[ServerPath]:
    """Give the paths at which an earlier version may have kept a content."""
    return [ServerPath.from_text(path) for path in (row.old_path, row.old_moved) if path is not None]
