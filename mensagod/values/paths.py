"""Server paths and the file names in them (spec 02, *Server paths*)."""

import re
import uuid
from typing import Final, Self

from attrs import field, frozen

from mensagod.errors import BadValue
from mensagod.values.identity import RandomID, WorkspaceID, is_random_id
from mensagod.values.times import MAX_LONG, parse_long, parse_unix_time

AREAS: Final = frozenset({"wsp", "out", "tmp", "keys"})
NEW: Final = "new"
SETTINGS: Final = "settings"
MAX_LENGTH: Final = 512

_NAMED: Final = frozenset({NEW, SETTINGS})
_FILE_NAME = re.compile(r"([0-9]{1,32})\.([0-9]{1,32})\.([0-9a-f-]{36})")


@frozen
class FileName:
    """The name of a file: ``TIME.SIZE.UUID`` (spec 02, *Server paths*).

    :ivar time: Unix seconds, a Long.
    :ivar size: bytes, a Long.
    :ivar text: the name in lower case. Leading zeros are kept: names that differ in them are different.
    """

    time: int
    size: int
    id: uuid.UUID
    text: str

    @classmethod
    def from_text(cls, text: str) -> Self:
        """Parse a name; raise :class:`.BadValue` if it is malformed, or a number in it is not a Long."""
        match = _FILE_NAME.fullmatch(text.lower()) if text.isascii() else None
        if match is None:
            raise BadValue("a file name is TIME.SIZE.UUID")
        file_id = RandomID.from_text(match[3]).uuid
        return cls(parse_unix_time(match[1]), parse_long(match[2]), file_id, match[0])

    @classmethod
    def make(cls, time: int, size: int) -> Self:
        """Make the name of a file that is created at ``time`` with ``size`` bytes, with a random UUID.

        :raises BadValue: if ``time`` or ``size`` is not a Long.
        """
        if not (0 <= time <= MAX_LONG and 0 <= size <= MAX_LONG):
            raise BadValue("time and size of a file name are Longs")
        made = uuid.uuid4()
        return cls(time, size, made, f"{time}.{size}.{made}")

    def __str__(self) -> str:
        return self.text


@frozen
class ServerPath:
    """A directory or a file below ``/``, in lower case (spec 02, *Server paths*).

    Only the grammar is checked. It allows some paths that can never exist, such as ``/ wsp new`` or a file
    directly in an area. Rights and existence are checked elsewhere.

    :ivar elements: the elements after the slash; empty for ``/``.
    :ivar file: the last element, if it is a file's name.
    """

    elements: tuple[str, ...]
    file: FileName | None = field(eq=False, repr=False)

    @classmethod
    def from_text(cls, text: str) -> Self:
        """Parse a path; raise :class:`.BadValue` if the grammar does not allow it."""
        # Checked before lower(), because some letters outside ASCII have lower case letters in ASCII.
        if len(text) > MAX_LENGTH or not text.isascii():
            raise BadValue("a path has at most 512 characters, all of them ASCII")
        root, *elements = text.lower().split(" ")
        if root != "/":
            raise BadValue("a path begins with a slash and a blank")
        return cls(tuple(elements), _check(elements))

    @classmethod
    def workspace_root(cls, workspace: WorkspaceID) -> Self:
        """Give the top directory of a workspace."""
        return cls(("wsp", str(workspace)), None)

    @classmethod
    def new_messages(cls, workspace: WorkspaceID) -> Self:
        """Give the directory that delivered messages go to."""
        return cls(("wsp", str(workspace), NEW), None)

    @classmethod
    def settings(cls, workspace: WorkspaceID) -> Self:
        """Give the directory of a workspace's settings."""
        return cls(("wsp", str(workspace), SETTINGS), None)

    @classmethod
    def outgoing(cls, workspace: WorkspaceID) -> Self:
        """Give the directory of a workspace's messages that wait for delivery."""
        return cls(("out", str(workspace)), None)

    @classmethod
    def temporary(cls, workspace: WorkspaceID) -> Self:
        """Give the directory of a workspace's uploads in progress."""
        return cls(("tmp", str(workspace)), None)

    @classmethod
    def keys(cls, workspace: WorkspaceID) -> Self:
        """Give the directory of key packages for a workspace's new devices."""
        return cls(("keys", str(workspace)), None)

    @property
    def is_file(self) -> bool:
        """Whether the path names a file; else it names a directory."""
        return self.file is not None

    @property
    def depth(self) -> int:
        """The number of elements: 0 for ``/``."""
        return len(self.elements)

    @property
    def name(self) -> str:
        """The last element; empty for ``/``."""
        return self.elements[-1] if self.elements else ""

    @property
    def area(self) -> str | None:
        """``wsp``, ``out``, ``tmp`` or ``keys``; none for ``/``."""
        return self.elements[0] if self.elements else None

    @property
    def workspace(self) -> WorkspaceID | None:
        """The workspace of the path, if it has one."""
        if self.depth < 2 or not is_random_id(self.elements[1]):
            return None
        return WorkspaceID.from_text(self.elements[1])

    @property
    def directory(self) -> "ServerPath":
        """The directory of a file; for a directory, the directory itself."""
        return ServerPath(self.elements[:-1], None) if self.is_file else self

    @property
    def parent(self) -> "ServerPath | None":
        """The directory that contains this one or this file; none for ``/``."""
        return ServerPath(self.elements[:-1], None) if self.elements else None

    def child(self, name: object) -> "ServerPath":
        """Give the path of a directory or file in this directory.

        :param name: an object whose ``str`` is a single element.
        :raises BadValue: if the result is not a path, or ``name`` is more than one element.
        """
        text = f"{self} {name}"
        if isinstance(name, FileName) and self.elements and not self.is_file and len(text) <= MAX_LENGTH:
            # Everything has been checked already.
            return ServerPath((*self.elements, name.text), name)
        path = ServerPath.from_text(text)
        if path.depth != self.depth + 1:
            raise BadValue("the name of a child is a single element")
        return path

    def __str__(self) -> str:
        return " ".join(("/", *self.elements))


def _check(elements: list[str]) -> FileName | None:
    """Check the elements after the slash, and give the file name if the last one is one."""
    if not elements:
        return None
    area, *rest = elements
    if area not in AREAS:
        raise BadValue("a path leads into one of wsp, out, tmp and keys")
    file = FileName.from_text(rest.pop()) if rest and "." in rest[-1] else None
    if rest and rest[-1] in _NAMED:
        rest.pop()
    if not all(map(is_random_id, rest)):
        raise BadValue("the directories of a path are UUIDs, the last may be new or settings")
    return file
