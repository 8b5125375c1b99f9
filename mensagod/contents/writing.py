"""Writing a content to files, part by part."""

import hashlib
import os
from contextlib import suppress
from typing import Any, Final
from uuid import UUID

from attrs import define, field
from zope.interface import implementer

from mensagod.contents.interfaces import IContentWriter, Written
from mensagod.contents.parts import create_part, remove_parts

HASH_SIZE: Final = 32

_PIECE: Final = 1024 * 1024


def new_hash() -> Any:
    """Begin a hash of a content: BLAKE2b-256."""
    return hashlib.blake2b(digest_size=HASH_SIZE)


def hash_of(content: bytes) -> bytes:
    """Give the hash of a content."""
    digest: bytes = hashlib.blake2b(content, digest_size=HASH_SIZE).digest()
    return digest


@implementer(IContentWriter)
@define(eq=False)
class FileWriter:
    """Writes one content; both descriptors become its own.

    :ivar size: the number of bytes so far.
    """

    _directory: int
    _content: UUID
    _part_size: int
    _part: int
    """The open file of the part that is being written; -1 if the next part has not begun."""
    size: int = 0
    _hash: Any = None
    """``None`` if the bytes before are not known."""
    _has_failed: bool = field(default=False, init=False)

    def write(self, data: bytes) -> None:
        """Add bytes; each part is synced as soon as it is whole."""
        self._begin_step()
        view = memoryview(data)
        while view:
            if self._part < 0:
                self._part = create_part(self._directory, self._content, self.size // self._part_size)
            room = self._part_size - self.size % self._part_size
            count = os.write(self._part, view[: min(room, _PIECE)])
            if self._hash is not None:
                self._hash.update(view[:count])
            self.size += count
            view = view[count:]
            if count == room:
                self._end_part()
        self._has_failed = False

    def finish(self) -> Written:
        """Make the last part durable."""
        self._begin_step()
        self._end_part()
        self._close()
        return Written(self.size, None if self._hash is None else self._hash.digest())

    def pause(self) -> int:
        """Make the bytes so far durable; without any, remove the part that was begun."""
        self._begin_step()
        if self.size == 0:
            self.abandon()
            return 0
        self._end_part()
        self._close()
        return self.size

    def abandon(self) -> None:
        """Remove all parts, also those that were there when writing was resumed."""
        if self._directory < 0:
            return
        try:
            remove_parts(self._directory, self._content)
            os.fsync(self._directory)
        finally:
            self._close()

    def _begin_step(self) -> None:
        """Refuse to go on after a failure: the disk may have kept something else than was written."""
        if self._directory < 0 or self._has_failed:
            raise ValueError("the writing of this content has ended or failed")
        self._has_failed = True

    def _end_part(self) -> None:
        if self._part >= 0:
            os.fsync(self._part)
            os.fsync(self._directory)
            part, self._part = self._part, -1
            os.close(part)

    def _close(self) -> None:
        descriptors = (self._part, self._directory)
        self._part = self._directory = -1
        for descriptor in descriptors:
            # What a close reports is of no interest any more: all that matters was synced.
            with suppress(OSError):
                os.close(descriptor)
