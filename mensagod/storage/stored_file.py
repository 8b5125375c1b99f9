"""A file of the store that is open for reading."""

import os

from attrs import define
from zope.interface import implementer

from mensagod.wire.raw_data import ISource


@implementer(ISource)
@define(eq=False)
class StoredFile:
    """An open file; it can be read to its end even after it was deleted.

    :ivar size: its size in bytes when it was opened.
    """

    size: int
    _descriptor: int
    _position: int = 0

    def seek(self, offset: int) -> None:
        """Continue reading at ``offset``."""
        self._position = offset

    def read(self, size: int) -> bytes:
        """Give the next bytes, fewer than ``size`` only at the end."""
        content = os.pread(self._descriptor, size, self._position)
        self._position += len(content)
        return content

    def read_ready(self, size: int) -> bytes:
        """Give those of the next bytes that are in the page cache; none if reading them would block."""
        room = bytearray(size)
        try:
            count = os.preadv(self._descriptor, [room], self._position, os.RWF_NOWAIT)
        except OSError:
            # Not every file system supports RWF_NOWAIT. A real error shows in the blocking read.
            return b""
        self._position += count
        return bytes(memoryview(room)[:count])

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)
