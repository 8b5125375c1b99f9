"""The Unix account that the server serves as, and how root becomes it (spec 06, *Configuration*)."""

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
"""The account to serve as where the configured one does not exist."""

PRIVATE_UMASK: Final = 0o077


class AccountError(Exception):
    """There is no account that the server can serve as, or it cannot be taken on."""


@frozen
class UnixAccount:
    """An account of this machine."""

    name: str
    uid: int
    gid: int

    @property
    def groups(self) -> list[int]:
        """All groups of the account, its own among them."""
        return os.getgrouplist(self.name, self.gid)

    def subprocess_arguments(self) -> dict[str, Any]:
        """Give the arguments with which :mod:`subprocess` runs a program as this account."""
        return {"user": self.uid, "group": self.gid, "extra_groups": self.groups}


ROOT: Final = UnixAccount("root", 0, 0)


def service_account(name: str) -> UnixAccount:
    """Find the account to serve as: ``name`` if there is one, else ``nobody``.

    :raise AccountError: it is root, or there is not even ``nobody``.
    """
    for candidate in (name, FALLBACK):
        try:
            entry = pwd.getpwnam(candidate)
        except KeyError:
            continue
        if entry.pw_uid == 0:
            raise AccountError(f"The server never serves as {candidate}, which is root: set global.user")
        return UnixAccount(candidate, entry.pw_uid, entry.pw_gid)
    raise AccountError(f"There is no account {name}, and no {FALLBACK} either: set global.user")


def owner_account(uid: int) -> UnixAccount:
    """Find the account with this number.

    :raise AccountError: there is none.
    """
    try:
        entry = pwd.getpwuid(uid)
    except KeyError:
        raise AccountError(f"There is no account with the number {uid}") from None
    return UnixAccount(entry.pw_name, uid, entry.pw_gid)


def is_own_group(gid: int) -> bool:
    """Tell whether a group has one account in it, or none, as far as this machine knows."""
    try:
        listed = grp.getgrgid(gid).gr_mem
    except KeyError:
        return False
    accounts = [entry for entry in pwd.getpwall() if entry.pw_gid == gid or entry.pw_name in listed]
    unknown = set(listed) - {entry.pw_name for entry in accounts}
    return len({entry.pw_uid for entry in accounts}) + len(unknown) <= 1


def fallback_warning(configured: str, account: UnixAccount | None) -> str | None:
    """Say what is wrong with serving as ``nobody`` because the configured account does not exist."""
    if account is None or account.name == configured:
        return None
    return (
        f"there is no account {configured}, so the server serves as {account.name}: whatever else runs as"
        f" {account.name} can read all that the server can; make an account: useradd --system {configured}"
    )


@contextmanager
def acting_as(account: UnixAccount | None) -> Iterator[None]:
    """Have the rights of ``account`` and no others, until the context ends; ``None`` changes nothing.

    For a process that is root, or acts as somebody else for a while. Programs started meanwhile need
    :func:`child_arguments`, or they could take root's rights back.
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
    """Give the arguments with which :mod:`subprocess` makes a program somebody else's, for good.

    It gets neither our terminal, into which it could type a command to the shell of root, nor our input.

    :param account: whose it is to be, if we are root; ``None`` for whom we are, or only act as.
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
    """Give files, and directories with all in them, to ``account``; symbolic links are not followed."""
    for path in paths:
        os.chown(path, account.uid, account.gid, follow_symlinks=False)
        for _, directories, files, descriptor in os.fwalk(path, follow_symlinks=False):
            for name in (*directories, *files):
                os.chown(name, account.uid, account.gid, dir_fd=descriptor, follow_symlinks=False)


def can_reach(path: Path, account: UnixAccount) -> Path | None:
    """Find what keeps ``account`` from ``path``: the first component that it may not pass or read.

    ``None`` means that the account reaches it. What does not exist keeps nobody.
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
    """Become ``account`` for good, if this is root; make new files private in any case.

    The terminal, to which root may return, is given up, too: see :mod:`mensagod.process.terminal`.

    :raise AccountError: root could be had back.
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
    raise AccountError(f"Became {account.name}, but root could be had back")


def _permits(found: os.stat_result, wanted: int, uid: int, groups: frozenset[int]) -> bool:
    """Tell whether the mode grants ``wanted``, a bit for others, to the class the account falls in."""
    if found.st_uid == uid:
        return bool(found.st_mode & (wanted << 6))
    if found.st_gid in groups:
        return bool(found.st_mode & (wanted << 3))
    return bool(found.st_mode & wanted)
