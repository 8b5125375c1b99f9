"""Texts of a request that are too long for one ``str``: to make or to encode one would take too long."""

from collections.abc import Sequence
from typing import Protocol

from attrs import frozen


class Text(Protocol):
    """What is used of a text of any length; a ``str`` is one."""

    def __len__(self) -> int:
        """Give the number of characters."""

    def encode(self) -> bytes:
        """Give the text in UTF-8."""


@frozen
class LongText:
    """A text that is kept in pieces.

    :ivar pieces: the text in UTF-8.
    :ivar length: the number of characters.
    """

    pieces: Sequence[bytes]
    length: int

    def __len__(self) -> int:
        """Give the number of characters."""
        return self.length

    def encode(self) -> bytes:
        """Give the text in UTF-8. Call it in a thread: it does not stop other threads meanwhile."""
        return b"".join(self.pieces)
