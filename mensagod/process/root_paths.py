"""Paths that are root's alone: nobody else can change what lies there, or put something else in its place."""

import stat
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Final

from mensagod.process.accounts import AccountError

_MOST_LINKS: Final = 40
_WRITABLE: Final = stat.S_IWGRP | stat.S_IWOTH


def is_roots_alone(directory: Path) -> bool:
    """Tell whether only root can make, change or remove files in a directory.

    :raises AccountError: if it leads through too many symbolic links.
    """
    return find_opening(directory, {directory.resolve()}) is None


def find_opening(path: Path, ends: Collection[Path]) -> Path | None:
    """Find what others than root can change on the way to a path, that path included; ``None`` is nothing.

    :param ends: the directories in which nobody else may be able to make a file, either.
    :raises AccountError: if it leads through too many symbolic links.
    """
    return next((part for part in _passed(path) if _is_open(part, part in ends)), None)


def _passed(path: Path) -> Iterator[Path]:
    """Give everything that is passed on the way to a file, what links lead through included."""
    current, links = Path("/"), 0
    yield current
    rest = list(reversed(path.absolute().parts[1:]))
    while rest:
        name = rest.pop()
        if name == "..":
            current = current.parent
            continue
        step = current / name
        yield step
        if not step.is_symlink():
            current = step
        elif (links := links + 1) > _MOST_LINKS:
            raise AccountError(f"{path} leads through too many symbolic links")
        else:
            target = step.readlink()
            current = Path("/") if target.is_absolute() else current
            rest += reversed(target.parts[1:] if target.is_absolute() else target.parts)


def _is_open(part: Path, is_end: bool) -> bool:
    """Tell whether others than root can change something on the way, or put something else in its place.

    :param is_end: whether it is the directory itself, where files may be missing that others could make.
    """
    found = part.lstat()
    if found.st_uid != 0:
        return True
    if stat.S_ISLNK(found.st_mode) or not found.st_mode & _WRITABLE:
        return False
    # Where the sticky bit is set nobody can take away what is root's.
    keeps = stat.S_ISDIR(found.st_mode) and found.st_mode & stat.S_ISVTX
    return is_end or not keeps
