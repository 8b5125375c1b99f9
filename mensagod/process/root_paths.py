"""Paths that only root can change: nobody else can change the file, or replace it or a directory above it."""

import stat
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Final

from mensagod.process.accounts import AccountError

_MOST_LINKS: Final = 40
_WRITABLE: Final = stat.S_IWGRP | stat.S_IWOTH


def is_roots_alone(directory: Path) -> bool:
    """Tell whether only root can create, change or remove files in a directory.

    :raises AccountError: if the path has too many symbolic links.
    """
    return find_opening(directory, {directory.resolve()}) is None


def find_opening(path: Path, ends: Collection[Path]) -> Path | None:
    """Find the first component of a path that others than root can change; ``None`` if there is none.

    :param ends: directories in which others must not be able to create files, either.
    :raises AccountError: if the path has too many symbolic links.
    """
    return next((part for part in _passed(path) if _is_open(part, part in ends)), None)


def _passed(path: Path) -> Iterator[Path]:
    """Give all components of a path, including symbolic links and the components of their targets."""
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
            raise AccountError(f"{path} has too many symbolic links: use a path without them")
        else:
            target = step.readlink()
            current = Path("/") if target.is_absolute() else current
            rest += reversed(target.parts[1:] if target.is_absolute() else target.parts)


def _is_open(part: Path, is_end: bool) -> bool:
    """Tell whether others than root can change a component, or replace what it contains.

    :param is_end: whether others must not be able to create files in it, either.
    """
    found = part.lstat()
    if found.st_uid != 0:
        return True
    if stat.S_ISLNK(found.st_mode) or not found.st_mode & _WRITABLE:
        return False
    # In a directory with the sticky bit, others cannot remove or rename files of root.
    keeps = stat.S_ISDIR(found.st_mode) and found.st_mode & stat.S_ISVTX
    return is_end or not keeps
