"""Hashes and signatures of entries (spec 03, *What each authentication line covers*)."""

from typing import TypeVar

from mensagod.crypto.cryptostring import CryptoString
from mensagod.crypto.hashing import OWN_ALGORITHM, hash_bytes, hash_key
from mensagod.crypto.signing import SigningPair, VerifyKey
from mensagod.keycards.entries import Entry
from mensagod.keycards.errors import InvalidSignature, NoncompliantKeycard

E = TypeVar("E", bound=Entry)


def add_signature(entry: E, line: str, pair: SigningPair) -> E:
    """Give ``entry`` with the signature that ``line`` holds; every line before it must be there already."""
    return entry.with_line(line, pair.sign(entry.text_before(line)))


def add_hash(entry: E, algorithm: str = OWN_ALGORITHM) -> E:
    """Give ``entry`` with its Hash; every line before it must be there already."""
    return entry.with_line("Hash", hash_bytes(entry.text_before("Hash"), algorithm))


def check_hash(entry: Entry) -> None:
    """Compute the entry's hash; raise :class:`NoncompliantKeycard` if another one stands there."""
    if hash_bytes(entry.text_before("Hash"), entry.hash.prefix) != entry.hash:
        raise NoncompliantKeycard("The Hash does not match the entry")


def signature_verifies(entry: Entry, line: str, key: CryptoString) -> bool:
    """Tell whether the signature on ``line`` was made with the private half of ``key``."""
    return VerifyKey.from_cryptostring(key).verify(entry.text_before(line), entry.authentication(line))


def check_signature(entry: Entry, line: str, key: CryptoString) -> None:
    """Verify the signature on ``line``; raise :class:`InvalidSignature` if ``key`` did not make it."""
    if not signature_verifies(entry, line, key):
        raise InvalidSignature(f"The {line} does not verify")


def check_own_signature(entry: Entry) -> None:
    """Verify the signature that the entry's own new key makes over it: an organization's or a user's."""
    check_signature(entry, entry.schema.own_signature, entry.signing_key)


def fingerprint(entry: Entry) -> str:
    """Write what people can compare to know that they mean the same owner and the same key.

    It is the BLAKE2B-256 of the entry's signing key (its whole CryptoString, spec 02)
    in 16 groups of four hexadecimal digits. The key signs all the rest of the entry.
    """
    digits = hash_key(entry.signing_key).raw.hex()
    return " ".join(digits[start : start + 4] for start in range(0, len(digits), 4))
