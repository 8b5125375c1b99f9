"""Keycard entries: parsing, checking each line, and keeping the text that is signed (spec 03, *Keycards*)."""

from collections.abc import Mapping
from datetime import date, datetime
from types import MappingProxyType
from typing import ClassVar, Final, Self, TypeVar

from attrs import field, frozen

from mensagod.crypto.cryptostring import CryptoString
from mensagod.errors import BadValue
from mensagod.keycards import fields
from mensagod.keycards.errors import BadKeycardData, NoncompliantKeycard
from mensagod.keycards.fields import Schema
from mensagod.values.identity import Domain, UserID, WAddress, WorkspaceID

MAX_ENTRY: Final = 8192
"""Bytes of an entry (spec 03)."""
MAX_VALUE: Final = 6144
"""Bytes of one value (spec 03)."""
_QUOTED: Final = 40

T = TypeVar("T")


@frozen
class Entry:
    """A parsed entry of a keycard. It may be incomplete, not genuine or not current.

    Every line is known, is in an allowed place, and has a value of its type. Required fields and
    authentication lines can be missing. If a line is missing that every complete entry has, its accessor
    raises :class:`NoncompliantKeycard`; the accessors of other lines give None.

    :ivar text: the canonical text, byte for byte as it is hashed, signed, stored and sent.
    :ivar fields: the text of each value by field name, in canonical order.
    """

    schema: ClassVar[Schema]

    text: str
    fields: Mapping[str, str] = field(eq=False, repr=False)
    _values: Mapping[str, object] = field(eq=False, repr=False)

    @classmethod
    def from_text(cls, text: str) -> Self:
        """Parse an entry; the fields of the body may be in any order after Type.

        If this is called on a subclass, the entry must be of its type.

        :raises BadKeycardData: if the text is malformed (spec 03, 411).
        """
        lines = _read_lines(text)
        kind = _KINDS.get(lines[0][1]) if lines[0][0] == "Type" else None
        if kind is None:
            raise BadKeycardData("An entry begins with its type, Organization or User")
        if not issubclass(kind, cls):
            raise BadKeycardData(f"This is an entry of type {kind.schema.type_name}")
        _check_order([name for name, _ in lines], kind.schema)
        return kind.from_fields(dict(lines))

    @classmethod
    def from_fields(cls, given: Mapping[str, str]) -> Self:
        """Compose an entry from lines in any order; Type may be left out.

        :raises BadKeycardData: as :meth:`from_text`.
        """
        schema = cls.schema
        for name in given:
            if name not in schema.rules:
                raise BadKeycardData(f"Unknown field {name[:_QUOTED]}")
        ordered = {name: given[name] for name in schema.rules if name in given}
        ordered = {"Type": schema.type_name} | ordered
        values = {name: _read_value(schema, name, value) for name, value in ordered.items()}
        text = "".join([f"{name}:{value}\r\n" for name, value in ordered.items()])
        entry = cls(text, MappingProxyType(ordered), values)
        entry._check_places()
        return entry

    def with_line(self, name: str, value: object) -> Self:
        """Give a copy of this entry with one line added or changed, in canonical order."""
        return self.from_fields({**self.fields, name: str(value)})

    def text_before(self, line: str) -> bytes:
        """Give the text that an authentication line covers: the body and the authentication lines before it.

        The entry may have the line or not (spec 03, *What each authentication line covers*).
        """
        names = self.schema.authentication_names
        for name in names[names.index(line) :]:
            if name in self.fields:
                return self.text[: self.text.index(f"\r\n{name}:") + 2].encode()
        return self.text.encode()

    def _required(self, name: str, kind: type[T]) -> T:
        value = self._values.get(name)
        if not isinstance(value, kind):
            raise NoncompliantKeycard(f"Missing required field {name}")
        return value

    def _optional(self, name: str, kind: type[T]) -> T | None:
        value = self._values.get(name)
        return value if isinstance(value, kind) else None

    @property
    def index(self) -> int:
        """The number of the entry in its card, from 1."""
        return self._required("Index", int)

    @property
    def domain(self) -> Domain:
        """The owner's domain, in lower case."""
        return self._required("Domain", Domain)

    @property
    def encryption_key(self) -> CryptoString:
        """The key that messages to the owner are sealed to."""
        return self._required("Encryption-Key", CryptoString)

    @property
    def time_to_live(self) -> int:
        """How many days a resolver may keep the entry."""
        return self._required("Time-To-Live", int)

    @property
    def expires(self) -> date:
        """The last day on which the entry may be used."""
        return self._required("Expires", date)

    @property
    def timestamp(self) -> datetime:
        """When the entry was made, as its maker says."""
        return self._required("Timestamp", datetime)

    @property
    def revokes(self) -> CryptoString | None:
        """The hash of the entry that this one revokes."""
        return self._optional("Revoke", CryptoString)

    @property
    def hash(self) -> CryptoString:
        """The entry's own hash, as it stands there."""
        return self._required("Hash", CryptoString)

    @property
    def previous_hash(self) -> CryptoString | None:
        """The hash of what this entry follows."""
        return self._optional("Previous-Hash", CryptoString)

    @property
    def signing_key(self) -> CryptoString:
        """The key that makes the entry's own signature and the next entry's Custody-Signature."""
        return self._required(self.schema.signing_key, CryptoString)

    @property
    def keys(self) -> frozenset[CryptoString]:
        """All public keys of the entry."""
        return frozenset(
            value
            for name, value in self._values.items()
            if name.endswith("-Key") and isinstance(value, CryptoString)
        )

    @property
    def owner(self) -> Domain | WAddress:
        """Whose card the entry belongs to."""
        return self.domain

    def authentication(self, line: str) -> CryptoString:
        """The signature or hash on an authentication line."""
        return self._required(line, CryptoString)

    def is_expired(self, today: date) -> bool:
        """Tell whether ``today``, a day in UTC, is past ``Expires``."""
        return today > self.expires

    def _check_places(self) -> None:
        """Refuse a line in an entry that must not have it (spec 03, 411)."""
        first = self._values.get("Index") == 1
        if first and "Revoke" in self.fields:
            raise BadKeycardData("The first entry of a card has nothing to revoke")
        if "Custody-Signature" in self.fields and (first or "Revoke" in self.fields):
            raise BadKeycardData("A first entry or a revocation has no Custody-Signature")


@frozen
class OrganizationEntry(Entry):
    """An entry of an organization's card (spec 03, *Organization entry*)."""

    schema = fields.ORGANIZATION

    @property
    def name(self) -> str:
        """The organization's name."""
        return self._required("Name", str)

    @property
    def admin(self) -> WAddress:
        """The administrator's address."""
        return self._required("Contact-Admin", WAddress)

    @property
    def abuse(self) -> WAddress | None:
        """Where to report abuse."""
        return self._optional("Contact-Abuse", WAddress)

    @property
    def support(self) -> WAddress | None:
        """Where to ask for support."""
        return self._optional("Contact-Support", WAddress)

    @property
    def languages(self) -> tuple[str, ...]:
        """The language codes in the order of preference; empty if the entry has none."""
        return self._optional("Language", tuple) or ()

    @property
    def primary_key(self) -> CryptoString:
        """The key that signs for the organization."""
        return self._required("Primary-Verification-Key", CryptoString)

    @property
    def secondary_key(self) -> CryptoString | None:
        """The primary key before the last rotation."""
        return self._optional("Secondary-Verification-Key", CryptoString)

    def _check_places(self) -> None:
        Entry._check_places(self)
        if self._values.get("Index") == 1 and "Previous-Hash" in self.fields:
            raise BadKeycardData("An organization's first entry has no Previous-Hash")
        if "Revoke" in self.fields and "Secondary-Verification-Key" in self.fields:
            raise BadKeycardData("A revocation has no Secondary-Verification-Key")


@frozen
class UserEntry(Entry):
    """An entry of a workspace's card (spec 03, *User entry*)."""

    schema = fields.USER

    @property
    def name(self) -> str | None:
        """The user's name, if the entry has one."""
        return self._optional("Name", str)

    @property
    def user_id(self) -> UserID | None:
        """The user ID in normal form; in the text it may have another form."""
        return self._optional("User-ID", UserID)

    @property
    def local_user_id(self) -> str | None:
        """The name within the organization."""
        return self._optional("Local-User-ID", str)

    @property
    def workspace(self) -> WorkspaceID:
        """The workspace that the card belongs to."""
        return self._required("Workspace-ID", WorkspaceID)

    @property
    def contact_verification_key(self) -> CryptoString:
        """The key that verifies contact requests, this entry, and the custody of the next one."""
        return self._required("Contact-Request-Verification-Key", CryptoString)

    @property
    def contact_encryption_key(self) -> CryptoString:
        """The key that contact requests are sealed to."""
        return self._required("Contact-Request-Encryption-Key", CryptoString)

    @property
    def verification_key(self) -> CryptoString:
        """The key that verifies the user's messages."""
        return self._required("Verification-Key", CryptoString)

    @property
    def owner(self) -> WAddress:
        """The workspace's address."""
        return WAddress(self.workspace, self.domain)


_KINDS: Final[Mapping[str, type[Entry]]] = {
    kind.schema.type_name: kind for kind in (OrganizationEntry, UserEntry)
}


def _read_lines(text: str) -> list[tuple[str, str]]:
    if len(text) > MAX_ENTRY or _size(text) > MAX_ENTRY:
        raise BadKeycardData(f"An entry has at most {MAX_ENTRY} bytes")
    lines = text.split("\r\n")
    if lines.pop() or not text.count("\r") == text.count("\n") == len(lines) > 0:
        raise BadKeycardData("Each line of an entry ends with CR LF")
    pairs = []
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon:
            raise BadKeycardData("A line of an entry has no colon")
        pairs.append((name, value))
    return pairs


def _size(text: str) -> int:
    try:
        return len(text) if text.isascii() else len(text.encode())
    except UnicodeEncodeError:
        raise BadKeycardData("An entry is text in UTF-8") from None


def _check_order(names: list[str], schema: Schema) -> None:
    """Refuse repeated fields, and authentication lines that are not last and in their order."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise BadKeycardData(f"Repeated field {name[:_QUOTED]}")
        seen.add(name)
    expected = [name for name in schema.authentication_names if name in seen]
    if expected and names[-len(expected) :] != expected:
        raise BadKeycardData("Authentication lines come last, in their order")


def _read_value(schema: Schema, name: str, text: str) -> object:
    if not text or text != text.strip() or "\r" in text or "\n" in text:
        raise BadKeycardData(f"Bad value for field {name}: empty, or blanks around it, or more than a line")
    if len(text) > MAX_VALUE or _size(text) > MAX_VALUE:
        raise BadKeycardData(f"Bad value for field {name}: over {MAX_VALUE} bytes")
    if name == "Type" and text != schema.type_name:
        raise BadKeycardData(f"This is not an entry of type {schema.type_name}")
    try:
        return schema.rules[name].parse(text)
    except BadValue as bad:
        raise BadKeycardData(f"Bad value for field {name}: {bad}") from None
