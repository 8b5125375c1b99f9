"""IDs, domains and addresses as parsed values (spec 02)."""

import re
import uuid
from typing import Final, Self

from attrs import frozen

from mensagod.errors import BadValue
from mensagod.values import user_ids

_RANDOM_ID = re.compile(r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")
_DOMAIN = re.compile(r"[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63})*")
_MAX_DOMAIN: Final = 253

RESERVED_NAMES: Final = frozenset({"admin", "abuse", "support"})
"""User IDs that belong to the operator (spec 02, *User IDs*)."""


def is_random_id(text: str) -> bool:
    """Tell whether ``text`` has the form of a RandomID, in either case (spec 02)."""
    return _RANDOM_ID.fullmatch(text) is not None


@frozen(order=True)
class RandomID:
    """A UUID as the protocol writes it: 8-4-4-4-12 hex digits, lower case (spec 02)."""

    uuid: uuid.UUID

    @classmethod
    def from_text(cls, text: str) -> Self:
        """Parse the text of a UUID, in either case.

        :raises BadValue: for anything else, including the other forms that :class:`uuid.UUID` accepts.
        """
        if _RANDOM_ID.fullmatch(text) is None:
            raise BadValue("a RandomID is 8-4-4-4-12 hexadecimal digits")
        return cls(uuid.UUID(text))

    @classmethod
    def random(cls) -> Self:
        """Make a new ID from the system's randomness."""
        return cls(uuid.uuid4())

    def __str__(self) -> str:
        return str(self.uuid)


@frozen(order=True)
class WorkspaceID(RandomID):
    """The ID of a workspace."""


@frozen(order=True)
class DeviceID(RandomID):
    """The ID of a device."""


ZERO: Final = uuid.UUID(int=0)
SERVER_WORKSPACE: Final = WorkspaceID(ZERO)
"""The workspace ID of the server itself, as the sender of its messages (spec 02, *Server paths*)."""
SERVER_DEVICE: Final = DeviceID(ZERO)
"""The device ID of the server itself, in the records of its changes (spec 02, *Server paths*)."""


@frozen
class UserID:
    """A name of a workspace, in normal form (spec 02, *User IDs*).

    Any user ID can be looked up. :meth:`check_grantable` checks whether a user may have it.
    """

    text: str

    @classmethod
    def from_text(cls, text: str) -> Self:
        """Convert ``text`` to normal form; raise :class:`.BadValue` if the result is not a user ID."""
        return cls(user_ids.normal_form(text))

    def check_grantable(self) -> None:
        """Refuse a name that no user may have.

        :raises BadValue: if the name has the form of a RandomID, is a form of one of the operator's names,
            has invisible characters, begins with a mark, or mixes scripts that may not be mixed.
        """
        if self.workspace is not None:
            raise BadValue("a user ID must not have the form of a workspace ID")
        if user_ids.skeleton(self.text) in RESERVED_NAMES:
            raise BadValue("this user ID belongs to the operator")
        if not user_ids.is_all_visible(self.text):
            raise BadValue("a user ID must not have invisible characters, or begin with a mark")
        if not user_ids.is_single_script(self.text):
            raise BadValue("a user ID must not mix scripts")

    @property
    def workspace(self) -> WorkspaceID | None:
        """The workspace ID, if the name has the form of one; a lookup then means that workspace."""
        return WorkspaceID.from_text(self.text) if is_random_id(self.text) else None

    def __str__(self) -> str:
        return self.text


@frozen
class Domain:
    """A domain name in lower case; one label is enough (spec 02)."""

    text: str

    @classmethod
    def from_text(cls, text: str) -> Self:
        """Parse a domain; raise :class:`.BadValue` for an empty or too long label, or a wrong character."""
        if len(text) > _MAX_DOMAIN or _DOMAIN.fullmatch(text) is None:
            raise BadValue("a domain is labels of letters, digits and dashes, joined by dots")
        return cls(text.lower())

    def __str__(self) -> str:
        return self.text


@frozen
class MAddress:
    """A user ID or a workspace ID, and a domain: ``csimons/example.com`` (spec 02)."""

    id: UserID | WorkspaceID
    domain: Domain

    @classmethod
    def from_text(cls, text: str) -> Self:
        """Parse an address; an ID with the form of a RandomID is a workspace's.

        :raises BadValue: if there is not exactly one slash, or a part is malformed.
        """
        name, domain = _split(text)
        user = WorkspaceID.from_text(name) if is_random_id(name) else UserID.from_text(name)
        return cls(user, Domain.from_text(domain))

    def __str__(self) -> str:
        return f"{self.id}/{self.domain}"


@frozen
class WAddress:
    """A workspace ID and a domain (spec 02)."""

    id: WorkspaceID
    domain: Domain

    @classmethod
    def from_text(cls, text: str) -> Self:
        """Parse an address; raise :class:`.BadValue` unless it is ``RandomID/Domain``."""
        workspace, domain = _split(text)
        return cls(WorkspaceID.from_text(workspace), Domain.from_text(domain))

    def __str__(self) -> str:
        return f"{self.id}/{self.domain}"


def _split(text: str) -> tuple[str, str]:
    name, slash, domain = text.partition("/")
    if not slash:
        raise BadValue("an address is an ID, a slash and a domain")
    return name, domain
