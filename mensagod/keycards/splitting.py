"""Splitting a file into entries: it contains Card-Data, or entries one after the other."""

import re
from typing import Final

from mensagod.keycards.carddata import split_card_data

_MARK: Final = "----- BEGIN ENTRY -----"
_FIRST_LINE = re.compile(r"^(?=Type:)", re.MULTILINE)


def split_entries(text: str) -> list[str]:
    """Split a text into the texts of its entries, without parsing these.

    :raises BadKeycardData: if it begins as Card-Data does, but is malformed.
    """
    if text.startswith(_MARK):
        return list(split_card_data(text))
    return [part for part in _FIRST_LINE.split(text) if part]
