"""The file with the key that the organization's private keys are encrypted with (spec 06, *Files*).

It holds an XSALSA20 key, the text of its CryptoString and a newline.

While the key is being changed, the next one waits in ``organization.key.new``: it is on disk before the
database is encrypted with it, and takes the place of the old one after. So at any moment one of the two
files opens the database, and whoever starts tries both.
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
    """One sentence about a file that cannot be used, and what to do about it."""


def write_organization_key(key: SecretKey) -> bytes:
    """Give the content of the file."""
    return f"{key.secret}\n".encode("ascii")


def read_organization_key(path: Path) -> SecretKey:
    """Read the key.

    :raises OrganizationKeyFault: if the file is missing, cannot be read, is open to others than its
        owner or, where that is root, to others than one account, or holds something else.
    """
    try:
        content = _read_private(path)
    except FileNotFoundError:
        raise OrganizationKeyFault(
            f"{path} is missing: put the file back from the backup (or run `mensagod init` for a new server);"
            " only where it is lost for good: `mensagod org revoke --new-key`"
        ) from None
    except OSError as error:
        raise OrganizationKeyFault(
            f"{path} cannot be read ({error.strerror}): check its owner and mode"
        ) from error
    try:
        return SecretKey.from_cryptostring(CryptoString.from_text(content.decode("ascii").strip()))
    except (BadValue, UnicodeDecodeError):
        raise OrganizationKeyFault(
            f"{path} does not hold a key of `mensagod init`: put the file back from the backup"
        ) from None


def next_path(path: Path) -> Path:
    """Name the file in which the next key waits."""
    return path.with_name(f"{path.name}.new")


def read_candidates(path: Path) -> tuple[SecretKey, ...]:
    """Read the key, and the next one if a change was interrupted: one of them opens the database.

    :raises OrganizationKeyFault: as :func:`read_organization_key`, if not even the next one can be read.
    """
    found: list[SecretKey] = []
    faults: list[OrganizationKeyFault] = []
    # The next one first: so it is read, too, if it takes the place of the present one meanwhile.
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
    """Keep other processes of this machine from changing the file.

    :raises OrganizationKeyFault: if one is changing it now.
    """
    descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise OrganizationKeyFault(f"{path} is being changed by another process: wait for it") from None
        yield
    finally:
        os.close(descriptor)


def write_next(path: Path, key: SecretKey, like: Path | None = None) -> None:
    """Put the next key beside the present one, durably and with the same owner.

    What an interrupted change left there must not be needed any more.

    :param like: whose owner it gets instead; the present one may be lost.
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
    """Let the next key take the place of the present one, at once and durably."""
    with writing_beside(path):
        next_path(path).replace(path)
    sync_directory(path.parent)


def _opening(path: Path, found: os.stat_result) -> str:
    """Say to whom a file is open, and what helps."""
    if found.st_uid != 0 or found.st_gid == 0:
        return f"{path} is open to others than its owner: run `chmod 600 {path}`"
    if is_own_group(found.st_gid):
        return f"{path} is open to others than root and the server's account: run `chmod 640 {path}`"
    return (
        f"{path} is open to a group with several accounts: run `chown ACCOUNT {path}` and `chmod 600 {path}`,"
        " or give it a group that only the server's account is in"
    )


def _read_private(path: Path) -> bytes:
    # O_NONBLOCK, so that a pipe in its place does not hold us up.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise OrganizationKeyFault(f"{path} is not a file: put the file back from the backup")
        if stat.S_IMODE(found.st_mode) & 0o077 and not is_shared_safely(found):
            raise OrganizationKeyFault(_opening(path, found))
        return os.read(descriptor, _LARGEST)
    finally:
        os.close(descriptor)
