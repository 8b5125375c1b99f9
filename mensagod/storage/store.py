"""The mailbox store: the content of files, on disk (spec 06, *Files*).

It knows nothing of rights or of what exists: the database does. Every method blocks and belongs into a
thread. What a method promises is on the disk when it returns, also if the power fails then.
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
    """Files below ``root``, in directories named like the elements of their server paths."""

    root: FilePath[str]
    _unsynced: set[tuple[str, ...]] = field(factory=set, init=False, eq=False, repr=False)
    """Directories that this process makes, until their names are on the disk."""

    def write(self, path: ServerPath, content: bytes) -> None:
        """Make a file.

        :raises FileExistsError: if there is one.
        :raises OSError: if the disk is full or broken; then there is no such file.
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
        """Move files; done already is as good.

        All are moved before the disk is waited for, so that many cost little more than one.

        :returns: for each what went wrong, if anything did; ``FileNotFoundError`` if it is at neither place.
        """
        faults = [_fault(self._rename, *move) for move in moves]
        # The new names first: after a power failure a file may have two names, but never none.
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
        """Have what a directory's names are on the disk."""
        with self._directory(path) as directory:
            os.fsync(directory)

    def remove(self, path: ServerPath) -> None:
        """Remove a file; one that is not there is as good."""
        try:
            with self._directory(path.directory) as directory:
                os.unlink(path.name, dir_fd=directory)
                os.fsync(directory)
        except FileNotFoundError:
            return

    def open(self, path: ServerPath) -> StoredFile:
        """Open a file to read.

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

        They come in lists of ``most`` at the most, so that a large store takes no memory; each is for a
        thread of its own. No link is followed, and what is named like no file of ours is passed over.
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
        """Tell how much of the file system is free for us."""
        room = os.statvfs(self.root.path)
        return 100 * room.f_bavail / max(1, room.f_blocks)

    @contextmanager
    def _directory(self, path: ServerPath, make: bool = False) -> Iterator[int]:
        """Open a directory, step by step so that no symbolic link is followed; on demand, make it."""
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
        """Open the last directory of ``place``; on demand, make it if it is missing."""
        name = place[-1]
        try:
            return os.open(name, _DIRECTORY, dir_fd=parent)
        except FileNotFoundError:
            if not make:
                raise
        # Before it can be found: who finds it must know that its name is not durable yet.
        self._unsynced.add(place)
        with suppress(FileExistsError):
            os.mkdir(name, 0o700, dir_fd=parent)
        return os.open(name, _DIRECTORY, dir_fd=parent)

    def _settle(self, parent: int, place: tuple[str, ...]) -> None:
        """Make the name of a directory durable, if it is new: whoever made it may not have come to that."""
        if place in self._unsynced:
            os.fsync(parent)
            self._unsynced.discard(place)


def _fault(work: Callable[P, None], *args: P.args, **kwargs: P.kwargs) -> OSError | None:
    """Do something with files and give what went wrong, if anything did."""
    try:
        work(*args, **kwargs)
    except OSError as error:
        return error
    return None


def _child(directory: ServerPath, name: str) -> ServerPath | None:
    """Give the path of what is called ``name`` on the disk, if it has one."""
    try:
        path = directory.child(name)
    except BadValue:
        return None
    return path if path.name == name else None


def _is_old(entry: os.DirEntry[str], written_before: float) -> bool:
    """Tell whether an entry is a file, no link, that was last written before a time."""
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
