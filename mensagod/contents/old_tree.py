"""The tree of paths in which earlier versions kept the files, as it is brought over to a content store.

Each file was at its server path: ``top_dir/wsp/WID/new/NAME``, ``top_dir/out/WID/NAME``.
"""

import errno
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Final

from attrs import frozen

from mensagod.contents.file_store import FileStore
from mensagod.contents.interfaces import PART_SIZE
from mensagod.contents.keys import ContentKey
from mensagod.contents.writing import new_hash
from mensagod.values.paths import AREAS, ServerPath

_PIECE: Final = 1024 * 1024
_NO_LINKS = frozenset({errno.EPERM, errno.EACCES, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV})
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@frozen
class OldFile:
    """A file of the old tree, open until :meth:`OldTree.opened` ends."""

    size: int
    _path: ServerPath
    _directory: int
    _descriptor: int

    def read(self) -> bytes:
        """Give the whole content."""
        return b"".join(self._pieces())

    def bring_over(self, store: FileStore, key: ContentKey) -> bytes:
        """Store the content under a key, durably, and give its hash.

        What an interrupted attempt left under the key is replaced.
        A file of one part gets a second name, where the file system can do that; others are copied.
        """
        try:
            return self._store(store, key)
        except FileExistsError:
            store.remove(key)
            return self._store(store, key)

    def _store(self, store: FileStore, key: ContentKey) -> bytes:
        if self.size > PART_SIZE or not self._link(store, key):
            return self._copy(store, key)
        found = new_hash()
        for piece in self._pieces():
            found.update(piece)
        digest: bytes = found.digest()
        return digest

    def _link(self, store: FileStore, key: ContentKey) -> bool:
        try:
            store.adopt(key, self._directory, self._path.name)
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            return False
        return True

    def _copy(self, store: FileStore, key: ContentKey) -> bytes:
        writer = store.write(key)
        try:
            for piece in self._pieces():
                writer.write(piece)
            written = writer.finish()
        except BaseException:
            writer.abandon()
            raise
        assert written.hash is not None
        return written.hash

    def _pieces(self) -> Iterator[bytes]:
        position = 0
        while piece := os.pread(self._descriptor, _PIECE, position):
            position += len(piece)
            yield piece


@frozen
class Leftovers:
    """Files of an area that nothing referred to.

    :ivar directory: the path of the area.
    """

    directory: str
    count: int


@frozen
class OldTree:
    """The directories of an earlier version in the directory of a store."""

    store: FileStore

    def exists(self) -> bool:
        """Tell whether there is a tree with files of workspaces or with messages."""
        with self.store.directories.opened(()) as root:
            return bool({"wsp", "out"} & set(os.listdir(root)))

    def name(self, path: ServerPath) -> str:
        """Give the whole path of a file."""
        return "/".join((self.store.root.path, *path.elements))

    @contextmanager
    def opened(self, path: ServerPath) -> Iterator[OldFile | None]:
        """Open a file until the context ends; ``None`` if it does not exist.

        :raises OSError: if something else is in its place, or it cannot be opened.
        """
        try:
            directory = self.store.directories.open(path.directory.elements)
        except FileNotFoundError:
            yield None
            return
        try:
            try:
                descriptor = os.open(path.name, _READ, dir_fd=directory)
            except FileNotFoundError:
                yield None
                return
            try:
                found = os.fstat(descriptor)
                if not stat.S_ISREG(found.st_mode):
                    raise OSError(errno.EINVAL, "Not a file", self.name(path))
                yield OldFile(found.st_size, path, directory, descriptor)
            finally:
                os.close(descriptor)
        finally:
            os.close(directory)

    def unlink(self, paths: Iterable[ServerPath]) -> None:
        """Remove the names of files durably, those that they have."""
        names: dict[tuple[str, ...], list[str]] = {}
        for path in paths:
            names.setdefault(path.directory.elements, []).append(path.name)
        for elements, files in names.items():
            with suppress(FileNotFoundError), self.store.directories.opened(elements) as directory:
                for name in files:
                    with suppress(FileNotFoundError):
                        os.unlink(name, dir_fd=directory)
                os.fsync(directory)

    def remove_empty(self) -> list[Leftovers]:
        """Remove the empty directories of the tree; tell what stays in the others."""
        counts = {area: self._remove_area(area) for area in sorted(AREAS)}
        place = self.store.root.path
        return [Leftovers(f"{place}/{area}", count) for area, count in counts.items() if count]

    def _remove_area(self, area: str) -> int:
        """Remove the empty directories of an area, and give the number of files in the others."""
        count = 0
        with self.store.directories.opened(()) as root, suppress(FileNotFoundError):
            for _, directories, files, descriptor in os.fwalk(area, topdown=False, dir_fd=root):
                count += len(files)
                for name in directories:
                    _remove_directory(descriptor, name)
            _remove_directory(root, area)
            os.fsync(root)
        return count


def _remove_directory(parent: int, name: str) -> None:
    # It stays if it is not empty, or is a link to one.
    with suppress(OSError):
        os.rmdir(name, dir_fd=parent)
