"""The owner of files that the server's account must read, but must not change.

If possible they belong to root, and the account's group may read them. So an attacker who takes over the
account cannot control what root reads and does at the next start
(``docs/decisions/configuration-owned-by-root.rst``).
"""

import os
import stat
from pathlib import Path

from attrs import frozen

from mensagod.process.accounts import FALLBACK, UnixAccount, is_own_group
from mensagod.process.root_paths import is_roots_alone

_SHARED = 0o640
_PRIVATE = 0o600


@frozen
class Ownership:
    """The owner, the group and the mode of a file; -1 leaves the owner or the group unchanged."""

    uid: int
    gid: int
    mode: int

    @property
    def is_roots(self) -> bool:
        """Whether the account reads the file only through its group."""
        return self.mode == _SHARED

    @classmethod
    def in_directory(cls, directory: Path, account: UnixAccount | None) -> "Ownership":
        """Choose the ownership of a new file: root, unless others could read it then or change the directory.

        :param account: the account that reads the file if this process is root; otherwise ``None``.
        """
        is_alone = account is not None and account.name != FALLBACK and is_own_group(account.gid)
        if account is not None and is_alone and is_roots_alone(directory):
            return cls(0, account.gid, _SHARED)
        return cls.private_to(account)

    @classmethod
    def private_to(cls, account: UnixAccount | None) -> "Ownership":
        """Choose an ownership that lets only the account access a file; ``None`` is this user."""
        return cls(-1, -1, _PRIVATE) if account is None else cls(account.uid, account.gid, _PRIVATE)

    @classmethod
    def of(cls, file: Path) -> "Ownership":
        """Choose the ownership of a file that replaces ``file`` or belongs to it."""
        found = file.stat()
        return cls(found.st_uid, found.st_gid, _SHARED if is_shared_safely(found) else _PRIVATE)

    def apply(self, descriptor: int) -> None:
        """Set owner and group of an open file, and then its mode."""
        os.fchown(descriptor, self.uid, self.gid)
        os.fchmod(descriptor, self.mode)


def is_shared_safely(found: os.stat_result) -> bool:
    """Tell whether a file belongs to root, and only a group with at most one member may read it."""
    mode = stat.S_IMODE(found.st_mode)
    return (
        found.st_uid == 0
        and found.st_gid != 0
        and bool(mode & stat.S_IRGRP)
        and not mode & (stat.S_IWGRP | stat.S_IXGRP | stat.S_IRWXO)
        and is_own_group(found.st_gid)
    )
