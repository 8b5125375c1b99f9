"""Whose the files are that the server reads, again and again, but must not change.

They are root's where that is possible, and the account's group may read them. So whoever takes the server
over cannot decide what root reads and does at the next start
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
    """The owner, the group and the mode of a file; -1 leaves owner or group as it is."""

    uid: int
    gid: int
    mode: int

    @property
    def is_roots(self) -> bool:
        """Whether the account reads the file only through its group."""
        return self.mode == _SHARED

    @classmethod
    def in_directory(cls, directory: Path, account: UnixAccount | None) -> "Ownership":
        """Choose for a new file: root's, unless others could read it then or change the directory.

        :param account: who reads the file, if we are root; ``None`` where all is our own.
        """
        is_alone = account is not None and account.name != FALLBACK and is_own_group(account.gid)
        if account is not None and is_alone and is_roots_alone(directory):
            return cls(0, account.gid, _SHARED)
        return cls.private_to(account)

    @classmethod
    def private_to(cls, account: UnixAccount | None) -> "Ownership":
        """Let only the account read and change a file, or us, if it is ``None``."""
        return cls(-1, -1, _PRIVATE) if account is None else cls(account.uid, account.gid, _PRIVATE)

    @classmethod
    def of(cls, file: Path) -> "Ownership":
        """Choose for a file that takes the place of another one, or lies beside it."""
        found = file.stat()
        return cls(found.st_uid, found.st_gid, _SHARED if is_shared_safely(found) else _PRIVATE)

    def apply(self, descriptor: int) -> None:
        """Give an open file away, and let it be read by its group only then."""
        os.fchown(descriptor, self.uid, self.gid)
        os.fchmod(descriptor, self.mode)


def is_shared_safely(found: os.stat_result) -> bool:
    """Tell whether a file is root's and readable for a group, in which there is nobody but one account."""
    mode = stat.S_IMODE(found.st_mode)
    return (
        found.st_uid == 0
        and found.st_gid != 0
        and bool(mode & stat.S_IRGRP)
        and not mode & (stat.S_IWGRP | stat.S_IXGRP | stat.S_IRWXO)
        and is_own_group(found.st_gid)
    )
