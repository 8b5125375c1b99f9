"""JSON objects whose member names are matched without regard to case (spec 05, *Delivery tag*).

The JSON comes from strangers: deep nesting, long numbers and repeated members are refused before they cost
anything.
"""

import json
import re
from typing import NoReturn

from mensagod.errors import BadValue

MAX_NESTING = 16
MAX_NUMBER = 32
_STRING = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)

Members = dict[str, object]
"""A JSON object whose ASCII names are in lower case."""


def read_members(text: str) -> Members:
    """Read a JSON object; names are in lower case at every level.

    :raises BadValue: if the text is not a JSON object, is nested too deeply, has two members whose names
        differ by case only or not at all, or has a number of more than 32 characters.
    """
    _check_nesting(text)
    try:
        value = _DECODER.decode(text)
    except BadValue:
        raise
    except ValueError as error:
        raise BadValue("Not JSON") from error
    if not isinstance(value, dict):
        raise BadValue("Not a JSON object")
    return value


def _check_nesting(text: str) -> None:
    """Refuse nesting that would make the parser recurse deeply."""
    # Base85 has braces, and most of the text is Base85 in strings.
    marks = _STRING.sub("", text)
    if marks.count("[") + marks.count("{") <= MAX_NESTING:
        return
    depth = 0
    for mark in marks:
        if mark in "[{":
            depth += 1
            if depth > MAX_NESTING:
                raise BadValue(f"JSON nested more than {MAX_NESTING} deep")
        elif mark in "]}":
            depth -= 1


def _fold(pairs: list[tuple[str, object]]) -> Members:
    """Make an object with names in lower case."""
    # Only ASCII: lower() would turn the Kelvin sign into "k", which other readers do not do.
    folded = {name.lower() if name.isascii() else name: value for name, value in pairs}
    if len(folded) != len(pairs):
        raise BadValue("A JSON member stands twice")
    return folded


def _number(text: str) -> float:
    """Read a number as a float, which is all that tags need."""
    if len(text) > MAX_NUMBER:
        raise BadValue("A JSON number is too long")
    return float(text)


def _constant(name: str) -> NoReturn:
    """Refuse NaN and infinities, which Python's parser takes but JSON does not have."""
    raise BadValue(f"{name} is not JSON")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_fold, parse_int=_number, parse_float=_number, parse_constant=_constant
)
