"""The file with the key that the organization's private keys are encrypted with (spec 06, *Files*).

It holds an XSALSA20 key, the text of its CryptoString and a newline.
"""

import os
import stat
from pathlib import Path
from typing import Final

from mensagod.crypto.cryptostring import CryptoString
from mensagod.crypto.sealing import SecretKey
from mensagod.errors import BadValue

_LARGEST: Final = 1024


class OrganizationKeyFault(Exception):
    """One sentence about a file that cannot be used, and what to do about it."""


def write_organization_key(key: SecretKey) -> bytes:
    """Give the content of the file."""
    return f"{key.secret}\n".encode("ascii")


def read_organization_key(path: Path) -> SecretKey:
    """Read the key.

    :raises OrganizationKeyFault: if the file is missing, cannot be read, is open to others than its
        owner, or holds something else.
    """
    try:
        content = _read_private(path)
    except FileNotFoundError:
        raise OrganizationKeyFault(
            f"{path} is missing: put the file back from the backup, or run `mensagod init` for a new server"
        ) from None
    except OSError as error:
        raise OrganizationKeyFault(f"{path} cannot be read: {error.strerror}") from error
    try:
        return SecretKey.from_cryptostring(CryptoString.from_text(content.decode("ascii").strip()))
    except (BadValue, UnicodeDecodeError):
        raise OrganizationKeyFault(
            f"{path} does not hold a key of `mensagod init`: put the file back from the backup"
        ) from None


def _read_private(path: Path) -> bytes:
    # O_NONBLOCK, so that a pipe in its place does not hold us up.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise OrganizationKeyFault(f"{path} is not a file: put the file back from the backup")
        if stat.S_IMODE(found.st_mode) & 0o077:
            raise OrganizationKeyFault(f"{path} is open to others than its owner: run `chmod 600 {path}`")
        return os.read(descriptor, _LARGEST)
    finally:
        os.close(descriptor)
