"""Base85 after RFC 1924, without padding (spec 02, *CryptoStrings and algorithms*)."""

import base64
import struct
from typing import Final

from mensagod.errors import BadValue

ALPHABET: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%&()*+-;<=>?@^_`{|}~"

_CHARACTERS = ALPHABET.encode()
_TO_DIGITS = bytes.maketrans(_CHARACTERS, bytes(range(85)))


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
    # Several times as fast as the standard library's, and every message has eight such texts decoded.
    raw = text.encode(errors="surrogatepass")
    if raw.translate(None, _CHARACTERS):
        raise BadValue("this is not Base85 text")
    if len(raw) % 5 == 1:
        raise BadValue("no Base85 text has this length")
    missing = -len(raw) % 5
    digits = (raw + b"~" * missing).translate(_TO_DIGITS)
    groups = zip(digits[::5], digits[1::5], digits[2::5], digits[3::5], digits[4::5], strict=True)
    numbers = [(((a * 85 + b) * 85 + c) * 85 + d) * 85 + e for a, b, c, d, e in groups]
    try:
        data = struct.pack(f">{len(numbers)}I", *numbers)
    except struct.error:
        raise BadValue("this is not Base85 text") from None
    return data[: len(data) - missing]
