"""Hashes (spec 02, *CryptoStrings and algorithms*)."""

import hashlib
from collections.abc import Callable
from types import MappingProxyType
from typing import Any, Final

from mensagod.crypto.cryptostring import CryptoString

OWN_ALGORITHM: Final = "BLAKE2B-256"
"""The algorithm of the hashes that the server makes."""


def _blake2b(size: int) -> Callable[[], Any]:
    return lambda: hashlib.blake2b(digest_size=size)


_MAKERS: Final[MappingProxyType[str, Callable[[], Any]]] = MappingProxyType(
    {
        OWN_ALGORITHM: _blake2b(32),
        "BLAKE2B-512": _blake2b(64),
        "SHA-256": hashlib.sha256,
        "SHA-512": hashlib.sha512,
        "SHA3-256": hashlib.sha3_256,
        "SHA3-512": hashlib.sha3_512,
    }
)

HASH_ALGORITHMS: Final = MappingProxyType({name: int(make().digest_size) for name, make in _MAKERS.items()})
"""The supported prefixes, each with the size of its digest in bytes."""


class Hasher:
    """Computes a hash of data in pieces; ``UnsupportedAlgorithm`` for an unknown algorithm."""

    __slots__ = ("_state", "algorithm")

    def __init__(self, algorithm: str = OWN_ALGORITHM):
        CryptoString(algorithm, "").require(HASH_ALGORITHMS)
        self.algorithm = algorithm
        self._state = _MAKERS[algorithm]()

    def update(self, data: bytes | bytearray | memoryview) -> None:
        """Add the next piece of the data."""
        self._state.update(data)

    def digest(self) -> CryptoString:
        """Give the hash of the data so far; more may be added."""
        return CryptoString.of(self.algorithm, self._state.digest())


def hash_bytes(data: bytes | bytearray | memoryview, algorithm: str = OWN_ALGORITHM) -> CryptoString:
    """Hash data; raise ``UnsupportedAlgorithm`` for an unknown algorithm."""
    hasher = Hasher(algorithm)
    hasher.update(data)
    return hasher.digest()


def hash_key(key: CryptoString) -> CryptoString:
    """Hash a key as the protocol does: its complete text, including the prefix."""
    return hash_bytes(str(key).encode("ascii"))


def parse_hash(text: str) -> CryptoString:
    """Parse a Hash. Two results are equal if and only if they are the same hash.

    :raises UnsupportedAlgorithm: for an unknown prefix (309).
    :raises BadValue: if it is malformed, or the data is not a digest of that algorithm (400).
    """
    value = CryptoString.from_text(text)
    value.require(HASH_ALGORITHMS)
    value.exactly(HASH_ALGORITHMS[value.prefix])
    return value
