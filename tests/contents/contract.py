"""What every content store promises (:class:`mensagod.contents.interfaces.IContentStore`).

A test module takes this module in, not the classes, which are no tests by themselves.
"""

import hashlib
import os
from datetime import date, timedelta
from typing import TypeAlias
from uuid import UUID, uuid4

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from mensagod.contents.interfaces import (
    IContentStore,
    IContentWriter,
    IStoredContent,
    Written,
    WrongStore,
)
from mensagod.contents.keys import ContentKey

PART = 10
"""Bytes of a part in these tests."""

DAY = date(2026, 2, 3)

# Each store has its own class, which runs the same test.
quick = settings(deadline=None, suppress_health_check=[HealthCheck.differing_executors])

Pieces: TypeAlias = list[bytes]

PIECES: st.SearchStrategy[Pieces] = st.lists(st.binary(max_size=3 * PART), max_size=6)


def new_key(day: date = DAY) -> ContentKey:
    return ContentKey(day, uuid4())


def put(store: IContentStore, *pieces: bytes, key: ContentKey | None = None) -> ContentKey:
    """Store a content."""
    key = key or new_key()
    writer = store.write(key)
    for piece in pieces:
        writer.write(piece)
    writer.finish()
    return key


def get(store: IContentStore, key: ContentKey, size: int) -> bytes:
    """Read a content, and one byte more, which is not there."""
    stored = store.open(key, size)
    try:
        return bytes(stored.read(size + 1))
    finally:
        stored.close()


def digest(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=32).digest()


class StoreContract(SynchronousTestCase):
    """A store that is empty, and has no ID.

    :ivar store: its parts have ``PART`` bytes, if it has parts.
    """

    store: IContentStore

    def make_store(self) -> IContentStore:
        """Make an empty one."""
        raise NotImplementedError

    def setUp(self) -> None:
        self.store = self.make_store()

    def assert_empty(self) -> None:
        """Check that nothing is stored."""
        found = [self.store.list_day(day, None, 100) for day in self.store.list_days()]
        self.assertEqual([list(contents) for contents in found if contents], [])


class ContentContract(StoreContract):
    """Contents are written, read and removed."""

    def test_interfaces(self) -> None:
        """The store, its writers and its contents are what the interfaces say."""
        verifyObject(IContentStore, self.store)
        key = new_key()
        writer = self.store.write(key)
        verifyObject(IContentWriter, writer)
        writer.write(b"content")
        writer.finish()
        stored = self.store.open(key, 7)
        verifyObject(IStoredContent, stored)
        self.assertEqual(stored.size, 7)
        stored.close()
        stored.close()

    def test_sizes(self) -> None:
        """Contents of all sizes around that of a part come back; size and hash are those of the bytes."""
        for size in (0, 1, PART - 1, PART, PART + 1, 2 * PART, 5 * PART + 3):
            content, key = os.urandom(size), new_key()
            writer = self.store.write(key)
            writer.write(content)
            self.assertEqual(writer.finish(), Written(size, digest(content)))
            self.assertEqual(get(self.store, key, size), content)
            self.assertEqual(self.store.head(key), size)

    def test_missing(self) -> None:
        """What is not there is not there."""
        key = new_key()
        self.assertRaises(FileNotFoundError, self.store.open, key, 0)
        self.assertIsNone(self.store.head(key))
        self.store.remove(key)
        put(self.store, key=ContentKey(DAY, UUID(int=key.id.int ^ 1)))
        self.assertRaises(FileNotFoundError, self.store.open, key, 0)
        self.assertIsNone(self.store.head(key))
        self.store.remove(key)

    def test_other_size(self) -> None:
        """A content of another size than expected is not the one that is looked for."""
        key = put(self.store, bytes(2 * PART + 5))
        for size in (0, PART - 1, 2 * PART + 4, 2 * PART + 6, 3 * PART, 4 * PART):
            self.assertRaises(FileNotFoundError, self.store.open, key, size)

    def test_key_in_use(self) -> None:
        """A key is used once, also while its content is being written."""
        key = new_key()
        writer = self.store.write(key)
        self.assertRaises(FileExistsError, self.store.write, key)
        writer.write(b"content")
        writer.finish()
        self.assertRaises(FileExistsError, self.store.write, key)
        self.assertEqual(get(self.store, key, 7), b"content")

    def test_read(self) -> None:
        """A content is read in pieces, from any place; beyond its end there is nothing."""
        content = os.urandom(4 * PART + 2)
        stored = self.store.open(put(self.store, content), len(content))
        self.addCleanup(stored.close)
        self.assertEqual(stored.read(PART + 3), content[: PART + 3])
        self.assertEqual(stored.read(0), b"")
        self.assertEqual(stored.read(PART), content[PART + 3 : 2 * PART + 3])
        stored.seek(len(content) - 4)
        self.assertEqual(stored.read(100), content[-4:])
        self.assertEqual(stored.read(100), b"")
        self.assertEqual(stored.read_ready(100), b"")
        stored.seek(len(content) + 5)
        self.assertEqual(stored.read(1), b"")
        stored.seek(0)
        self.assertEqual(stored.read(100), content)

    def test_read_ready(self) -> None:
        """What is there without waiting is the next bytes, or nothing."""
        content = os.urandom(4 * PART + 2)
        stored = self.store.open(put(self.store, content), len(content))
        self.addCleanup(stored.close)
        found = b""
        while len(found) < len(content):
            piece = stored.read_ready(7) or stored.read(1)
            self.assertIn(len(piece), range(1, 8))
            found += piece
        self.assertEqual(found, content)

    def test_remove(self) -> None:
        """What is removed is gone, and others are not; who has it open reads on."""
        content = os.urandom(3 * PART)
        key, other = put(self.store, content), put(self.store, b"other")
        stored = self.store.open(key, len(content))
        self.store.remove(key)
        self.assertRaises(FileNotFoundError, self.store.open, key, len(content))
        self.assertIsNone(self.store.head(key))
        self.assertEqual(stored.read(100), content)
        stored.close()
        self.assertEqual(get(self.store, other, 5), b"other")
        self.store.remove(key)
        put(self.store, b"again", key=key)
        self.assertEqual(get(self.store, key, 5), b"again")

    def test_abandon(self) -> None:
        """What is abandoned was never there; after the end of a writer it does nothing."""
        for pieces in ([], [b"content"], [bytes(PART)], [bytes(3 * PART), b"content"]):
            key = new_key()
            writer = self.store.write(key)
            for piece in pieces:
                writer.write(piece)
            writer.abandon()
            writer.abandon()
            self.assertIsNone(self.store.head(key))
            self.assert_empty()
        finished, paused = new_key(), new_key()
        for key in (finished, paused):
            writer = self.store.write(key)
            writer.write(b"content")
            writer.finish() if key is finished else writer.pause()
            writer.abandon()
            self.assertEqual(self.store.head(key), 7)

    def test_ended(self) -> None:
        """A writer that has ended writes no more."""
        for end in ("finish", "pause", "abandon"):
            writer = self.store.write(new_key())
            writer.write(b"content")
            getattr(writer, end)()
            self.assertRaises(ValueError, writer.write, b"more")
            self.assertRaises(ValueError, writer.finish)

    def test_free_percent(self) -> None:
        """The share of free space is a percentage."""
        self.assertTrue(0 <= self.store.free_percent() <= 100)

    @given(pieces=PIECES, reads=st.lists(st.integers(1, 3 * PART), min_size=1))
    @quick
    def test_any_pieces(self, pieces: Pieces, reads: list[int]) -> None:
        """However a content is cut for writing and for reading, it is the same."""
        whole, key = b"".join(pieces), put(self.store, *pieces)
        stored = self.store.open(key, len(whole))
        try:
            found = b"".join(stored.read(size) for size in reads)
        finally:
            stored.close()
        self.assertEqual(found, whole[: sum(reads)])
        self.assertEqual(get(self.store, key, len(whole)), whole)

    @given(content=st.binary(max_size=5 * PART), seeks=st.lists(st.integers(0, 6 * PART), max_size=5))
    @quick
    def test_any_place(self, content: bytes, seeks: list[int]) -> None:
        """Reading goes on at any place."""
        stored = self.store.open(put(self.store, content), len(content))
        try:
            for offset in seeks:
                stored.seek(offset)
                self.assertEqual(stored.read(PART + 1), content[offset : offset + PART + 1])
        finally:
            stored.close()


class ResumeContract(StoreContract):
    """Writing that was paused goes on."""

    def pause(self, key: ContentKey, content: bytes) -> int:
        """Write the beginning of a content."""
        writer = self.store.write(key)
        writer.write(content)
        size: int = writer.pause()
        return size

    def test_resume(self) -> None:
        """It goes on where it was paused, at whatever place; its hash is not known."""
        content = os.urandom(4 * PART)
        for size in (1, PART - 1, PART, PART + 1, 3 * PART, 4 * PART):
            key = new_key()
            self.assertEqual(self.pause(key, content[:size]), size)
            self.assertEqual(self.store.head(key), size)
            writer = self.store.write(key, size)
            writer.write(content[size:])
            self.assertEqual(writer.finish(), Written(len(content), None))
            self.assertEqual(get(self.store, key, len(content)), content)

    def test_cut_off(self) -> None:
        """Bytes after the place are cut off, also those of whole parts."""
        for offset in (1, PART, PART + 4, 2 * PART, 4 * PART):
            key = new_key()
            self.pause(key, bytes(4 * PART + 1))
            writer = self.store.write(key, offset)
            writer.write(b"end")
            writer.finish()
            self.assertEqual(self.store.head(key), offset + 3)
            self.assertEqual(get(self.store, key, offset + 3), bytes(offset) + b"end")

    def test_nothing_yet(self) -> None:
        """A pause before the first byte leaves nothing: one begins anew."""
        key = new_key()
        self.assertEqual(self.pause(key, b""), 0)
        self.assertIsNone(self.store.head(key))
        put(self.store, b"content", key=key)
        self.assertEqual(get(self.store, key, 7), b"content")

    def test_too_far(self) -> None:
        """Nobody can resume behind the end, and what is there stays."""
        key = new_key()
        self.assertRaises(ValueError, self.store.write, key, 1)
        self.pause(key, bytes(PART + 1))
        for offset in (PART + 2, 2 * PART, 9 * PART):
            self.assertRaises(ValueError, self.store.write, key, offset)
        self.assertEqual(self.store.head(key), PART + 1)
        other = ContentKey(DAY, UUID(int=key.id.int ^ 1))
        self.assertRaises(ValueError, self.store.write, other, 1)

    def test_not_anew(self) -> None:
        """What was paused is not begun anew under the same key."""
        key = new_key()
        self.pause(key, b"content")
        self.assertRaises(FileExistsError, self.store.write, key)

    def test_abandon(self) -> None:
        """What is abandoned later goes with all that was there before."""
        key = new_key()
        self.pause(key, bytes(3 * PART + 1))
        writer = self.store.write(key, 2 * PART + 1)
        writer.write(b"more")
        writer.abandon()
        self.assertIsNone(self.store.head(key))
        self.assert_empty()

    @given(st.lists(st.tuples(st.binary(max_size=2 * PART), st.integers(0, 30)), min_size=1, max_size=5))
    @quick
    def test_any_place(self, steps: list[tuple[bytes, int]]) -> None:
        """However often it is paused, and however far one goes back, the content is what was written last."""
        key, whole = new_key(), b""
        for data, back in steps:
            offset = max(0, len(whole) - back)
            if not offset:
                self.store.remove(key)
            writer = self.store.write(key, offset)
            writer.write(data)
            whole = whole[:offset] + data
            self.assertEqual(writer.pause(), len(whole))
        self.assertEqual(self.store.head(key), len(whole) or None)
        if whole:
            self.assertEqual(get(self.store, key, len(whole)), whole)


class ListContract(StoreContract):
    """What is stored can be listed."""

    def test_days(self) -> None:
        """The days come in their order."""
        self.assertEqual(list(self.store.list_days()), [])
        days = [DAY + timedelta(days=number) for number in (40, 0, 400, 1, -9000)]
        keys = [put(self.store, b"content", key=new_key(day)) for day in days]
        self.assertEqual(list(self.store.list_days()), sorted(days))
        for key in keys:
            self.assertEqual(list(self.store.list_day(key.day, None, 10)), [key.id])
        self.assertEqual(list(self.store.list_day(date(2000, 1, 1), None, 10)), [])

    def test_day(self) -> None:
        """The contents of a day come in the order of their keys, some at a time."""
        keys = sorted(put(self.store, bytes(size)).id for size in range(0, 60, 2))
        found: list[UUID] = []
        while some := self.store.list_day(DAY, found[-1] if found else None, 7):
            self.assertLessEqual(len(some), 7)
            found += some
        self.assertEqual(found, keys)
        self.assertEqual(list(self.store.list_day(DAY, None, 100)), keys)

    def test_neighbours(self) -> None:
        """Keys that differ only at their end are in order, too."""
        keys = [ContentKey(DAY, UUID(int=0x1234 << 112 | number)) for number in range(5)]
        for key in reversed(keys):
            put(self.store, b"", key=key)
        self.assertEqual(list(self.store.list_day(DAY, keys[1].id, 2)), [keys[2].id, keys[3].id])

    def test_writing(self) -> None:
        """What is being written, or was paused, is listed: somebody may have died over it."""
        key = new_key()
        self.store.write(key).write(b"content")
        self.assertEqual(list(self.store.list_day(DAY, None, 10)), [key.id])


class IDContract(StoreContract):
    """A store has an ID."""

    def test_proposed(self) -> None:
        """A proposed ID becomes the store's when it is required."""
        self.assertIsNone(self.store.read_id())
        first, second = uuid4(), uuid4()
        for store in (first, second):
            self.store.propose_id(store)
            self.assertIsNone(self.store.read_id())
        self.assertRaises(WrongStore, self.store.require_id, first)
        for _ in range(2):
            self.store.require_id(second)
            self.assertEqual(self.store.read_id(), second)
        self.assertRaises(FileExistsError, self.store.propose_id, first)
        put(self.store, b"content")

    def test_wrong(self) -> None:
        """A store with another ID, or without one, is refused, and does not get one."""
        wanted = uuid4()
        error = self.assertRaises(WrongStore, self.store.require_id, wanted)
        self.assertIn(str(wanted), str(error))
        self.assertIsNone(self.store.read_id())
        found = uuid4()
        self.store.propose_id(found)
        self.store.require_id(found)
        error = self.assertRaises(WrongStore, self.store.require_id, wanted)
        for store in (wanted, found):
            self.assertIn(str(store), str(error))
        self.assertEqual(self.store.read_id(), found)
