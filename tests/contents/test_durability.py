"""What the store of files promises is on the disk before the promise, whatever fails."""

import errno
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path
from threading import Barrier
from typing import Any
from uuid import UUID

from twisted.python.filepath import FilePath
from twisted.trial.unittest import SynchronousTestCase

from mensagod.contents import directories
from mensagod.contents.file_store import FileStore
from mensagod.contents.interfaces import Written
from mensagod.contents.keys import ContentKey
from tests.contents.contract import PART, digest, get, new_key, put
from tests.directories import count_open, scratch_of

BUCKET = "content/20260203/ab"


def key(number: int) -> ContentKey:
    """Give a key in one certain directory."""
    return ContentKey(date(2026, 2, 3), UUID(int=0xAB << 120 | number))


class DiskTestCase(SynchronousTestCase):
    """An empty store whose calls of the system can be watched, and fail."""

    def setUp(self) -> None:
        self.root = scratch_of(self, "contents")
        self.store = FileStore(FilePath(str(self.root)), PART)

    def files(self) -> list[Path]:
        return [path for path in self.root.rglob("*") if not path.is_dir()]

    def record(self) -> list[str]:
        """Note from now on, in order, what is done to files and directories."""
        done: list[str] = []

        def noting(verb: str, what: Callable[..., str]) -> Callable[..., Any]:
            real = getattr(os, verb)

            def noted(*args: Any, **kwargs: Any) -> Any:
                name = what(*args)
                result = real(*args, **kwargs)
                done.append(f"{verb} {name}")
                return result

            return noted

        def at(descriptor: int, *_: object) -> str:
            path = Path(os.readlink(f"/proc/self/fd/{descriptor}")).relative_to(self.root)
            return str(path.with_name("PART" + path.suffix)) if path.suffix else str(path)

        for verb, what in (
            ("fsync", at),
            ("write", at),
            ("mkdir", lambda made, *_: str(made)),
            ("rmdir", lambda gone, *_: str(gone)),
            ("unlink", lambda gone, *_: "PART" + Path(gone).suffix),
        ):
            self.patch(os, verb, noting(verb, what))
        return done

    def break_at(self, verb: str, at: int, code: int = errno.ENOSPC) -> None:
        """Have a function of ``os`` fail at its ``at``-th call."""
        real, calls = getattr(os, verb), 0

        def failing(*args: Any, **kwargs: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == at:
                raise OSError(code, os.strerror(code))
            return real(*args, **kwargs)

        self.patch(os, verb, failing)


class OrderTests(DiskTestCase):
    """What is synced, and when."""

    def test_write(self) -> None:
        """New directories reach their parents, then each part its file and its name the directory."""
        done = self.record()
        writer = self.store.write(key(1))
        self.assertEqual(
            done,
            [
                *("mkdir content", "fsync .", "mkdir 20260203", "fsync content"),
                *("mkdir ab", "fsync content/20260203"),
            ],
        )
        done.clear()
        writer.write(bytes(PART + 1))
        self.assertEqual(
            done,
            [f"write {BUCKET}/PART.0", f"fsync {BUCKET}/PART.0", f"fsync {BUCKET}", f"write {BUCKET}/PART.1"],
        )
        done.clear()
        writer.finish()
        self.assertEqual(done, [f"fsync {BUCKET}/PART.1", f"fsync {BUCKET}"])

    def test_pause(self) -> None:
        """What was there at a pause is durable."""
        writer = self.store.write(key(1))
        writer.write(b"content")
        done = self.record()
        writer.pause()
        self.assertEqual(done, [f"fsync {BUCKET}/PART.0", f"fsync {BUCKET}"])

    def test_full_part(self) -> None:
        """A content that ends with its part needs nothing more."""
        writer = self.store.write(key(1))
        writer.write(bytes(PART))
        done = self.record()
        writer.finish()
        self.assertEqual(done, [])

    def test_remove(self) -> None:
        """The last part goes first, so that a crash leaves no gap; then the names are durably gone."""
        put(self.store, bytes(2 * PART + 1), key=key(1))
        done = self.record()
        self.store.remove(key(1))
        self.assertEqual(
            done,
            [
                *("unlink PART.2", "unlink PART.1", "unlink PART.0", f"fsync {BUCKET}"),
                *("rmdir ab", "rmdir 20260203"),
            ],
        )

    def test_known_directories(self) -> None:
        """A directory whose name is known to be durable is not synced again, except after it was removed."""
        put(self.store, key=key(1))
        done = self.record()
        put(self.store, key=key(2))
        self.assertEqual(done, [f"fsync {BUCKET}/PART.0", f"fsync {BUCKET}"])
        for number in (1, 2):
            self.store.remove(key(number))
        done.clear()
        put(self.store, key=key(1))
        self.assertEqual(done[:4], ["mkdir 20260203", "fsync content", "mkdir ab", "fsync content/20260203"])

    def test_bounded(self) -> None:
        """Only so many directories are remembered."""
        self.patch(directories, "_REMEMBERED", 5)
        for _ in range(50):
            put(self.store)
        self.assertLessEqual(len(self.store.directories._durable), 5)

    def test_made_by_another_process(self) -> None:
        """Who finds a directory that another process has made makes its name durable, too."""
        other = FileStore(self.store.root, PART)
        put(other, key=key(1))
        done = self.record()
        put(self.store, key=key(2))
        self.assertEqual(done[:3], ["fsync .", "fsync content", "fsync content/20260203"])

    def test_found_before_durable(self) -> None:
        """So does who finds one that another thread is just making."""
        real, done = os.fsync, self.record()
        noted = os.fsync

        def cut_in(descriptor: int) -> None:
            # The first to sync is held up, and meanwhile another writes.
            self.patch(os, "fsync", noted)
            put(self.store, key=key(2))
            real(descriptor)

        self.patch(os, "fsync", cut_in)
        put(self.store, key=key(1))
        self.assertEqual(done[:3], ["mkdir content", "fsync .", "mkdir 20260203"])

    def test_failed_directory(self) -> None:
        """A directory whose name could not be made durable is synced by the next who needs it."""
        self.break_at("fsync", 1, errno.EIO)
        self.assertRaises(OSError, self.store.write, key(1))
        done = self.record()
        put(self.store, key=key(1))
        self.assertEqual(done[0], "fsync .")


class FaultTests(DiskTestCase):
    """Disks that are full or broken."""

    def test_abandoned(self) -> None:
        """Whatever fails, at whatever point, the content is not whole, and goes when it is abandoned."""
        put(self.store, key=key(1))
        before = self.files()
        for verb, at in (("write", 1), ("write", 3), ("fsync", 1), ("fsync", 2), ("fsync", 3), ("open", 1)):
            for code in (errno.ENOSPC, errno.EIO):
                writer = self.store.write(key(2))
                self.break_at(verb, at, code)
                error = self.assertRaises(OSError, self._write_all, writer)
                self.assertEqual(error.errno, code)
                for use in (writer.finish, writer.pause, lambda writer=writer: writer.write(b"more")):
                    self.assertRaises(ValueError, use)
                writer.abandon()
                self.assertEqual(self.files(), before, f"{verb} {at}")
        put(self.store, bytes(2 * PART + 1), key=key(2))

    def _write_all(self, writer: Any) -> None:
        writer.write(bytes(2 * PART + 1))
        writer.finish()

    def test_no_directory(self) -> None:
        """Where not even a directory can be made, nothing is begun, and nothing stays open."""
        self.store.read_id()
        before = count_open(self.root)
        for at in (1, 2, 2):
            self.break_at("mkdir", at)
            self.assertRaises(OSError, self.store.write, new_key())
            self.assertEqual(self.files(), [])
        self.assertEqual(count_open(self.root), before)

    def test_failed_abandon(self) -> None:
        """What could not be abandoned is closed all the same."""
        put(self.store, key=key(2))
        before = count_open(self.root)
        writer = self.store.write(key(1))
        self.break_at("unlink", 1, errno.EIO)
        self.assertRaises(OSError, writer.abandon)
        self.assertEqual(count_open(self.root), before)

    def test_failed_resume(self) -> None:
        """A writing that could not be resumed has lost nothing before the place, and leaves nothing open."""
        writer = self.store.write(key(1))
        writer.write(bytes(PART + 5))
        writer.pause()
        before = count_open(self.root)
        self.break_at("ftruncate", 1, errno.EIO)
        self.assertRaises(OSError, self.store.write, key(1), PART + 3)
        self.assertEqual(count_open(self.root), before)
        self.assertEqual(self.store.head(key(1)), PART + 5)

    def test_short_writes(self) -> None:
        """A disk that takes less than it is given is given the rest."""
        real = os.write
        self.patch(os, "write", lambda descriptor, data: real(descriptor, bytes(data[:3])))
        content = os.urandom(3 * PART + 1)
        writer = self.store.write(key(1))
        writer.write(content)
        self.assertEqual(writer.finish(), Written(len(content), digest(content)))
        self.assertEqual(get(self.store, key(1), len(content)), content)

    def test_removed_by_another(self) -> None:
        """Two may remove the same content."""
        put(self.store, bytes(2 * PART), key=key(1))
        real = os.unlink

        def twice(name: str, *args: Any, **kwargs: Any) -> None:
            real(name, *args, **kwargs)
            real(name, *args, **kwargs)

        self.patch(os, "unlink", twice)
        self.store.remove(key(1))
        self.assertEqual(self.files(), [])


class ThreadTests(DiskTestCase):
    """Many threads at once."""

    def test_same_directories(self) -> None:
        """Threads that make, fill and empty the same directories do not hinder each other."""
        threads = 8
        ready = Barrier(threads)

        def work(thread: int) -> int:
            for turn in range(30):
                ready.wait(60)
                mine = key(thread << 64 | turn)
                put(self.store, bytes(2 * PART), key=mine)
                self.assertEqual(get(self.store, mine, 2 * PART), bytes(2 * PART))
                if turn % 3:
                    self.store.remove(mine)
            return thread

        with ThreadPoolExecutor(threads) as pool:
            self.assertEqual(list(pool.map(work, range(threads))), list(range(threads)))
        self.assertEqual(len(self.files()), 2 * threads * 10)
        self.assertEqual(len(self.store.list_day(date(2026, 2, 3), None, 1000)), threads * 10)
