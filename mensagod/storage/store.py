"""The mailbox store: the content of files, on disk (spec 06, *Files*).

It knows nothing of rights or of what exists: the database does. Every method blocks and belongs into a
thread. What a method promises is on the disk when it returns, also if the power fails then.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from attrs import define, frozen
from twisted.python.filepath import FilePath
from zope.interface import implementer

from mensagod.imensagod import IMailboxStore, ISource
from mensagod.paths import ServerPath

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_PIECE = 1024 * 1024


@implementer(ISource)
@define(eq=False)
class StoredFile:
    """A file that was opened; it can be read to its end even after it was deleted.

    :ivar size: its size when it was opened, in bytes.
    """

    size: int
    _descriptor: int
    _position: int = 0

    def seek(self, offset: int) -> None:
        """Go on reading at ``offset``."""
        self._position = offset

    def read(self, size: int) -> bytes:
        """Give the next bytes, fewer than ``size`` only at the end."""
        content = os.pread(self._descriptor, size, self._position)
        self._position += len(content)
        return content

    def read_ready(self, size: int) -> bytes:
        """Give those of the next bytes that the system has in memory; none if it would have to fetch them."""
        room = bytearray(size)
        try:
            count = os.preadv(self._descriptor, [room], self._position, os.RWF_NOWAIT)
        except OSError:
            # Not every file system can tell; what is really wrong shows when the bytes are fetched.
            return b""
        self._position += count
        return bytes(memoryview(room)[:count])

    def close(self) -> None:
        """Let go of the file; a second time does nothing."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


@implementer(IMailboxStore)
@frozen
class MailboxStore:
    """Files below ``root``, in directories named like the elements of their server paths."""

    root: FilePath[str]

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

    def move(self, source: ServerPath, destination: ServerPath) -> None:
        """Move a file; done already is as good.

        :raises FileNotFoundError: if it is at neither place.
        """
        with (
            self._directory(source.directory) as old,
            self._directory(destination.directory, make=True) as new,
        ):
            try:
                os.rename(source.name, destination.name, src_dir_fd=old, dst_dir_fd=new)
            except FileNotFoundError:
                os.stat(destination.name, dir_fd=new, follow_symlinks=False)
            # The new name first: after a power failure the file may have two names, but never none.
            os.fsync(new)
            os.fsync(old)

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

    def free_percent(self) -> float:
        """Tell how much of the file system is free for us."""
        room = os.statvfs(self.root.path)
        return 100 * room.f_bavail / max(1, room.f_blocks)

    @contextmanager
    def _directory(self, path: ServerPath, make: bool = False) -> Iterator[int]:
        """Open a directory, step by step so that no symbolic link is followed; on demand, make it."""
        descriptor = os.open(self.root.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for name in path.elements:
                parent, descriptor = descriptor, _enter(descriptor, name, make)
                os.close(parent)
            yield descriptor
        finally:
            os.close(descriptor)


def _enter(parent: int, name: str, make: bool) -> int:
    """Open the directory ``name``; on demand, make it durably if it is missing."""
    try:
        return os.open(name, _DIRECTORY, dir_fd=parent)
    except FileNotFoundError:
        if not make:
            raise
    with suppress(FileExistsError):
        os.mkdir(name, 0o700, dir_fd=parent)
    os.fsync(parent)
    return os.open(name, _DIRECTORY, dir_fd=parent)


def _write_all(descriptor: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view[:_PIECE]) :]
    os.fsync(descriptor)
