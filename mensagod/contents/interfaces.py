"""The interface of content stores (spec 06, *Files*).

It has nothing that an object store cannot do: contents are written by whole parts, and neither renamed nor
changed afterwards. Every method blocks: call it in a thread. When a method returns, its changes are durable.
"""

from collections.abc import Sequence
from datetime import date
from typing import Final
from uuid import UUID

from attrs import frozen
from zope.interface import Attribute, Interface

from mensagod.contents.keys import ContentKey
from mensagod.wire.raw_data import ISource

PART_SIZE: Final = 8 * 1024 * 1024
"""Bytes of each part of a content, except the last."""


class WrongStore(OSError):
    """The store is not the one that belongs to the database. The text says what to do.

    An ``OSError``, because to those who are at work it is a disk that fails.
    """


@frozen
class Written:
    """A content that is whole in the store.

    :ivar size: in bytes.
    :ivar hash: its BLAKE2b-256, 32 bytes; ``None`` if its writing was resumed.
    """

    size: int
    hash: bytes | None


class IStoredContent(ISource):
    """A content that is open for reading; it can be read to its end even after it was removed."""

    size: int = Attribute("In bytes.")

    def seek(offset: int) -> None:
        """Continue reading at ``offset``."""


class IContentWriter(Interface):
    """Writes one content, piece by piece."""

    def write(data: bytes) -> None:
        """Add bytes. Each part is durable as soon as it is whole.

        :raises OSError: if the disk is full or broken; only :meth:`abandon` is possible then.
        """

    def finish() -> Written:
        """Make the last part durable; the content is whole then.

        :raises OSError: as in :meth:`write`.
        """

    def pause() -> int:
        """Make the bytes so far durable, so that writing can be resumed; give their number.

        Nothing is stored if there are none.

        :raises OSError: as in :meth:`write`.
        """

    def abandon() -> None:
        """Remove what was written, also before it was resumed. Does nothing after the writer has ended.

        A writer ends with :meth:`finish`, :meth:`pause` or this, if they succeed.
        """


class IContentStore(Interface):
    """Stores contents by their keys."""

    place: str = Attribute("Where the store is, for the operator.")

    def write(key: ContentKey, offset: int = 0) -> IContentWriter:
        """Begin a content, or resume one that was paused.

        :param offset: where to resume, at most the number of bytes there; those after it are cut off.
        :raises ValueError: if fewer bytes are there.
        :raises FileExistsError: if ``offset`` is 0 and the key is in use.
        :raises OSError: if the disk is full or broken.
        """

    def open(key: ContentKey, size: int) -> IStoredContent:
        """Open a content for reading.

        :param size: its size in bytes, as the database knows it.
        :raises FileNotFoundError: if there is none, or a part of it is missing or has another size.
        """

    def head(key: ContentKey) -> int | None:
        """Give the number of bytes that are stored under a key; ``None`` if there are none."""

    def remove(key: ContentKey) -> None:
        """Remove a content, if it exists."""

    def list_days() -> Sequence[date]:
        """Give the days that have contents, in order."""

    def list_day(day: date, after: UUID | None, most: int) -> Sequence[UUID]:
        """Give the first ``most`` contents of a day, in the order of their keys, after one of them."""

    def free_percent() -> float:
        """Give the free space in percent."""

    def read_id() -> UUID | None:
        """Give the ID of the store; ``None`` if it has none.

        :raises WrongStore: if it cannot be understood.
        """

    def propose_id(store: UUID) -> None:
        """Note the ID that a store without one is going to have; it replaces an earlier proposal.

        The store has it as soon as it is required (:meth:`require_id`). Between these two the database learns
        of it, so that a crash at any moment leaves a store that can be used.

        :raises FileExistsError: if the store has an ID.
        """

    def require_id(store: UUID) -> None:
        """Check that the store has this ID, and work with no other from now on.

        :raises WrongStore: if it has another ID, or none that was proposed.
        """
