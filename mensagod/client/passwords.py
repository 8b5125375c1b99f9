"""Hashing passwords in the client (spec 04, *Logging in*).

The server never gets the password. It hashes the client's hash again before storing it.
"""

import os

from argon2 import PasswordHasher
from attrs import frozen

SALT_SIZE = 16


@frozen
class Argon2Cost:
    """The Argon2 parameters; the default is the second recommended option of RFC 9106.

    :ivar memory: in KiB.
    """

    memory: int = 65536
    iterations: int = 3
    parallelism: int = 4


def hash_password(password: str, salt: bytes | None = None, cost: Argon2Cost | None = None) -> str:
    """Hash a password with Argon2id, to the form ``$argon2id$v=19$m=..,t=..,p=..$SALT$HASH``.

    This is slow on purpose and blocks: call it in a thread if the program has other work.

    :param salt: at least 8 bytes; default: random bytes.
    """
    cost = cost or Argon2Cost()
    hasher = PasswordHasher(cost.iterations, cost.memory, cost.parallelism)
    return hasher.hash(password, salt=salt or os.urandom(SALT_SIZE))
