"""Base85 with the alphabet of RFC 1924, without padding (spec 02, *CryptoStrings and algorithms*)."""

import base64
import struct
from typing import Final

from mensagod.errors import BadValue

ALPHABET: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%&()*+-;<=>?@^_`{|}~"

_CHARACTERS = ALPHABET.encode()
_TO_DIGITS = bytes.maketrans(_CHARACTERS, bytes(range(85)))


def encode(data: bytes) -> str:
    """Encode bytes as Base85 text."""
    return base64.b85encode(data).decode("ascii")


def decode(text: str) -> bytes:
    """Decode Base85 text.

    An incomplete last group of two to four characters has several spellings for the same bytes; all are
    accepted. The time is proportional to the length, which the caller must limit.

    :raises BadValue: on a character outside the alphabet, a length of 5n+1, or a group over 2^32-1.
    """
    # Several times as fast as the standard library's; for every message eight texts are decoded.
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
