"""Passwords as the server gets them: hashed by the client (spec 04, *Logging in*).

The server never sees a password. What it is given in its place is hashed once more before it is stored.
"""

import os

from argon2 import PasswordHasher
from attrs import frozen

SALT_SIZE = 16


@frozen
class Argon2Cost:
    """What a hash costs to compute, the second profile of RFC 9106 unless given.

    :ivar memory: in KiB.
    """

    memory: int = 65536
    iterations: int = 3
    parallelism: int = 4


def hash_password(password: str, salt: bytes | None = None, cost: Argon2Cost | None = None) -> str:
    """Hash a password with Argon2id, to the form ``$argon2id$v=19$m=..,t=..,p=..$SALT$HASH``.

    This takes long on purpose and blocks; a program that does anything else beside runs it in a thread.

    :param salt: at least 8 bytes; random unless given.
    """
    cost = cost or Argon2Cost()
    hasher = PasswordHasher(cost.iterations, cost.memory, cost.parallelism)
    return hasher.hash(password, salt=salt or os.urandom(SALT_SIZE))
