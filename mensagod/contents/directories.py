"""Directories below a root that is held open.

The root is opened once, and everything is found relative to it. So nothing is written to the mount point
below a disk that was unmounted; a disk cannot be unmounted in the ordinary way while it is held. Only a root
that is useless, because it was removed or its file server forgot it, is opened again, and checked again.

Every directory is opened by its name in its parent, so that no symbolic link is followed below the root.

A file is durable only if the names of all directories above it are. Another thread or process may have just
made a directory and not synced its parent yet. So whoever makes files syncs the parent of every directory of
which it has not done so before, and remembers the directory by its inode.
"""

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final, TypeAlias

from attrs import define, field

Names: TypeAlias = tuple[str, ...]
"""The names of a directory and of those above it, from the root."""

_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_USELESS = frozenset({errno.ENOENT, errno.ESTALE})
_REMEMBERED: Final = 4096


class _Held:
    """An open directory, closed when no thread refers to it any more."""

    def __init__(self, descriptor: int):
        self.descriptor = descriptor

    def __del__(self) -> None:
        os.close(self.descriptor)

    def is_useless(self) -> bool:
        """Tell whether the directory was removed, or its file server does not know it any more."""
        try:
            return os.fstat(self.descriptor).st_nlink == 0
        except OSError:
            return True


@define(eq=False)
class Directories:
    """Opens directories below ``root``.

    :ivar root: a path; it may lead through symbolic links, as the operator wants.
    :ivar check: called with the open root before it is used; raises an ``OSError`` to refuse it.
    """

    root: str
    check: Callable[[int], None]
    _held: _Held | None = field(default=None, init=False)
    _durable: dict[Names, int] = field(factory=dict, init=False)
    """The inodes of directories whose names are durable."""

    def hold(self) -> None:
        """Open and check the root, and use it from now on.

        :raises OSError: if that fails; the root is then the same as before.
        """
        held = _Held(os.open(self.root, _OPEN))
        self.check(held.descriptor)
        self._held = held
        self._durable.clear()

    @contextmanager
    def opened(self, names: Names, *, make: bool = False) -> Iterator[int]:
        """Open a directory until the context ends; see :meth:`open`."""
        descriptor = self.open(names, make=make)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def open(self, names: Names, *, make: bool = False) -> int:
        """Open a directory, which the caller closes.

        :param make: whether to make what is missing, and all names durable.
        :raises OSError: if that fails, or one of the directories is none, or a symbolic link.
        """
        held = self._held
        if held is not None:
            try:
                return self._descend(held.descriptor, names, make)
            except OSError as error:
                if error.errno not in _USELESS or not held.is_useless():
                    raise
        self.hold()
        return self.open(names, make=make)

    def prune(self, names: Names) -> None:
        """Remove a directory if it is empty, and then those above it except the topmost."""
        for depth in range(len(names), 1, -1):
            with self.opened(names[: depth - 1]) as parent:
                self._durable.pop(names[:depth], None)
                try:
                    os.rmdir(names[depth - 1], dir_fd=parent)
                except OSError:
                    # It is not empty, or another has removed it.
                    return

    def _descend(self, root: int, names: Names, make: bool) -> int:
        descriptor = os.open(".", _OPEN, dir_fd=root)
        try:
            for depth in range(1, len(names) + 1):
                parent, descriptor = descriptor, self._enter(descriptor, names[:depth], make)
                try:
                    if make:
                        self._settle(parent, names[:depth], descriptor)
                finally:
                    os.close(parent)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def _enter(self, parent: int, names: Names, make: bool) -> int:
        """Open the last directory of ``names`` in its parent."""
        try:
            return _open_in(parent, names[-1])
        except FileNotFoundError:
            if not make:
                raise
        self._durable.pop(names, None)
        with suppress(FileExistsError):
            os.mkdir(names[-1], 0o700, dir_fd=parent)
        return _open_in(parent, names[-1])

    def _settle(self, parent: int, names: Names, descriptor: int) -> None:
        """Make the name of a directory durable, unless that was done before."""
        inode = os.fstat(descriptor).st_ino
        if self._durable.get(names) == inode:
            return
        os.fsync(parent)
        if len(self._durable) >= _REMEMBERED:
            self._durable.clear()
        self._durable[names] = inode


def _open_in(parent: int, name: str) -> int:
    return os.open(name, _OPEN | os.O_NOFOLLOW, dir_fd=parent)
