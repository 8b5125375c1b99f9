"""The content store on a file system (spec 06, *Files*)."""

import os
from collections.abc import Sequence
from datetime import date
from typing import Final
from uuid import UUID

from twisted.python.filepath import FilePath
from zope.interface import implementer

from mensagod.contents.directories import Directories
from mensagod.contents.interfaces import PART_SIZE, IContentStore
from mensagod.contents.keys import ContentKey
from mensagod.contents.layout import (
    CONTENT,
    bucket_name,
    day_name,
    directory_of,
    is_bucket,
    parse_day,
    parse_part,
    part_name,
)
from mensagod.contents.parts import (
    create_part,
    open_part,
    remove_all_parts,
    remove_parts,
    stored_size,
)
from mensagod.contents.reading import StoredContent
from mensagod.contents.store_id import check_id, propose_id, read_id
from mensagod.contents.writing import FileWriter, new_hash

_TRIES: Final = 5


@implementer(IContentStore)
class FileStore:
    """Contents below ``root``, which is ``global.top_dir``."""

    def __init__(self, root: FilePath[str], part_size: int = PART_SIZE):
        self.root = root
        self.directories = Directories(root.path, self._check)
        self._part_size = part_size
        self._id: UUID | None = None

    @property
    def place(self) -> str:
        """Where the store is, for the operator."""
        return self.root.path

    def write(self, key: ContentKey, offset: int = 0) -> FileWriter:
        """Begin a content, or resume one that was paused."""
        if offset:
            return self._resume(key, offset)
        directory, part = self._create(key)
        return FileWriter(directory, key.id, self._part_size, part, hash=new_hash())

    def open(self, key: ContentKey, size: int) -> StoredContent:
        """Open a content for reading."""
        with self.directories.opened(directory_of(key)) as directory:
            return StoredContent.open(directory, key.id, size, self._part_size)

    def head(self, key: ContentKey) -> int | None:
        """Give the number of bytes that are stored under a key."""
        try:
            with self.directories.opened(directory_of(key)) as directory:
                return stored_size(directory, key.id, self._part_size)
        except FileNotFoundError:
            return None

    def remove(self, key: ContentKey) -> None:
        """Remove a content, and directories that are empty then."""
        names = directory_of(key)
        try:
            with self.directories.opened(names) as directory:
                remove_all_parts(directory, key.id)
                os.fsync(directory)
            self.directories.prune(names)
        except FileNotFoundError:
            return

    def list_days(self) -> Sequence[date]:
        """Give the days that have directories."""
        return sorted(day for name in self._list((CONTENT,)) if (day := parse_day(name)) is not None)

    def list_day(self, day: date, after: UUID | None, most: int) -> Sequence[UUID]:
        """Give the first contents of a day after one of them."""
        found: list[UUID] = []
        first = "" if after is None else bucket_name(after)
        names = (CONTENT, day_name(day))
        for bucket in sorted(name for name in self._list(names) if is_bucket(name) and name >= first):
            contents = {content for name in self._list((*names, bucket)) if (content := parse_part(name))}
            found += sorted(content for content in contents if after is None or content > after)
            if len(found) >= most:
                break
        return found[:most]

    def free_percent(self) -> float:
        """Give the space of the file system that is free for this process, in percent."""
        with self.directories.opened(()) as root:
            room = os.fstatvfs(root)
        return 100 * room.f_bavail / max(1, room.f_blocks)

    def read_id(self) -> UUID | None:
        """Give the ID of the store."""
        with self.directories.opened(()) as root:
            return read_id(root)

    def propose_id(self, store: UUID) -> None:
        """Note the ID that the store is going to have."""
        with self.directories.opened(()) as root:
            propose_id(root, store)

    def require_id(self, store: UUID) -> None:
        """Check the ID of the directory that is at the root's path now, and hold this directory."""
        before, self._id = self._id, store
        try:
            self.directories.hold()
        except BaseException:
            self._id = before
            raise

    def adopt(self, key: ContentKey, directory: int, name: str) -> None:
        """Make a file the only part of a content by a hard link; it is not changed, and was synced.

        :param directory: the open directory in which the file is.
        :raises FileExistsError: if the key is in use.
        :raises OSError: if the file system cannot do that.
        """
        with self.directories.opened(directory_of(key), make=True) as target:
            new = part_name(key.id, 0)
            os.link(name, new, src_dir_fd=directory, dst_dir_fd=target, follow_symlinks=False)
            os.fsync(target)

    def _check(self, root: int) -> None:
        if self._id is not None:
            check_id(root, self.root.path, self._id)

    def _create(self, key: ContentKey) -> tuple[int, int]:
        """Give a content's directory and its first part, both open."""
        for _ in range(_TRIES):
            try:
                return self._try_to_create(key)
            except FileNotFoundError as error:
                # Another removed the directory because it was empty.
                missing = error
        raise missing

    def _try_to_create(self, key: ContentKey) -> tuple[int, int]:
        directory = self.directories.open(directory_of(key), make=True)
        try:
            return directory, create_part(directory, key.id, 0)
        except BaseException:
            os.close(directory)
            raise

    def _resume(self, key: ContentKey, offset: int) -> FileWriter:
        try:
            directory = self.directories.open(directory_of(key))
        except FileNotFoundError:
            raise ValueError(f"Nothing is stored of the content {key.id}") from None
        part = -1
        try:
            stored = stored_size(directory, key.id, self._part_size) or 0
            if stored < offset:
                raise ValueError(f"Only {stored} bytes are stored of the content {key.id}")
            number, within = divmod(offset, self._part_size)
            remove_parts(directory, key.id, number + (within > 0))
            if within:
                part = open_part(directory, key.id, number, os.O_WRONLY)
                os.ftruncate(part, within)
                os.lseek(part, within, os.SEEK_SET)
            return FileWriter(directory, key.id, self._part_size, part, size=offset)
        except BaseException:
            for descriptor in (part, directory):
                if descriptor >= 0:
                    os.close(descriptor)
            raise

    def _list(self, names: tuple[str, ...]) -> list[str]:
        """List a directory; one that does not exist has nothing."""
        try:
            with self.directories.opened(names) as directory:
                return os.listdir(directory)
        except FileNotFoundError:
            return []
