"""Hashes and signatures of entries (spec 03, *What each authentication line covers*)."""

from typing import TypeVar

from mensagod.crypto.cryptostring import CryptoString
from mensagod.crypto.hashing import OWN_ALGORITHM, hash_bytes, hash_key
from mensagod.crypto.signing import SigningPair, VerifyKey
from mensagod.keycards.entries import Entry
from mensagod.keycards.errors import InvalidSignature, NoncompliantKeycard

E = TypeVar("E", bound=Entry)


def add_signature(entry: E, line: str, pair: SigningPair) -> E:
    """Add the signature ``line`` to an entry, which must have all lines before it."""
    return entry.with_line(line, pair.sign(entry.text_before(line)))


def add_hash(entry: E, algorithm: str = OWN_ALGORITHM) -> E:
    """Add the Hash to an entry, which must have all lines before it."""
    return entry.with_line("Hash", hash_bytes(entry.text_before("Hash"), algorithm))


def check_hash(entry: Entry) -> None:
    """Check the entry's Hash; raise :class:`NoncompliantKeycard` if it is wrong."""
    if hash_bytes(entry.text_before("Hash"), entry.hash.prefix) != entry.hash:
        raise NoncompliantKeycard("The Hash does not match the entry")


def signature_verifies(entry: Entry, line: str, key: CryptoString) -> bool:
    """Tell whether the signature on ``line`` was made with the private key of ``key``."""
    return VerifyKey.from_cryptostring(key).verify(entry.text_before(line), entry.authentication(line))


def check_signature(entry: Entry, line: str, key: CryptoString) -> None:
    """Verify the signature on ``line``; raise :class:`InvalidSignature` if ``key`` did not make it."""
    if not signature_verifies(entry, line, key):
        raise InvalidSignature(f"The {line} does not verify")


def check_own_signature(entry: Entry) -> None:
    """Verify the signature of the entry by its own signing key."""
    check_signature(entry, entry.schema.own_signature, entry.signing_key)


def fingerprint(entry: Entry) -> str:
    """Give the fingerprint of an entry, with which people can compare keycards.

    It is the BLAKE2B-256 hash of the entry's signing key (its complete CryptoString, spec 02), in 16 groups
    of four hexadecimal digits. That key signs the rest of the entry.
    """
    digits = hash_key(entry.signing_key).raw.hex()
    return " ".join(digits[start : start + 4] for start in range(0, len(digits), 4))
