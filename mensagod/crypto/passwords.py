"""Password hashes, registration codes and reset codes (spec 02; spec 04, *Logging in*)."""

import base64
import re
import secrets
from functools import lru_cache
from pathlib import Path
from typing import Final

import argon2
from argon2.exceptions import Argon2Error
from attrs import field, frozen

from mensagod.errors import BadValue

HASH_LENGTH: Final = range(16, 129)
"""The allowed lengths of a client's password hash, in code points."""
CODE_LENGTH: Final = range(8, 129)
"""The allowed lengths of a registration or reset code, in code points."""
CODE_WORDS: Final = range(3, 13)
"""The numbers of words for which the length of a code is always within :data:`CODE_LENGTH`."""
WORDS: Final = Path(__file__).with_name("words") / "eff-long.txt"
"""The EFF's long word list; its licence is in the same directory."""

_SALT_SIZE: Final = 16
_DIGEST_SIZE: Final = 32
_ENCODED = re.compile(
    r"\$(argon2(?:id|i|d))\$v=19\$(m=[0-9]{1,10},t=[0-9]{1,10},p=[0-9]{1,8})"
    r"\$([A-Za-z0-9+/]+={0,2})\$[A-Za-z0-9+/]+={0,2}"
)


class PasswordHasher:
    """Argon2id with fixed parameters, for password hashes and codes.

    Hashing and verifying block for a time that depends on the parameters: call them in a thread. Instances
    are thread-safe.

    :param memory: KiB.
    :param time: passes over the memory.
    :param parallelism: lanes.
    """

    def __init__(self, memory: int, time: int, parallelism: int):
        self._argon2 = argon2.PasswordHasher(time, memory, parallelism, _DIGEST_SIZE, _SALT_SIZE)
        self._dummy = (
            f"$argon2id$v=19$m={memory},t={time},p={parallelism}"
            f"${_unpadded(secrets.token_bytes(_SALT_SIZE))}${_unpadded(secrets.token_bytes(_DIGEST_SIZE))}"
        )

    @property
    def dummy(self) -> str:
        """A hash that matches no secret, to spend the same time on accounts that do not exist."""
        return self._dummy

    def hash(self, secret: str) -> str:
        """Hash ``secret`` with a new salt; the encoded form contains the parameters and the salt."""
        return self._argon2.hash(_octets(secret))

    def verify(self, stored: str, secret: str) -> bool:
        """Tell whether ``stored`` is a hash of ``secret``, with whatever parameters.

        The digests are compared in constant time. A malformed ``stored`` matches nothing.
        """
        try:
            return self._argon2.verify(stored, _octets(secret))
        except (Argon2Error, ValueError):
            return False

    def needs_rehash(self, stored: str) -> bool:
        """Tell whether ``stored`` was made with other parameters, or is malformed."""
        try:
            return self._argon2.check_needs_rehash(stored)
        except ValueError:
            return True


@frozen
class LoginParameters:
    """The parameters with which a client computes its password hash (spec 04, *Logging in*).

    :ivar algorithm: such as ``ARGON2ID``; empty if the client gave none.
    :ivar salt: as the client wrote it.
    :ivar parameters: such as ``m=65536,t=2,p=1``.
    """

    algorithm: str
    salt: str = field(repr=False)
    parameters: str


def login_parameters(hash_text: str, algorithm: str, salt: str, parameters: str) -> LoginParameters:
    """Find the parameters of a client's password hash (spec 04, *Logging in*).

    If the hash is in Argon2's encoded form, they are read from it. Otherwise they are the given ones.
    """
    match = _ENCODED.fullmatch(hash_text)
    if match is None:
        return LoginParameters(algorithm, salt, parameters)
    return LoginParameters(match[1].upper(), match[3], match[2])


def parse_password_hash(text: str) -> str:
    """Check a client's password hash, which is opaque: 16 to 128 code points, else :class:`BadValue`."""
    return _checked(text, HASH_LENGTH)


def parse_code(text: str) -> str:
    """Check a registration or reset code: 8 to 128 code points, else :class:`BadValue`."""
    return _checked(text, CODE_LENGTH)


def make_code(words: int) -> str:
    """Make a code of random words, joined by dashes. Each word adds 12.9 bits of entropy.

    :raises ValueError: if the number is not in :data:`CODE_WORDS`.
    """
    if words not in CODE_WORDS:
        raise ValueError(f"a code has {CODE_WORDS[0]} to {CODE_WORDS[-1]} words")
    return "-".join(secrets.choice(word_list()) for _ in range(words))


@lru_cache(maxsize=1)
def word_list() -> tuple[str, ...]:
    """Give the words of codes; the first call reads them from disk.

    A server that starts as root calls this before it changes account (spec 06, *Configuration*).
    """
    words = WORDS.read_text(encoding="ascii").split()
    # The few words that contain a dash are left out, because dashes separate the words of a code.
    return tuple(word for word in words if word.isalpha())


def _checked(text: str, lengths: range) -> str:
    if len(text) not in lengths:
        raise BadValue(f"this has {lengths[0]} to {lengths[-1]} characters")
    if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise BadValue("this must be text without NUL")
    return text


def _octets(secret: str) -> bytes:
    return secret.encode("utf-8", "surrogatepass")


def _unpadded(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii").rstrip("=")
