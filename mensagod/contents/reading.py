"""Reading a content from the files of its parts."""

import errno
import os
from typing import Final
from uuid import UUID

from attrs import define, field
from zope.interface import implementer

from mensagod.contents.interfaces import IStoredContent
from mensagod.contents.layout import count_parts, part_name, size_of_part
from mensagod.contents.parts import open_part

KEPT_OPEN: Final = 32
"""The most parts that are kept open for one reader, 256 MiB of content."""


@implementer(IStoredContent)
@define(eq=False)
class StoredContent:
    """A content of which the first parts are open, so that they can be read after the content was removed.

    The parts after these are opened one at a time when reading comes to them, because descriptors are scarce.
    What is removed as garbage was not needed for a day, and no transfer takes so long.

    :ivar size: in bytes.
    """

    size: int
    _part_size: int
    _content: UUID
    _directory: int
    """Open only if there are parts that are not."""
    _parts: list[int]
    _later: tuple[int, int] = field(default=(-1, -1), init=False)
    """The number and the descriptor of the one further part that is open."""
    _position: int = field(default=0, init=False)

    @classmethod
    def open(cls, directory: int, content: UUID, size: int, part_size: int) -> "StoredContent":
        """Open a content in its directory.

        :raises FileNotFoundError: if a part is missing or has another size.
        """
        stored = cls(size, part_size, content, -1, [])
        count = count_parts(size, part_size)
        try:
            for number in range(min(count, KEPT_OPEN)):
                stored._parts.append(_open_checked(stored, directory, number))
            if count > KEPT_OPEN:
                stored._directory = os.dup(directory)
                for number in range(KEPT_OPEN, count):
                    os.close(_open_checked(stored, directory, number))
        except BaseException:
            stored.close()
            raise
        return stored

    def seek(self, offset: int) -> None:
        """Continue reading at ``offset``."""
        self._position = offset

    def read(self, size: int) -> bytes:
        """Give the next bytes, fewer than ``size`` only at the end."""
        pieces: list[bytes] = []
        while size > 0 and self._position < self.size:
            number, offset = divmod(self._position, self._part_size)
            piece = os.pread(self._open(number), min(size, self._room(number, offset)), offset)
            if not piece:
                raise OSError(errno.EIO, "The file has become shorter", part_name(self._content, number))
            pieces.append(piece)
            self._position += len(piece)
            size -= len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def read_ready(self, size: int) -> bytes:
        """Give those of the next bytes that are in the page cache; none if reading them would block."""
        if self._position >= self.size:
            return b""
        number, offset = divmod(self._position, self._part_size)
        part = self._find(number)
        if part < 0:
            return b""
        room = bytearray(min(size, self._room(number, offset)))
        try:
            count = os.preadv(part, [room], offset, os.RWF_NOWAIT)
        except OSError:
            # Not every file system supports RWF_NOWAIT. A real error shows in the blocking read.
            return b""
        self._position += count
        return bytes(memoryview(room)[:count])

    def close(self) -> None:
        """Close the files; a second call does nothing."""
        descriptors = [*self._parts, self._later[1], self._directory]
        self._parts, self._later, self._directory = [], (-1, -1), -1
        for descriptor in descriptors:
            if descriptor >= 0:
                os.close(descriptor)

    def _room(self, number: int, offset: int) -> int:
        return size_of_part(self.size, self._part_size, number) - offset

    def _find(self, number: int) -> int:
        """Give the descriptor of a part; -1 if it is not open."""
        if number < len(self._parts):
            return self._parts[number]
        return self._later[1] if self._later[0] == number else -1

    def _open(self, number: int) -> int:
        found = self._find(number)
        if found >= 0:
            return found
        if self._directory < 0:
            raise ValueError("the content is closed")
        part = _open_checked(self, self._directory, number)
        before, self._later = self._later[1], (number, part)
        if before >= 0:
            os.close(before)
        return part


def _open_checked(stored: StoredContent, directory: int, number: int) -> int:
    """Open a part, and check its size."""
    part = open_part(directory, stored._content, number)
    wanted, found = size_of_part(stored.size, stored._part_size, number), os.fstat(part).st_size
    if found != wanted:
        os.close(part)
        name = part_name(stored._content, number)
        raise FileNotFoundError(errno.ENOENT, f"The part has {found} bytes instead of {wanted}", name)
    return part
