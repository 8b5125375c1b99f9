"""CryptoStrings: an algorithm's prefix and Base85 data in one text (spec 02)."""

import re
from collections.abc import Iterable
from typing import Self

from attrs import field, frozen

from mensagod.crypto import base85
from mensagod.errors import BadValue, UnsupportedAlgorithm

_PREFIX = re.compile(r"[A-Z0-9-]{1,24}")
_FORM = re.compile(f"({_PREFIX.pattern}):([{re.escape(base85.ALPHABET)}]+)")


@frozen
class CryptoString:
    """``PREFIX:DATA``, kept as it was written.

    That one exists proves its form only: neither that the prefix is known nor that
    the data decodes, so that what is opaque to the server passes unread. Its
    ``repr`` hides the data, which may be a secret.

    :ivar prefix: 1 to 24 of ``A-Z 0-9 -``.
    :ivar data: one or more characters of the Base85 alphabet.
    """

    prefix: str
    data: str = field(repr=False)

    @classmethod
    def from_text(cls, text: str) -> Self:
        """Take ``text`` apart; raise :class:`BadValue` if it has another form."""
        match = _FORM.fullmatch(text)
        if match is None:
            raise BadValue("a CryptoString is PREFIX:DATA with data in Base85")
        return cls(match[1], match[2])

    @classmethod
    def of(cls, prefix: str, raw: bytes) -> Self:
        """Encode bytes under a prefix.

        :raises BadValue: on a malformed prefix or no bytes at all.
        """
        if not raw or _PREFIX.fullmatch(prefix) is None:
            raise BadValue("a CryptoString has a prefix of A-Z, 0-9 and dashes, and some data")
        return cls(prefix, base85.encode(raw))

    @property
    def raw(self) -> bytes:
        """The decoded data; :class:`BadValue` if it does not decode."""
        return base85.decode(self.data)

    def require(self, supported: Iterable[str]) -> None:
        """Refuse a prefix outside ``supported`` with :class:`UnsupportedAlgorithm`, which lists those."""
        known = list(supported)
        if self.prefix not in known:
            raise UnsupportedAlgorithm(f"Algorithm not supported; supported here: {', '.join(known)}")

    def exactly(self, size: int) -> bytes:
        """Decode to ``size`` bytes; raise :class:`BadValue` if that is not their number.

        A wrong length is seen before anything is decoded.
        """
        if len(self.data) != (size * 5 + 3) // 4:
            raise BadValue(f"{self.prefix} data here is {size} bytes")
        return self.raw

    def __str__(self) -> str:
        return f"{self.prefix}:{self.data}"
