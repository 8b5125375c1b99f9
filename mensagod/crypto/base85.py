"""Base85 after RFC 1924, without padding (spec 02, *CryptoStrings and algorithms*)."""

import base64
from typing import Final

from mensagod.errors import BadValue

ALPHABET: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%&()*+-;<=>?@^_`{|}~"


def encode(data: bytes) -> str:
    """Write bytes as Base85 text; no bytes give the empty text."""
    return base64.b85encode(data).decode("ascii")


def decode(text: str) -> bytes:
    """Read Base85 text back.

    Full groups of five characters have one spelling. A last group of two to four
    characters has several for the same bytes, as in every decoder of this code: only
    :func:`encode`'s own is made here, all are read. Time grows with the text: the
    caller bounds its length.

    :raises BadValue: on a foreign character, a length of 5n+1, or a group beyond 2^32-1.
    """
    if len(text) % 5 == 1:
        raise BadValue("no Base85 text has this length")
    try:
        return base64.b85decode(text)
    except ValueError:
        raise BadValue("this is not Base85 text") from None
