"""The file ``organization.key``: the key that encrypts the organization's private keys (spec 06, *Files*).

It contains the CryptoString of an XSALSA20 key and a newline.

To change the key, the next one is first written to ``organization.key.new``; then the private keys in the
database are encrypted with it; then the new file replaces the old one. At any moment the key in one of the
two files decrypts the private keys, so a start after an interruption tries both.
"""

import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from mensagod.crypto.cryptostring import CryptoString
from mensagod.crypto.sealing import SecretKey
from mensagod.errors import BadValue
from mensagod.organization.keyring import KeyringFault
from mensagod.process.accounts import is_own_group
from mensagod.process.durability import sync_directory
from mensagod.process.ownership import Ownership, is_shared_safely
from mensagod.process.trusted_configuration import writing_beside

_LARGEST: Final = 1024


class OrganizationKeyFault(KeyringFault):
    """The file cannot be used. The text says why, and what to do."""


def write_organization_key(key: SecretKey) -> bytes:
    """Give the content of the file."""
    return f"{key.secret}\n".encode("ascii")


def read_organization_key(path: Path) -> SecretKey:
    """Read the key.

    :raises OrganizationKeyFault: if the file is missing, cannot be read, does not contain a key, or can be
        read by more accounts than its owner (if the owner is root: than one further account).
    """
    try:
        content = _read_private(path)
    except FileNotFoundError:
        raise OrganizationKeyFault(
            f"{path} is missing: restore it from the backup (for a new server run `mensagod init`). Only if"
            " it is lost for good, run `mensagod org revoke --new-key`"
        ) from None
    except OSError as error:
        raise OrganizationKeyFault(
            f"{path} cannot be read ({error.strerror}): check its owner and mode"
        ) from error
    try:
        return SecretKey.from_cryptostring(CryptoString.from_text(content.decode("ascii").strip()))
    except (BadValue, UnicodeDecodeError):
        raise OrganizationKeyFault(f"{path} does not contain a key: restore it from the backup") from None


def next_path(path: Path) -> Path:
    """Give the path of the file with the next key."""
    return path.with_name(f"{path.name}.new")


def read_candidates(path: Path) -> tuple[SecretKey, ...]:
    """Read the key, and the next one if a change was interrupted. One of them decrypts the private keys.

    :raises OrganizationKeyFault: as :func:`read_organization_key`, if neither can be read.
    """
    found: list[SecretKey] = []
    faults: list[OrganizationKeyFault] = []
    # Read the next one first: if it replaces the present one in between, it is read from there.
    for candidate in (next_path(path), path):
        try:
            found.append(read_organization_key(candidate))
        except OrganizationKeyFault as fault:
            faults.append(fault)
    if not found:
        raise faults[-1]
    return tuple(found)


@contextmanager
def changing(path: Path) -> Iterator[None]:
    """Lock the file against changes by other processes of this machine.

    :raises OrganizationKeyFault: if another process holds the lock.
    """
    descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise OrganizationKeyFault(
                f"Another process is changing {path}: wait until it has finished, and try again"
            ) from None
        yield
    finally:
        os.close(descriptor)


def write_next(path: Path, key: SecretKey, like: Path | None = None) -> None:
    """Write the next key beside the present one, durably and with the same owner.

    This overwrites a next key that an interrupted change left; it must not be needed any more.

    :param like: a file whose owner is used instead, because the present key file may be lost.
    """
    target = next_path(path)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with writing_beside(path):
        target.unlink(missing_ok=True)
        ownership = Ownership.of(like or path)
        with os.fdopen(os.open(target, flags, 0o600), "wb") as stream:
            ownership.apply(stream.fileno())
            stream.write(write_organization_key(key))
            stream.flush()
            os.fsync(stream.fileno())
    sync_directory(path.parent)


def adopt_next(path: Path) -> None:
    """Replace the present key by the next one, atomically and durably."""
    with writing_beside(path):
        next_path(path).replace(path)
    sync_directory(path.parent)


def _describe_access(path: Path, found: os.stat_result) -> str:
    """Say which access to a file is too wide, and what to do."""
    if found.st_uid != 0 or found.st_gid == 0:
        return f"{path} can be accessed by others than its owner: run `chmod 600 {path}`"
    if is_own_group(found.st_gid):
        return f"{path} can be accessed by others than root and the server's account: run `chmod 640 {path}`"
    return (
        f"{path} can be accessed by a group with several accounts: run `chown ACCOUNT {path}` and"
        f" `chmod 600 {path}`, or give it a group whose only member is the server's account"
    )


def _read_private(path: Path) -> bytes:
    # O_NONBLOCK, so that opening a named pipe does not block.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise OrganizationKeyFault(f"{path} is not a regular file: restore it from the backup")
        if stat.S_IMODE(found.st_mode) & 0o077 and not is_shared_safely(found):
            raise OrganizationKeyFault(_describe_access(path, found))
        return os.read(descriptor, _LARGEST)
    finally:
        os.close(descriptor)
