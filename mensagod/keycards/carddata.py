"""Entries in transport: ``Card-Data`` of GETCARD (spec 04, *Identity*)."""

from collections.abc import Iterable, Iterator
from typing import Final

from mensagod.keycards.entries import MAX_ENTRY, Entry
from mensagod.keycards.errors import BadKeycardData

_LINE_END: Final = "\r\n"
_BEGIN: Final = "----- BEGIN ENTRY -----\r\n"
_END: Final = "----- END ENTRY -----\r\n"
# A value may look like a mark, as a name can; a line of its own without a colon no entry has.
_LAST_LINE: Final = _LINE_END + _END


def frame_entry(text: str) -> str:
    """Put the marks around the text of one entry."""
    return f"{_BEGIN}{text}{_END}"


FRAME_SIZE: Final = len(_BEGIN) + len(_END)
"""Bytes of the marks around an entry."""
FRAME_ESCAPES: Final = 4
"""How many of their characters JSON writes with a backslash: two line ends."""


def framed_size(text: str) -> int:
    """Give the bytes that the entry adds to Card-Data, so that Total-Size needs no composing."""
    return FRAME_SIZE + len(text.encode())


def compose_card_data(entries: Iterable[Entry | str]) -> str:
    """Write the entries of a card, or their texts, one after the other."""
    return "".join(frame_entry(entry if isinstance(entry, str) else entry.text) for entry in entries)


def split_card_data(data: str) -> Iterator[str]:
    """Take Card-Data apart into the texts of its entries, one at a time and not yet read.

    :raises BadKeycardData: once something else comes than a framed entry of a bearable size.
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
