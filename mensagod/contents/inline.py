"""Contents that are in memory, because they stand in their row (spec 06, *Files*)."""

from attrs import define, field
from zope.interface import implementer

from mensagod.contents.interfaces import IStoredContent


@implementer(IStoredContent)
@define(eq=False)
class InlineContent:
    """A content in memory."""

    _data: bytes = field(repr=False)
    _position: int = field(default=0, init=False)

    @property
    def size(self) -> int:
        """In bytes."""
        return len(self._data)

    def seek(self, offset: int) -> None:
        """Continue reading at ``offset``."""
        self._position = offset

    def read(self, size: int) -> bytes:
        """Give the next bytes, fewer than ``size`` only at the end."""
        piece = self._data[self._position : self._position + size]
        self._position += len(piece)
        return piece

    def read_ready(self, size: int) -> bytes:
        """Give the next bytes; they are always there."""
        return self.read(size)

    def close(self) -> None:
        """Nothing is open."""
