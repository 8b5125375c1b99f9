"""CryptoStrings: a text of a prefix for the algorithm, a colon and Base85 data (spec 02)."""

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
    """A text ``PREFIX:DATA``, unchanged.

    Only its form has been checked. The prefix may be unknown and the data may not decode, because the server
    passes on CryptoStrings that it does not read. The ``repr`` hides the data, which may be a secret.

    :ivar prefix: 1 to 24 of ``A-Z 0-9 -``.
    :ivar data: one or more characters of the Base85 alphabet.
    """

    prefix: str
    data: str = field(repr=False)

    @classmethod
    def from_text(cls, text: str) -> Self:
        """Parse a CryptoString; raise :class:`BadValue` if it is malformed."""
        match = _FORM.fullmatch(text)
        if match is None:
            raise BadValue("a CryptoString is PREFIX:DATA with data in Base85")
        return cls(match[1], match[2])

    @classmethod
    def of(cls, prefix: str, raw: bytes) -> Self:
        """Encode bytes with a prefix.

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
        """Check that the prefix is one of ``supported``; otherwise raise :class:`UnsupportedAlgorithm`."""
        known = list(supported)
        if self.prefix not in known:
            raise UnsupportedAlgorithm(f"Algorithm not supported; supported here: {', '.join(known)}")

    def exactly(self, size: int) -> bytes:
        """Decode the data; raise :class:`BadValue` if it is not ``size`` bytes.

        The length is checked before decoding.
        """
        if len(self.data) != (size * 5 + 3) // 4:
            raise BadValue(f"{self.prefix} data here is {size} bytes")
        return self.raw

    def __str__(self) -> str:
        return f"{self.prefix}:{self.data}"
