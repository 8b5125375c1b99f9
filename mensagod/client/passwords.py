"""Passwords as the server gets them: hashed by the client (spec 04, *Logging in*).

The server never sees a password. What it is given in its place is hashed once more before it is stored.
"""

import os

from argon2 import PasswordHasher
from attrs import frozen

from mensagod.crypto.passwords import login_parameters

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


def password_fields(password_hash: str) -> dict[str, str]:
    """Give the fields of a request that sets a password.

    From a hash in Argon2's form come also the fields with which another device of the user can hash the
    password in the same way.
    """
    found = login_parameters(password_hash, "", "", "")
    fields = {
        "Password-Hash": password_hash,
        "Password-Algorithm": found.algorithm,
        "Password-Salt": found.salt,
        "Password-Parameters": found.parameters,
    }
    return {name: value for name, value in fields.items() if value}
