"""The files of a content in their directory: one for each part."""

import errno
import os
import stat
from itertools import count, takewhile
from uuid import UUID

from mensagod.contents.layout import parse_part, part_name

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def create_part(directory: int, content: UUID, number: int) -> int:
    """Create the file of a part, open for writing.

    :raises FileExistsError: if it exists.
    """
    return os.open(part_name(content, number), _CREATE, 0o600, dir_fd=directory)


def open_part(directory: int, content: UUID, number: int, flags: int = os.O_RDONLY) -> int:
    """Open the file of a part."""
    return os.open(part_name(content, number), flags | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)


def find_part(directory: int, content: UUID, number: int) -> int | None:
    """Give the size of a part; ``None`` if it does not exist.

    :raises OSError: if something else is in its place.
    """
    name = part_name(content, number)
    try:
        found = os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.ELOOP, "Not a file", name)
    return found.st_size


def stored_size(directory: int, content: UUID, part_size: int) -> int | None:
    """Give the number of bytes in the parts up to the first that is not full; ``None`` if there are none."""
    total, number = None, 0
    while (size := find_part(directory, content, number)) is not None:
        total = (total or 0) + size
        if size != part_size:
            break
        number += 1
    return total


def remove_parts(directory: int, content: UUID, first: int = 0) -> None:
    """Remove the parts from ``first`` on, the last one first: what a crash leaves has no gap."""
    numbers = list(takewhile(lambda number: _exists(directory, content, number), count(first)))
    for number in reversed(numbers):
        _unlink(directory, part_name(content, number))


def remove_all_parts(directory: int, content: UUID) -> None:
    """Remove a content, also one that somebody else has torn."""
    if _exists(directory, content, 0):
        remove_parts(directory, content)
        return
    # Reading the whole directory takes long, and there is seldom anything to find.
    with os.scandir(directory) as entries:
        names = [entry.name for entry in entries if parse_part(entry.name) == content]
    for name in names:
        _unlink(directory, name)


def _exists(directory: int, content: UUID, number: int) -> bool:
    try:
        os.stat(part_name(content, number), dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _unlink(directory: int, name: str) -> None:
    try:
        os.unlink(name, dir_fd=directory)
    except FileNotFoundError:
        # Another has removed it.
        return
