"""A file of the store that was opened to read."""

import os

from attrs import define
from zope.interface import implementer

from mensagod.wire.raw_data import ISource


@implementer(ISource)
@define(eq=False)
class StoredFile:
    """A file that was opened; it can be read to its end even after it was deleted.

    :ivar size: its size when it was opened, in bytes.
    """

    size: int
    _descriptor: int
    _position: int = 0

    def seek(self, offset: int) -> None:
        """Go on reading at ``offset``."""
        self._position = offset

    def read(self, size: int) -> bytes:
        """Give the next bytes, fewer than ``size`` only at the end."""
        content = os.pread(self._descriptor, size, self._position)
        self._position += len(content)
        return content

    def read_ready(self, size: int) -> bytes:
        """Give those of the next bytes that the system has in memory; none if it would have to fetch them."""
        room = bytearray(size)
        try:
            count = os.preadv(self._descriptor, [room], self._position, os.RWF_NOWAIT)
        except OSError:
            # Not every file system can tell; what is really wrong shows when the bytes are fetched.
            return b""
        self._position += count
        return bytes(memoryview(room)[:count])

    def close(self) -> None:
        """Let go of the file; a second time does nothing."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)
