"""The mailbox store: the content of files, on disk (spec 06, *Files*).

The store checks no rights, and the database decides which files exist. Every method blocks: call it in a
thread. When a method returns, its changes are durable.
"""

import os
import stat
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from time import time
from typing import ParamSpec

from attrs import field, frozen
from twisted.python.filepath import FilePath
from zope.interface import implementer

from mensagod.errors import BadValue
from mensagod.storage.interfaces import IMailboxStore
from mensagod.storage.stored_file import StoredFile
from mensagod.values.paths import ServerPath

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_PIECE = 1024 * 1024

P = ParamSpec("P")


@implementer(IMailboxStore)
@frozen
class MailboxStore:
    """Files below ``root``; the directories are named like the elements of the server paths."""

    root: FilePath[str]
    _unsynced: set[tuple[str, ...]] = field(factory=set, init=False, eq=False, repr=False)
    """Directories that this process has created and whose names are not durable yet."""

    def write(self, path: ServerPath, content: bytes) -> None:
        """Create a file.

        :raises FileExistsError: if it exists.
        :raises OSError: if the disk is full or broken; the file does not exist then.
        """
        with self._directory(path.directory, make=True) as directory:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            descriptor = os.open(path.name, flags, 0o600, dir_fd=directory)
            try:
                _write_all(descriptor, content)
                os.fsync(directory)
            except BaseException:
                os.unlink(path.name, dir_fd=directory)
                raise
            finally:
                os.close(descriptor)

    def move(self, moves: Sequence[tuple[ServerPath, ServerPath]]) -> list[OSError | None]:
        """Move files; a file that was moved before counts as moved.

        All files are renamed before the directories are synced, so that many cost little more than one.

        :returns: the error of each move, or ``None``; ``FileNotFoundError`` if the file is at neither path.
        """
        faults = [_fault(self._rename, *move) for move in moves]
        # Sync the new names first: after a power failure a file may have both names, but never none.
        for side in (1, 0):
            directories = [move[side].directory for move in moves]
            moved = {path for path, fault in zip(directories, faults, strict=True) if fault is None}
            synced = {path: _fault(self._sync, path) for path in moved}
            faults = [fault or synced[path] for path, fault in zip(directories, faults, strict=True)]
        return faults

    def _rename(self, source: ServerPath, destination: ServerPath) -> None:
        with (
            self._directory(source.directory) as old,
            self._directory(destination.directory, make=True) as new,
        ):
            try:
                os.rename(source.name, destination.name, src_dir_fd=old, dst_dir_fd=new)
            except FileNotFoundError:
                os.stat(destination.name, dir_fd=new, follow_symlinks=False)

    def _sync(self, path: ServerPath) -> None:
        """Make the names in a directory durable."""
        with self._directory(path) as directory:
            os.fsync(directory)

    def remove(self, path: ServerPath) -> None:
        """Remove a file, if it exists."""
        try:
            with self._directory(path.directory) as directory:
                os.unlink(path.name, dir_fd=directory)
                os.fsync(directory)
        except FileNotFoundError:
            return

    def open(self, path: ServerPath) -> StoredFile:
        """Open a file for reading.

        :raises FileNotFoundError: if there is none.
        """
        with self._directory(path.directory) as directory:
            descriptor = os.open(path.name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
        return StoredFile(os.fstat(descriptor).st_size, descriptor)

    def read_head(self, path: ServerPath, size: int) -> bytes:
        """Give the first bytes of a file, at most ``size``."""
        stored = self.open(path)
        try:
            return stored.read(size)
        finally:
            stored.close()

    def old_outgoing(self, seconds: float, most: int) -> Generator[list[ServerPath], None, None]:
        """Give the files below ``out`` that were last written more than ``seconds`` ago.

        The generator gives lists of at most ``most`` files, so that a large store needs little memory.
        Getting the next list blocks. Symbolic links are not followed, and files with other names are left
        out.
        """
        written_before = time() - seconds
        found: list[ServerPath] = []
        for path in self._outgoing(written_before):
            found.append(path)
            if len(found) == most:
                yield found
                found = []
        if found:
            yield found

    def _outgoing(self, written_before: float) -> Iterator[ServerPath]:
        for workspace in self._workspaces(ServerPath(("out",), None)):
            with (
                suppress(FileNotFoundError),
                self._directory(workspace) as directory,
                os.scandir(directory) as entries,
            ):
                for entry in entries:
                    path = _child(workspace, entry.name)
                    if path is not None and path.is_file and _is_old(entry, written_before):
                        yield path

    def _workspaces(self, area: ServerPath) -> Iterator[ServerPath]:
        """Give the directories of workspaces in an area."""
        with (
            suppress(FileNotFoundError),
            self._directory(area) as directory,
            os.scandir(directory) as entries,
        ):
            for entry in entries:
                path = _child(area, entry.name)
                if path is not None and path.workspace is not None and entry.is_dir(follow_symlinks=False):
                    yield path

    def free_percent(self) -> float:
        """Give the space of the file system that is free for this process, in percent."""
        room = os.statvfs(self.root.path)
        return 100 * room.f_bavail / max(1, room.f_blocks)

    @contextmanager
    def _directory(self, path: ServerPath, make: bool = False) -> Iterator[int]:
        """Open a directory, one element at a time so that no symbolic link is followed.

        :param make: whether to create what is missing.
        """
        descriptor = os.open(self.root.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for depth in range(path.depth):
                place = path.elements[: depth + 1]
                parent, descriptor = descriptor, self._enter(descriptor, place, make)
                try:
                    if make:
                        self._settle(parent, place)
                finally:
                    os.close(parent)
            yield descriptor
        finally:
            os.close(descriptor)

    def _enter(self, parent: int, place: tuple[str, ...], make: bool) -> int:
        """Open the last directory of ``place`` in its parent.

        :param make: whether to create it if it is missing.
        """
        name = place[-1]
        try:
            return os.open(name, _DIRECTORY, dir_fd=parent)
        except FileNotFoundError:
            if not make:
                raise
        # Added before the directory exists: a thread that finds it must know that its name is not durable.
        self._unsynced.add(place)
        with suppress(FileExistsError):
            os.mkdir(name, 0o700, dir_fd=parent)
        return os.open(name, _DIRECTORY, dir_fd=parent)

    def _settle(self, parent: int, place: tuple[str, ...]) -> None:
        """Make the name of a new directory durable; the thread that created it may not have done so yet."""
        if place in self._unsynced:
            os.fsync(parent)
            self._unsynced.discard(place)


def _fault(work: Callable[P, None], *args: P.args, **kwargs: P.kwargs) -> OSError | None:
    """Call a function; give its ``OSError``, or ``None`` if it succeeds."""
    try:
        work(*args, **kwargs)
    except OSError as error:
        return error
    return None


def _child(directory: ServerPath, name: str) -> ServerPath | None:
    """Give the server path of ``name`` in a directory; ``None`` if a server path cannot have that name."""
    try:
        path = directory.child(name)
    except BadValue:
        return None
    return path if path.name == name else None


def _is_old(entry: os.DirEntry[str], written_before: float) -> bool:
    """Tell whether an entry is a regular file that was last written before a time."""
    try:
        status = entry.stat(follow_symlinks=False)
    except FileNotFoundError:
        return False
    return stat.S_ISREG(status.st_mode) and status.st_mtime < written_before


def _write_all(descriptor: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view[:_PIECE]) :]
    os.fsync(descriptor)
