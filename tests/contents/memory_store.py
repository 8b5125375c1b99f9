"""A content store in memory."""

import hashlib
from collections.abc import Sequence
from datetime import date
from uuid import UUID

from attrs import define, field
from zope.interface import implementer

from mensagod.contents.inline import InlineContent
from mensagod.contents.interfaces import IContentStore, IContentWriter, Written, WrongStore
from mensagod.contents.keys import ContentKey


@implementer(IContentStore)
@define(eq=False)
class MemoryStore:
    """Contents in a dictionary; those that are being written are there, too."""

    place: str = "memory"
    free: float = 100.0
    contents: dict[ContentKey, bytes] = field(factory=dict)
    _id: UUID | None = None
    _proposed: UUID | None = None
    _required: UUID | None = None

    def write(self, key: ContentKey, offset: int = 0) -> "MemoryWriter":
        self._check()
        if not offset:
            if key in self.contents:
                raise FileExistsError(str(key.id))
            self.contents[key] = b""
            return MemoryWriter(self, key, hashlib.blake2b(digest_size=32))
        stored = self.contents.get(key, b"")
        if len(stored) < offset:
            raise ValueError(f"Only {len(stored)} bytes are stored of the content {key.id}")
        self.contents[key] = stored[:offset]
        return MemoryWriter(self, key, None)

    def open(self, key: ContentKey, size: int) -> InlineContent:
        self._check()
        if len(self.contents.get(key, b"")) != size or key not in self.contents:
            raise FileNotFoundError(str(key.id))
        return InlineContent(self.contents[key])

    def head(self, key: ContentKey) -> int | None:
        self._check()
        return len(self.contents[key]) if key in self.contents else None

    def remove(self, key: ContentKey) -> None:
        self._check()
        self.contents.pop(key, None)

    def list_days(self) -> Sequence[date]:
        return sorted({key.day for key in self.contents})

    def list_day(self, day: date, after: UUID | None, most: int) -> Sequence[UUID]:
        found = sorted(key.id for key in self.contents if key.day == day)
        return [content for content in found if after is None or content > after][:most]

    def free_percent(self) -> float:
        return self.free

    def read_id(self) -> UUID | None:
        return self._id

    def propose_id(self, store: UUID) -> None:
        if self._id is not None:
            raise FileExistsError("The store has an ID already")
        self._proposed = store

    def require_id(self, store: UUID) -> None:
        if self._id is None and self._proposed == store:
            self._id = store
        if self._id != store:
            raise WrongStore(
                f"The store has the ID {self._id}, but the database belongs to the store {store}"
            )
        self._required = store

    def _check(self) -> None:
        if self._required is not None and self._required != self._id:
            raise WrongStore("The store has become another one")


@implementer(IContentWriter)
@define(eq=False)
class MemoryWriter:
    """Writes one content of a store in memory."""

    _store: MemoryStore
    _key: ContentKey
    _hash: "hashlib.blake2b | None"
    _has_ended: bool = False

    def write(self, data: bytes) -> None:
        self._require_open()
        self._store.contents[self._key] += data
        if self._hash is not None:
            self._hash.update(data)

    def finish(self) -> Written:
        self._require_open()
        self._has_ended = True
        size = len(self._store.contents[self._key])
        return Written(size, None if self._hash is None else self._hash.digest())

    def pause(self) -> int:
        self._require_open()
        size = len(self._store.contents[self._key])
        if not size:
            self.abandon()
        self._has_ended = True
        return size

    def abandon(self) -> None:
        if not self._has_ended:
            self._has_ended = True
            self._store.contents.pop(self._key, None)

    def _require_open(self) -> None:
        if self._has_ended:
            raise ValueError("the writing of this content has ended")
