"""The server's Unix account, and changing from root to it (spec 06, *Configuration*)."""

import grp
import os
import pwd
import stat
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from attrs import frozen

from mensagod.process.terminal import leave_terminal

FALLBACK: Final = "nobody"
"""The account that is used if the configured one does not exist."""

PRIVATE_UMASK: Final = 0o077


class AccountError(Exception):
    """An account is missing or not suitable, or has wrong rights. The text says what to do."""


@frozen
class UnixAccount:
    """An account of this machine."""

    name: str
    uid: int
    gid: int

    @property
    def groups(self) -> list[int]:
        """All groups of the account, including its primary one."""
        return os.getgrouplist(self.name, self.gid)

    def subprocess_arguments(self) -> dict[str, Any]:
        """Give the arguments with which :mod:`subprocess` runs a program as this account."""
        return {"user": self.uid, "group": self.gid, "extra_groups": self.groups}


ROOT: Final = UnixAccount("root", 0, 0)


def service_account(name: str) -> UnixAccount:
    """Find the server's account: ``name`` if it exists, otherwise ``nobody``.

    :raise AccountError: if it is root, or if neither exists.
    """
    for candidate in (name, FALLBACK):
        try:
            entry = pwd.getpwnam(candidate)
        except KeyError:
            continue
        if entry.pw_uid == 0:
            raise AccountError(
                f"The server never runs as root: set global.user to an account other than {candidate}"
            )
        return UnixAccount(candidate, entry.pw_uid, entry.pw_gid)
    raise AccountError(
        f"Neither the account {name} nor {FALLBACK} exists: set global.user to an account that exists"
    )


def owner_account(uid: int) -> UnixAccount:
    """Find the account with this user ID.

    :raise AccountError: if there is none.
    """
    try:
        entry = pwd.getpwuid(uid)
    except KeyError:
        raise AccountError(f"There is no account with the user ID {uid}") from None
    return UnixAccount(entry.pw_name, uid, entry.pw_gid)


def is_own_group(gid: int) -> bool:
    """Tell whether a group has at most one member, as far as this machine knows."""
    try:
        listed = grp.getgrgid(gid).gr_mem
    except KeyError:
        return False
    accounts = [entry for entry in pwd.getpwall() if entry.pw_gid == gid or entry.pw_name in listed]
    unknown = set(listed) - {entry.pw_name for entry in accounts}
    return len({entry.pw_uid for entry in accounts}) + len(unknown) <= 1


def fallback_warning(configured: str, account: UnixAccount | None) -> str | None:
    """Give a warning if the server runs as ``nobody`` because the configured account does not exist."""
    if account is None or account.name == configured:
        return None
    return (
        f"the account {configured} (global.user) does not exist, so the server runs as {account.name}: other"
        f" programs that run as {account.name} can read the server's files; create the account with"
        f" `useradd --system --user-group {configured}`"
    )


@contextmanager
def acting_as(account: UnixAccount | None) -> Iterator[None]:
    """Take the effective user and groups of ``account`` until the context ends; ``None`` changes nothing.

    The process must be root, or root that acts as another account. Programs that are started meanwhile need
    :func:`child_arguments`, otherwise they could become root again.
    """
    if account is None:
        yield
        return
    before = os.geteuid(), os.getegid(), os.getgroups()
    _take_effect(account.uid, account.gid, account.groups)
    try:
        yield
    finally:
        _take_effect(*before)


def child_arguments(account: UnixAccount | None = None) -> dict[str, Any]:
    """Give the arguments with which :mod:`subprocess` runs a program as another user, permanently.

    The program gets neither this process's terminal, into which it could type commands for root's shell, nor
    its standard input.

    :param account: the user, if this process is root; ``None`` for the effective user.
    """
    apart = {"stdin": subprocess.DEVNULL, "start_new_session": True}
    if account is not None:
        return {**apart, **account.subprocess_arguments()}
    if os.getuid() == os.geteuid():
        return apart
    return {**apart, "user": os.geteuid(), "group": os.getegid()}


def _take_effect(uid: int, gid: int, groups: list[int]) -> None:
    os.seteuid(0)
    os.setgroups(groups)
    os.setegid(gid)
    os.seteuid(uid)


def give(paths: Iterable[Path], account: UnixAccount) -> None:
    """Change the owner of files, and of directories with their content, without following symbolic links."""
    for path in paths:
        os.chown(path, account.uid, account.gid, follow_symlinks=False)
        for _, directories, files, descriptor in os.fwalk(path, follow_symlinks=False):
            for name in (*directories, *files):
                os.chown(name, account.uid, account.gid, dir_fd=descriptor, follow_symlinks=False)


def can_reach(path: Path, account: UnixAccount) -> Path | None:
    """Check whether ``account`` can reach ``path``.

    :returns: the first component that it may not enter or read; ``None`` if the account can reach the path,
        or if a component does not exist.
    """
    groups = frozenset(account.groups)
    target = path.resolve()
    for component in (*reversed(target.parents), target):
        try:
            found = component.stat()
        except FileNotFoundError:
            return None
        wanted = stat.S_IXOTH if stat.S_ISDIR(found.st_mode) else stat.S_IROTH
        if not _permits(found, wanted, account.uid, groups):
            return component
    return None


def drop_privileges(account: UnixAccount) -> None:
    """Change to ``account`` permanently, if this process is root; make new files private in any case.

    The terminal, to which root may return, is given up too: see :mod:`mensagod.process.terminal`.

    :raise AccountError: if the process could become root again.
    """
    os.umask(PRIVATE_UMASK)
    if os.geteuid() != 0:
        return
    leave_terminal()
    os.setgroups(account.groups)
    os.setresgid(account.gid, account.gid, account.gid)
    os.setresuid(account.uid, account.uid, account.uid)
    try:
        os.setuid(0)
    except PermissionError:
        return
    raise AccountError(f"Root privileges could not be given up permanently while changing to {account.name}")


def _permits(found: os.stat_result, wanted: int, uid: int, groups: frozenset[int]) -> bool:
    """Tell whether a mode grants ``wanted`` (given as the bit for others) to an account."""
    if found.st_uid == uid:
        return bool(found.st_mode & (wanted << 6))
    if found.st_gid in groups:
        return bool(found.st_mode & (wanted << 3))
    return bool(found.st_mode & wanted)
