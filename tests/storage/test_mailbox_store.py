"""The mailbox store on a real disk (spec 06, *Files*)."""

import os
import stat
from collections.abc import Callable
from pathlib import Path
from time import time
from typing import Any

from twisted.python.filepath import FilePath
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from mensagod.storage.interfaces import IMailboxStore
from mensagod.storage.store import MailboxStore
from mensagod.values.identity import WorkspaceID
from mensagod.values.paths import FileName, ServerPath
from mensagod.wire.raw_data import ISource

WORKSPACE = WorkspaceID.from_text("11111111-1111-4111-8111-111111111111")
NEW = ServerPath.new_messages(WORKSPACE)
OUT = ServerPath.outgoing(WORKSPACE)


def name(size: int = 7) -> FileName:
    return FileName.make(1, size)


class StoreTestCase(SynchronousTestCase):
    """A store in an empty directory."""

    def setUp(self) -> None:
        self.root = Path(os.path.abspath(self.mktemp()))
        self.root.mkdir()
        self.store = MailboxStore(FilePath(str(self.root)))
        self.path = NEW.child(name())

    def on_disk(self, path: ServerPath) -> Path:
        return self.root.joinpath(*path.elements)

    def move(self, source: ServerPath, destination: ServerPath) -> None:
        """Move one file; raise what went wrong."""
        (fault,) = self.store.move([(source, destination)])
        if fault is not None:
            raise fault

    def files(self) -> list[Path]:
        return [path for path in self.root.rglob("*") if not path.is_dir()]


class ContentTests(StoreTestCase):
    """Files come, move and go."""

    def test_interfaces(self) -> None:
        """The store and its files are what the interfaces say."""
        verifyObject(IMailboxStore, self.store)
        self.store.write(self.path, b"content")
        stored = self.store.open(self.path)
        verifyObject(ISource, stored)
        stored.close()

    def test_write_and_read(self) -> None:
        """What was written is read, from any place, in pieces."""
        content = os.urandom(3_000_000)
        self.store.write(self.path, content)
        self.assertEqual(self.on_disk(self.path).read_bytes(), content)
        stored = self.store.open(self.path)
        self.assertEqual(stored.size, len(content))
        stored.seek(2_999_990)
        self.assertEqual(stored.read(100), content[-10:])
        self.assertEqual(stored.read(100), b"")
        stored.close()
        stored.close()
        self.assertEqual(self.store.read_head(self.path, 5), content[:5])

    def test_modes(self) -> None:
        """Nobody else can read: directories 0700, files 0600."""
        self.addCleanup(os.umask, os.umask(0))
        self.store.write(self.path, b"content")
        self.move(self.path, OUT.child(name()))
        for path in self.root.rglob("*"):
            expected = 0o700 if path.is_dir() else 0o600
            self.assertEqual(stat.S_IMODE(path.stat().st_mode), expected, str(path))

    def test_existing_file(self) -> None:
        """A file that is there is not touched."""
        self.store.write(self.path, b"content")
        with self.assertRaises(FileExistsError):
            self.store.write(self.path, b"other")
        self.assertEqual(self.on_disk(self.path).read_bytes(), b"content")

    def test_move(self) -> None:
        """A move makes the directory that it needs; a second time it is done already."""
        target = OUT.child(name())
        self.store.write(self.path, b"content")
        for _ in range(2):
            self.move(self.path, target)
            self.assertEqual(self.files(), [self.on_disk(target)])
        with self.assertRaises(FileNotFoundError):
            self.move(self.path, NEW.child(name()))
        with self.assertRaises(FileNotFoundError):
            self.move(ServerPath.temporary(WORKSPACE).child(name()), target)

    def test_move_many(self) -> None:
        """Of many each moves or has its own fault, in the order in which they were given."""
        sources = [NEW.child(name()) for _ in range(3)]
        targets = [OUT.child(name()) for _ in range(3)]
        for path in (sources[0], sources[2]):
            self.store.write(path, b"content")
        first, second, third = self.store.move(list(zip(sources, targets, strict=True)))
        self.assertIsNone(first)
        self.assertIsInstance(second, FileNotFoundError)
        self.assertIsNone(third)
        self.assertEqual(set(self.files()), {self.on_disk(targets[0]), self.on_disk(targets[2])})
        self.assertEqual(self.store.move([]), [])

    def test_remove(self) -> None:
        """What is removed is gone; what is not there may be removed; who has it open reads on."""
        self.store.write(self.path, b"content")
        stored = self.store.open(self.path)
        self.store.remove(self.path)
        self.store.remove(self.path)
        self.store.remove(OUT.child(name()))
        self.assertEqual(self.files(), [])
        self.assertEqual(stored.read(100), b"content")
        stored.close()
        with self.assertRaises(FileNotFoundError):
            self.store.open(self.path)

    def test_free_percent(self) -> None:
        """The share of free space is a percentage."""
        self.assertTrue(0 <= self.store.free_percent() <= 100)

    def test_no_descriptor_stays_open(self) -> None:
        """Neither success nor failure leaves anything open."""
        before = os.listdir("/proc/self/fd")
        self.store.write(self.path, b"content")
        self.store.read_head(self.path, 1)
        for refused in (
            lambda: self.store.write(self.path, b""),
            lambda: self.store.open(OUT.child(name())),
            lambda: self.move(NEW.child(name()), NEW.child(name())),
        ):
            with self.assertRaises(OSError):
                refused()
        self.assertEqual(len(os.listdir("/proc/self/fd")), len(before))


class OldFilesTests(StoreTestCase):
    """Files below ``out`` that were not written lately."""

    def put(self, path: ServerPath, age: float = 100) -> ServerPath:
        self.store.write(path, b"content")
        os.utime(self.on_disk(path), (time() - age, time() - age))
        return path

    def old(self, most: int = 100) -> list[list[ServerPath]]:
        return list(self.store.old_outgoing(50, most))

    def test_old(self) -> None:
        """Old ones are given, young ones and those of other areas are not."""
        self.assertEqual(self.old(), [])
        old = [self.put(OUT.child(name())) for _ in range(3)]
        old.append(self.put(ServerPath.outgoing(WorkspaceID.random()).child(name())))
        self.put(OUT.child(name()), age=10)
        self.put(NEW.child(name()))
        (found,) = self.old()
        self.assertEqual(set(found), set(old))

    def test_batches(self) -> None:
        """They come a few at a time, and nothing stays open, wherever one stops."""
        old = {self.put(OUT.child(name())) for _ in range(7)}
        before = len(os.listdir("/proc/self/fd"))
        found = self.old(3)
        self.assertEqual([len(paths) for paths in found], [3, 3, 1])
        self.assertEqual({path for paths in found for path in paths}, old)
        batches = self.store.old_outgoing(50, 3)
        self.assertEqual(len(next(batches)), 3)
        batches.close()
        self.assertEqual(len(os.listdir("/proc/self/fd")), before)

    def test_removed_meanwhile(self) -> None:
        """What is removed while it is looked for does no harm."""
        for _ in range(50):
            self.put(OUT.child(name()))
        for paths in self.store.old_outgoing(50, 5):
            for path in paths:
                self.store.remove(path)
        self.assertEqual(self.files(), [])

    def test_strangers(self) -> None:
        """Links are not followed, and what has no name of ours is passed over."""
        self.put(OUT.child(name()))
        outside = self.root.parent / f"{self.root.name}-outside"
        outside.mkdir()
        target = outside / name().text
        target.write_bytes(b"")
        os.utime(target, (1, 1))
        (self.root / "out" / str(WorkspaceID.random())).symlink_to(outside)
        self.on_disk(OUT.child(name())).symlink_to(outside / "missing")
        for stranger in ("README", "1.2.x", name().text.upper()):
            (self.on_disk(OUT) / stranger).write_bytes(b"")
        self.on_disk(OUT.child(name())).mkdir()
        (self.root / "out" / "README").write_bytes(b"")
        for path in self.root.rglob("*"):
            os.utime(path, (1, 1), follow_symlinks=False)
        (found,) = self.old()
        self.assertEqual(len(found), 1)


class LinkTests(StoreTestCase):
    """Symbolic links that somebody planted are refused."""

    def setUp(self) -> None:
        super().setUp()
        self.outside = self.root.parent / f"{self.root.name}-outside"
        self.outside.mkdir()

    def attempts(self, path: ServerPath) -> list[Callable[[], Any]]:
        other = OUT.child(name())
        self.store.write(other, b"other")
        return [
            lambda: self.store.write(path, b"content"),
            lambda: self.store.open(path),
            lambda: self.store.read_head(path, 1),
            lambda: self.move(path, ServerPath.temporary(WORKSPACE).child(name())),
            lambda: self.move(other, path),
            lambda: self.store.remove(path),
        ]

    def test_directory(self) -> None:
        """At no depth a directory may be a link."""
        for depth in range(1, 4):
            link = self.root.joinpath(*NEW.elements[:depth])
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(self.outside)
            secret = self.outside.joinpath(*NEW.elements[depth:], self.path.name)
            secret.parent.mkdir(parents=True, exist_ok=True)
            secret.write_bytes(b"secret")
            for attempt in self.attempts(self.path):
                with self.assertRaises(OSError):
                    attempt()
            self.assertEqual(secret.read_bytes(), b"secret")
            self.assertEqual([path for path in self.outside.rglob("*") if path.is_file()], [secret])
            link.unlink()
            secret.unlink()

    def test_file(self) -> None:
        """A link in the place of a file is neither read nor written through."""
        secret = self.outside / "secret"
        secret.write_bytes(b"secret")
        self.on_disk(NEW).mkdir(parents=True)
        self.on_disk(self.path).symlink_to(secret)
        for attempt in self.attempts(self.path)[:3]:
            with self.assertRaises(OSError):
                attempt()
        # Dangling, it is not written through either.
        secret.unlink()
        with self.assertRaises(FileExistsError):
            self.store.write(self.path, b"content")
        self.assertFalse(secret.exists())
        secret.write_bytes(b"secret")
        # What is removed or moved is the link.
        self.store.remove(self.path)
        self.assertEqual(secret.read_bytes(), b"secret")


class DurabilityTests(StoreTestCase):
    """What is promised is on the disk before the promise."""

    def record(self) -> list[str]:
        """Note from now on, in order, what is done to files and directories."""
        done: list[str] = []

        def noting(verb: str, what: Callable[..., str]) -> Callable[..., Any]:
            real = getattr(os, verb)

            def noted(*args: Any, **kwargs: Any) -> Any:
                result = real(*args, **kwargs)
                done.append(f"{verb} {what(*args)}")
                return result

            return noted

        def at(descriptor: int, *_: object) -> str:
            path = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
            relative = str(path.relative_to(self.root))
            return relative.replace(str(WORKSPACE), "WID")

        for verb, what in (
            ("fsync", at),
            ("write", at),
            ("mkdir", lambda made, *_: made.replace(str(WORKSPACE), "WID")),
            ("rename", lambda *_: ""),
            ("unlink", lambda *_: ""),
        ):
            self.patch(os, verb, noting(verb, what))
        return done

    def test_write(self) -> None:
        """New directories reach their parents, then the content the file, then the name the directory."""
        done = self.record()
        self.store.write(self.path, b"content")
        file = f"wsp/WID/new/{self.path.name}"
        self.assertEqual(
            done,
            [
                *("mkdir wsp", "fsync .", "mkdir WID", "fsync wsp", "mkdir new", "fsync wsp/WID"),
                *(f"write {file}", f"fsync {file}", "fsync wsp/WID/new"),
            ],
        )

    def test_found_before_durable(self) -> None:
        """Who finds a directory that another thread is just making makes its name durable, too."""
        real, done = os.fsync, self.record()
        noted = os.fsync

        def cut_in(descriptor: int) -> None:
            # The first to sync is held up, and meanwhile another writes its file.
            self.patch(os, "fsync", noted)
            self.store.write(NEW.child(name()), b"content")
            real(descriptor)

        self.patch(os, "fsync", cut_in)
        self.store.write(self.path, b"content")
        self.assertLess(done.index("fsync ."), done.index("mkdir WID"))
        self.assertEqual(done[:2], ["mkdir wsp", "fsync ."])
        done.clear()
        self.store.write(NEW.child(name()), b"content")
        self.assertEqual(len([line for line in done if line.startswith("fsync")]), 2)

    def test_failed_directory(self) -> None:
        """A directory whose name could not be made durable is synced by the next who needs it."""
        self.break_at("fsync", 1)
        with self.assertRaises(OSError):
            self.store.write(self.path, b"content")
        done = self.record()
        self.store.write(self.path, b"content")
        self.assertEqual(done[0], "fsync .")

    def test_move(self) -> None:
        """The new name is durable before the old one is durably gone."""
        self.store.write(self.path, b"content")
        self.store.write(OUT.child(name()), b"content")
        done = self.record()
        self.move(self.path, OUT.child(name()))
        self.assertEqual(done, ["rename ", "fsync out/WID", "fsync wsp/WID/new"])

    def test_move_many(self) -> None:
        """Many files wait for the disk once for each directory, all new names before all old ones."""
        sources = [NEW.child(name()), ServerPath.settings(WORKSPACE).child(name()), NEW.child(name())]
        for path in sources:
            self.store.write(path, b"content")
        self.store.write(OUT.child(name()), b"content")
        done = self.record()
        self.assertEqual(self.store.move([(path, OUT.child(name())) for path in sources]), [None] * 3)
        self.assertEqual(done[:4], ["rename "] * 3 + ["fsync out/WID"])
        self.assertEqual(sorted(done[4:]), ["fsync wsp/WID/new", "fsync wsp/WID/settings"])

    def test_move_that_is_not_synced(self) -> None:
        """A move is at fault if the disk does not keep it, and others are not."""
        sources = [NEW.child(name()) for _ in range(2)]
        targets = [OUT.child(name()), ServerPath.settings(WORKSPACE).child(name())]
        for path in (*sources, OUT.child(name()), ServerPath.settings(WORKSPACE).child(name())):
            self.store.write(path, b"content")
        self.break_at("fsync", 1)
        faults = self.store.move(list(zip(sources, targets, strict=True)))
        self.assertEqual(sorted(map(bool, faults)), [False, True])

    def test_remove(self) -> None:
        """What was removed stays so."""
        self.store.write(self.path, b"content")
        done = self.record()
        self.store.remove(self.path)
        self.assertEqual(done, ["unlink ", "fsync wsp/WID/new"])

    def break_at(self, verb: str, at: int) -> None:
        """Have a function of ``os`` fail at its ``at``-th call."""
        real, calls = getattr(os, verb), []

        def failing(*args: Any, **kwargs: Any) -> Any:
            calls.append(verb)
            if len(calls) == at:
                raise OSError(28, "No space left on device")
            return real(*args, **kwargs)

        self.patch(os, verb, failing)

    def test_write_that_fails(self) -> None:
        """Whatever fails, at whatever point, no file stays."""
        self.store.write(NEW.child(name()), b"")
        before = self.files()
        content = bytes(3_000_000)
        for verb, at in (("write", 1), ("write", 3), ("fsync", 1), ("fsync", 2)):
            self.break_at(verb, at)
            with self.assertRaises(OSError):
                self.store.write(self.path, content)
            self.assertEqual(self.files(), before, f"{verb} {at}")
        self.store.write(self.path, content)

    def test_short_writes(self) -> None:
        """A disk that takes less than it is given is given the rest."""
        real = os.write
        self.patch(os, "write", lambda descriptor, data: real(descriptor, bytes(data[:1000])))
        content = os.urandom(10_500)
        self.store.write(self.path, content)
        self.assertEqual(self.on_disk(self.path).read_bytes(), content)
