"""Entries in transport: ``Card-Data`` of GETCARD (spec 04, *Identity*)."""

from collections.abc import Iterable, Iterator
from typing import Final

from mensagod.keycards.entries import MAX_ENTRY, Entry
from mensagod.keycards.errors import BadKeycardData

_LINE_END: Final = "\r\n"
_BEGIN: Final = "----- BEGIN ENTRY -----\r\n"
_END: Final = "----- END ENTRY -----\r\n"
# A value, such as a name, may contain the text of a mark, but a line of an entry always begins with a field
# name and a colon.
_LAST_LINE: Final = _LINE_END + _END


def frame_entry(text: str) -> str:
    """Add the marks before and after the text of an entry."""
    return f"{_BEGIN}{text}{_END}"


FRAME_SIZE: Final = len(_BEGIN) + len(_END)
"""The bytes of the two marks of an entry."""
FRAME_ESCAPES: Final = 4
"""The number of characters in the marks that JSON escapes with a backslash: two line ends."""


def framed_size(text: str) -> int:
    """Give the bytes that an entry takes in Card-Data, so that Total-Size is known without composing it."""
    return FRAME_SIZE + len(text.encode())


def compose_card_data(entries: Iterable[Entry | str]) -> str:
    """Give the Card-Data of entries or of their texts."""
    return "".join(frame_entry(entry if isinstance(entry, str) else entry.text) for entry in entries)


def split_card_data(data: str) -> Iterator[str]:
    """Split Card-Data into the texts of its entries, without parsing these.

    :raises BadKeycardData: while iterating, if an entry is not framed by marks or is too long.
    """
    position = 0
    while position < len(data):
        if not data.startswith(_BEGIN, position):
            raise BadKeycardData("Card data has something else than entries between their marks")
        start = position + len(_BEGIN)
        end = data.find(_LAST_LINE, start, start + MAX_ENTRY + len(_END))
        if end < 0:
            raise BadKeycardData("An entry in card data has no end, or is too long")
        yield data[start : end + len(_LINE_END)]
        position = end + len(_LAST_LINE)
