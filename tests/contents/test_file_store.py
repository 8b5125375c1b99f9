"""The content store on a real file system (spec 06, *Files*)."""

import errno
import os
import stat
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from twisted.python.filepath import FilePath

from mensagod.contents.file_store import FileStore
from mensagod.contents.interfaces import WrongStore
from mensagod.contents.keys import ContentKey
from mensagod.contents.layout import directory_of, part_name
from mensagod.contents.reading import KEPT_OPEN
from tests.contents import contract
from tests.contents.contract import DAY, PART, get, new_key, put
from tests.directories import count_open, scratch_of


class _OnDisk:
    disk: FileStore
    root: Path

    def make_store(self) -> FileStore:
        self.root = scratch_of(self, "contents")  # type: ignore[arg-type]
        self.disk = FileStore(FilePath(str(self.root)), PART)
        return self.disk

    def on_disk(self, key: ContentKey, number: int = 0) -> Path:
        """Give the path of a part."""
        return self.root.joinpath(*directory_of(key), part_name(key.id, number))

    def files(self) -> list[Path]:
        return [path for path in self.root.rglob("*") if not path.is_dir()]


class ContentTests(_OnDisk, contract.ContentContract):
    """Contents on disk."""


class ResumeTests(_OnDisk, contract.ResumeContract):
    """Writing that goes on, on disk."""


class ListTests(_OnDisk, contract.ListContract):
    """Listing what is on disk."""

    def test_strangers(self) -> None:
        """What has no name of ours is passed over."""
        key = put(self.store, b"content")
        content = self.root / "content"
        for name in ("README", "20260230", "2026020", "00000000"):
            (content / name).mkdir()
        day = content / "20260203"
        (day / "xx").mkdir()
        self.on_disk(key).with_name("README").touch()
        self.on_disk(key).with_name(f"{key.id}.01").touch()
        self.on_disk(key).with_name(f"{uuid4()}").touch()
        self.assertEqual(list(self.store.list_days()), [DAY])
        self.assertEqual(list(self.store.list_day(DAY, None, 10)), [key.id])


class IDTests(_OnDisk, contract.IDContract):
    """The ID of a store on disk."""

    def give_id(self) -> UUID:
        store = uuid4()
        self.store.propose_id(store)
        self.store.require_id(store)
        return store

    def test_file(self) -> None:
        """It is one line in a file that nobody else can read, and the proposal is gone."""
        store = self.give_id()
        file = self.root / "store-id"
        self.assertEqual(file.read_text(), f"{store}\n")
        self.assertEqual(stat.S_IMODE(file.stat().st_mode), 0o600)
        self.assertEqual(self.files(), [file])

    def test_texts(self) -> None:
        """The operator is told the path, both IDs and what to do, in one sentence."""
        wanted = uuid4()
        error = str(self.assertRaises(WrongStore, self.store.require_id, wanted))
        for word in (f"{self.root}/store-id is missing", str(wanted), "mount the disk", "global.top_dir"):
            self.assertIn(word, error)
        found = self.give_id()
        error = str(self.assertRaises(WrongStore, self.store.require_id, wanted))
        for word in (f"{self.root}/store-id contains", str(wanted), str(found), "correct global.top_dir"):
            self.assertIn(word, error)

    def test_not_an_id(self) -> None:
        """A file with anything else is refused, and not replaced."""
        for content in ("", "an ID\n", f"{uuid4()}", f"{uuid4()}\n\n", f"{uuid4()}".upper() + "\n"):
            (self.root / "store-id").write_text(content)
            for use in (self.store.require_id, self.store.propose_id):
                error = self.assertRaises(WrongStore, use, uuid4())
                self.assertIn("store-id", str(error))
            self.assertEqual((self.root / "store-id").read_text(), content)

    def test_cut_off_proposal(self) -> None:
        """A proposal that a crash has cut off counts for nothing, and is replaced."""
        (self.root / "store-id.new").write_text("1234")
        self.assertRaises(WrongStore, self.store.require_id, uuid4())
        self.give_id()

    def test_settled_by_another(self) -> None:
        """Of processes that start together any may give the store its ID."""
        store = uuid4()
        self.store.propose_id(store)
        real = os.rename

        def overtaken(*args: Any, **kwargs: Any) -> None:
            real(*args, **kwargs)
            real(*args, **kwargs)

        self.patch(os, "rename", overtaken)
        self.store.require_id(store)

    def test_link(self) -> None:
        """The ID is not read through a link."""
        other = self.root.with_name(f"{self.root.name}-id")
        other.write_text(f"{uuid4()}\n")
        self.addCleanup(other.unlink)
        (self.root / "store-id").symlink_to(other)
        error = self.assertRaises(WrongStore, self.store.read_id)
        self.assertIn("store-id in global.top_dir cannot be read", str(error))

    def test_unmounted(self) -> None:
        """A store whose disk went away is not written to at the place where it was."""
        store = self.give_id()
        away = self.root.with_name(f"{self.root.name}-away")
        self.root.rename(away)
        self.addCleanup(FilePath(str(away)).remove)
        self.root.mkdir()
        # It is still the same directory that is held.
        key = put(self.store, b"content")
        self.assertEqual(list(self.root.iterdir()), [])
        # A new process, or one whose directory became useless, finds another one.
        other = FileStore(FilePath(str(self.root)), PART)
        self.assertRaises(WrongStore, other.require_id, store)
        self.assertEqual(get(self.store, key, 7), b"content")

    def test_useless_directory(self) -> None:
        """A directory that was removed is opened again, if it has the right ID."""
        store = self.give_id()
        self.root.joinpath("store-id").unlink()
        self.root.rmdir()
        self.assertRaises(FileNotFoundError, self.store.write, new_key())
        self.root.mkdir()
        for use in (lambda: put(self.store, b"content"), lambda: self.store.open(new_key(), 0)):
            self.assertRaises(WrongStore, use)
        self.assertEqual(list(self.root.iterdir()), [])
        self.root.joinpath("store-id").write_text(f"{store}\n")
        key = put(self.store, b"content")
        self.assertEqual(self.on_disk(key).read_bytes(), b"content")

    def test_stale_directory(self) -> None:
        """So is one that its file server does not know any more."""
        store = self.give_id()
        key, real = put(self.store, b"content"), os.open
        stale = self.disk.directories._held
        assert stale is not None
        descriptor = stale.descriptor

        def refuse(path: Any, *args: Any, dir_fd: int | None = None, **kwargs: Any) -> int:
            if dir_fd == descriptor:
                raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
            return real(path, *args, dir_fd=dir_fd, **kwargs)

        real_stat = os.fstat

        def refuse_stat(number: int) -> os.stat_result:
            if number == descriptor:
                raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
            return real_stat(number)

        self.patch(os, "open", refuse)
        self.patch(os, "fstat", refuse_stat)
        self.assertEqual(get(self.store, key, 7), b"content")
        self.assertIsNot(self.disk.directories._held, stale)
        self.assertEqual(self.store.read_id(), store)


class FileTests(_OnDisk, contract.StoreContract):
    """The files that a content consists of."""

    def test_layout(self) -> None:
        """A content is in parts below its day and the first byte of its key, closed to others."""
        self.addCleanup(os.umask, os.umask(0))
        key = ContentKey(date(2026, 11, 28), UUID("ab345678-1234-4abc-8def-0123456789ab"))
        put(self.store, b"0123456789abcdef", key=key)
        place = self.root / "content" / "20261128" / "ab"
        self.assertEqual((place / f"{key.id}.0").read_bytes(), b"0123456789")
        self.assertEqual((place / f"{key.id}.1").read_bytes(), b"abcdef")
        self.assertEqual(len(self.files()), 2)
        for path in self.root.rglob("*"):
            self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o700 if path.is_dir() else 0o600, str(path))

    def test_empty(self) -> None:
        """An empty content has one empty part."""
        key = put(self.store)
        self.assertEqual(self.files(), [self.on_disk(key)])

    def test_real_parts(self) -> None:
        """Parts have 8 MiB where nothing else is said; large pieces need no memory of their own."""
        store = FileStore(FilePath(str(self.root)))
        content = bytes(8 * 1024 * 1024 + 1)
        key = put(store, content)
        self.assertEqual([self.on_disk(key, number).stat().st_size for number in range(2)], [8388608, 1])
        self.assertEqual(get(store, key, len(content)), content)

    def test_directories_go(self) -> None:
        """Directories without contents do not stay, but the topmost."""
        first, second = ContentKey(DAY, UUID(int=1)), ContentKey(DAY, UUID(int=2))
        for key in (first, second):
            put(self.store, key=key)
        self.store.remove(first)
        self.assertEqual(self.files(), [self.on_disk(second)])
        self.store.remove(second)
        self.assertEqual(list(self.root.rglob("*")), [self.root / "content"])
        put(self.store, key=first)

    def test_directory_goes_meanwhile(self) -> None:
        """A directory that is removed as empty by others is made again."""
        keys = [new_key() for _ in range(6)]
        real = os.open
        hindrances = 3

        def hinder(path: str, flags: int, *args: Any, **kwargs: Any) -> int:
            nonlocal hindrances
            if flags & os.O_CREAT and hindrances:
                hindrances -= 1
                self.on_disk(keys[0]).parent.rmdir()
            return real(path, flags, *args, **kwargs)

        self.patch(os, "open", hinder)
        put(self.store, b"content", key=keys[0])
        hindrances = 100
        self.store.remove(keys[0])
        self.assertRaises(FileNotFoundError, self.store.write, keys[0])

    def test_many_parts(self) -> None:
        """Of a content with many parts some are open only while they are read."""
        content = os.urandom((KEPT_OPEN + 5) * PART + 3)
        key = put(self.store, content)
        before = count_open(self.root)
        stored = self.store.open(key, len(content))
        self.assertEqual(count_open(self.root) - before, KEPT_OPEN + 1)
        stored.seek(KEPT_OPEN * PART)
        self.assertEqual(stored.read_ready(5), b"")
        self.assertEqual(stored.read(5), content[KEPT_OPEN * PART :][:5])
        self.assertIn(stored.read_ready(5), (b"", content[KEPT_OPEN * PART + 5 :][:5]))
        stored.seek(0)
        self.assertEqual(stored.read(len(content)), content)
        self.assertEqual(count_open(self.root) - before, KEPT_OPEN + 2)
        stored.close()
        self.assertEqual(count_open(self.root), before)
        stored.seek(0)
        self.assertRaises(ValueError, stored.read, 1)

    def test_no_descriptor_stays_open(self) -> None:
        """Neither success nor failure leaves anything open."""
        key = put(self.store, bytes(3 * PART))
        before = count_open(self.root)
        writer = self.store.write(new_key())
        writer.write(bytes(PART + 1))
        writer.abandon()
        self.store.write(key, 5).pause()
        put(self.store, b"content")
        self.store.remove(key)
        self.store.list_day(DAY, None, 9)
        torn = put(self.store, bytes(3 * PART))
        self.on_disk(torn, 2).unlink()
        for refused in (
            lambda: self.store.write(torn),
            lambda: self.store.write(torn, 3 * PART),
            lambda: self.store.open(torn, 3 * PART),
            lambda: self.store.open(new_key(), 1),
        ):
            with self.assertRaises((OSError, ValueError)):
                refused()
        self.assertEqual(count_open(self.root), before)

    def test_in_memory(self) -> None:
        """What the file system has in memory is given at once, up to the end of a part."""
        stored = self.store.open(put(self.store, bytes(PART) + b"content"), PART + 7)
        self.addCleanup(stored.close)
        real = os.preadv
        # Not every file system can tell.
        self.patch(os, "preadv", lambda part, rooms, offset, flags: real(part, rooms, offset))
        self.assertEqual(stored.read_ready(4), bytes(4))
        self.assertEqual(stored.read_ready(100), bytes(PART - 4))
        self.assertEqual(stored.read_ready(100), b"content")
        self.assertEqual(stored.read_ready(100), b"")

    def test_no_room_to_wait(self) -> None:
        """Where a file system cannot say what is in memory, everything is read in a thread."""
        stored = self.store.open(put(self.store, b"content"), 7)
        self.addCleanup(stored.close)

        def refuse(*args: object) -> int:
            raise OSError(errno.EOPNOTSUPP, "Operation not supported")

        self.patch(os, "preadv", refuse)
        self.assertEqual(stored.read_ready(7), b"")
        self.assertEqual(stored.read(7), b"content")


class DamageTests(_OnDisk, contract.StoreContract):
    """Parts that somebody has lost, torn or replaced."""

    def test_missing_part(self) -> None:
        """A content that lacks a part is not there; what is left of it can be listed and removed."""
        for lost in range(4):
            key = put(self.store, bytes(3 * PART + 1))
            self.on_disk(key, lost).unlink()
            self.assertRaises(FileNotFoundError, self.store.open, key, 3 * PART + 1)
            self.assertEqual(self.store.head(key), lost * PART or None)
            while key.id in self.store.list_day(DAY, None, 10):
                self.store.remove(key)
            self.assertEqual(self.files(), [])

    def test_torn_part(self) -> None:
        """So is one of which a part is shorter or longer."""
        for number in range(3):
            key = put(self.store, bytes(3 * PART))
            for size in (0, PART - 1, PART + 1):
                os.truncate(self.on_disk(key, number), size)
                error = self.assertRaises(FileNotFoundError, self.store.open, key, 3 * PART)
                self.assertIn(part_name(key.id, number), str(error))
        many = put(self.store, bytes((KEPT_OPEN + 2) * PART))
        os.truncate(self.on_disk(many, KEPT_OPEN + 1), 1)
        self.assertRaises(FileNotFoundError, self.store.open, many, (KEPT_OPEN + 2) * PART)

    def test_shorter_meanwhile(self) -> None:
        """A part that becomes shorter while it is read is an error, not an end."""
        key = put(self.store, bytes(2 * PART))
        stored = self.store.open(key, 2 * PART)
        self.addCleanup(stored.close)
        os.truncate(self.on_disk(key, 0), 4)
        self.assertRaises(OSError, stored.read, 2 * PART)
        self.assertEqual(stored.read_ready(1), b"")

    def test_unreadable_directory(self) -> None:
        """A directory that cannot be read is an error, not an empty one."""
        key = put(self.store, b"content")
        real = os.open

        def refuse(path: Any, flags: int, *args: Any, **kwargs: Any) -> int:
            if path == key.id.hex[:2]:
                raise PermissionError(errno.EACCES, "Permission denied", path)
            return real(path, flags, *args, **kwargs)

        self.patch(os, "open", refuse)
        for use in (
            lambda: self.store.open(key, 7),
            lambda: self.store.head(key),
            lambda: self.store.remove(key),
            lambda: self.store.write(key),
            lambda: self.store.write(key, 3),
            lambda: self.store.list_day(DAY, None, 1),
        ):
            self.assertRaises(PermissionError, use)


class LinkTests(_OnDisk, contract.StoreContract):
    """Symbolic links that somebody planted are refused."""

    def setUp(self) -> None:
        super().setUp()
        self.outside = scratch_of(self, "outside")

    def uses(self, key: ContentKey) -> list[Callable[[], Any]]:
        return [
            lambda: self.store.write(key),
            lambda: self.store.write(key, 3),
            lambda: self.store.open(key, 6),
            lambda: self.store.head(key),
        ]

    def test_directories(self) -> None:
        """At no depth a directory may be a link; nothing is listed or removed through one either."""
        key = new_key()
        names = directory_of(key)
        for depth in range(1, 4):
            link = self.root.joinpath(*names[:depth])
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(self.outside)
            secret = self.outside.joinpath(*names[depth:], part_name(key.id, 0))
            secret.parent.mkdir(parents=True, exist_ok=True)
            secret.write_bytes(b"secret")
            for use in (*self.uses(key), lambda: self.store.remove(key)):
                self.assertRaises(OSError, use)
            self.assertRaises(OSError, self.store.list_day, DAY, None, 10)
            self.assertEqual([path for path in self.outside.rglob("*") if path.is_file()], [secret])
            self.assertEqual(secret.read_bytes(), b"secret")
            link.unlink()
            secret.unlink()

    def test_parts(self) -> None:
        """A link in the place of a part is neither read nor written through; what is removed is the link."""
        for number in range(2):
            secret = self.outside / "secret"
            secret.write_bytes(bytes(PART))
            key = put(self.store, bytes(2 * PART))
            self.on_disk(key, number).unlink()
            self.on_disk(key, number).symlink_to(secret)
            self.assertRaises(OSError, self.store.write, key)
            self.assertRaises(OSError, self.store.write, key, 2 * PART)
            self.assertRaises(OSError, self.store.open, key, 2 * PART)
            self.assertRaises(OSError, self.store.head, key)
            self.store.remove(key)
            self.assertEqual(self.files(), [])
            self.assertEqual(secret.read_bytes(), bytes(PART))

    def test_dangling(self) -> None:
        """Nothing is written to the place that a link names."""
        key = new_key()
        writer = self.store.write(key)
        self.on_disk(key, 1).symlink_to(self.outside / "none")
        self.assertRaises(FileExistsError, writer.write, bytes(PART + 1))
        writer.abandon()
        self.assertEqual(list(self.outside.iterdir()), [])
        self.assertEqual(self.files(), [])
