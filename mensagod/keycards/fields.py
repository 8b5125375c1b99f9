"""The fields of both types of entry: their order, and the type of each value (spec 03)."""

import re
import unicodedata
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from attrs import field, frozen

from mensagod.crypto import base85
from mensagod.crypto.cryptostring import CryptoString
from mensagod.crypto.hashing import parse_hash
from mensagod.crypto.sealing import CURVE25519
from mensagod.crypto.signing import ED25519
from mensagod.errors import BadValue
from mensagod.values import times
from mensagod.values.identity import Domain, UserID, WAddress, WorkspaceID

_KEY_SIZE: Final = 32
_SIGNATURE_SIZE: Final = 64
_MAX_NAME: Final = 64
_SHORTEST_CLIENT_NAME: Final = 4
_LANGUAGES = re.compile(r"[A-Za-z]{2,3}(?:,[A-Za-z]{2,3}){0,9}")


def parse_name(text: str) -> str:
    """Check a Name: 1 to 64 code points, none a control character, at least one printable."""
    if len(text) > _MAX_NAME:
        raise BadValue("a name has at most 64 characters")
    if any(unicodedata.category(character) == "Cc" for character in text):
        raise BadValue("a name has no control characters")
    if not any(character.isprintable() and not character.isspace() for character in text):
        raise BadValue("a name has at least one printable character")
    return text


def check_client_name(text: str) -> None:
    """Check that existing clients can read an organization's Name.

    :raises BadValue: if it is not a Name, has fewer than four characters, or has a blank as its second last
        character (spec 03, *Organization entry*).
    """
    if text != text.strip() or not text:
        raise BadValue("a name does not begin or end with a blank")
    parse_name(text)
    if len(text) < _SHORTEST_CLIENT_NAME:
        raise BadValue("today's clients cannot read an organization's name of fewer than four characters")
    if text[-2].isspace():
        raise BadValue("today's clients cannot read an organization's name with a blank as its second last")


def parse_local_user_id(text: str) -> str:
    """Check a Local-User-ID: 1 to 64 letters, marks, digits, dashes, underscores and single dots."""
    if not 1 <= len(text) <= _MAX_NAME or ".." in text:
        raise BadValue("a local user ID has 1 to 64 characters and single dots only")
    if not all(character in "-_." or _is_name_character(character) for character in text):
        raise BadValue("a local user ID has letters, marks, digits, dashes, underscores and dots only")
    return text


def _is_name_character(character: str) -> bool:
    category = unicodedata.category(character)
    return category[0] in "LM" or category == "Nd"


def parse_languages(text: str) -> tuple[str, ...]:
    """Parse a Language value: up to ten codes of two or three letters, separated by commas."""
    if _LANGUAGES.fullmatch(text) is None:
        raise BadValue("languages are up to 10 codes of 2 or 3 letters, joined by commas")
    return tuple(text.split(","))


def _group_pattern() -> str:
    """Give a pattern for five Base85 characters that encode four bytes, that is at most 2^32-1.

    Matching this is faster than decoding. An entry has nine CryptoStrings, and decoding them would take most
    of the time of parsing it.
    """
    alphabet = base85.ALPHABET
    pattern = ""
    for place, digit in enumerate(reversed(base85.encode(b"\xff" * 4))):
        smaller = re.escape(alphabet[: alphabet.index(digit)])
        same = f"{re.escape(digit)}{pattern}"
        pattern = f"(?:[{smaller}][{re.escape(alphabet)}]{{{place}}}|{same})" if smaller else same
    return pattern


def _binary(prefix: str, size: int) -> Callable[[str], CryptoString]:
    form = re.compile(f"{prefix}:({_group_pattern()}{{{size // 4}}})")

    def parse(text: str) -> CryptoString:
        match = form.fullmatch(text)
        if match is None:
            raise BadValue(f"{prefix} and {size} bytes in Base85 stand here")
        return CryptoString(prefix, match[1])

    return parse


_verification_key = _binary(ED25519, _KEY_SIZE)
_signature = _binary(ED25519, _SIGNATURE_SIZE)
_encryption_key = _binary(CURVE25519, _KEY_SIZE)


@frozen
class FieldRule:
    """The definition of a field, from the tables of spec 03.

    :ivar parse: gives the typed value for a text, or raises ``BadValue``.
    :ivar required: whether a complete body must have it; not used for authentication lines, because which of
        them are required depends on the entry.
    """

    name: str
    parse: Callable[[str], object]
    required: bool = True


@frozen
class Schema:
    """The fields of one type of entry, in canonical order.

    :ivar signing_key: the field with the key that signs the entry itself and the Custody-Signature of the
        next.
    :ivar own_signature: the line with the signature of that key.
    """

    type_name: str
    body: tuple[FieldRule, ...]
    authentication: tuple[FieldRule, ...]
    signing_key: str
    own_signature: str
    rules: Mapping[str, FieldRule] = field(init=False, repr=False, eq=False)
    authentication_names: tuple[str, ...] = field(init=False, repr=False, eq=False)

    @rules.default
    def _all_rules(self) -> Mapping[str, FieldRule]:
        return MappingProxyType({rule.name: rule for rule in self.body + self.authentication})

    @authentication_names.default
    def _all_authentication_names(self) -> tuple[str, ...]:
        return tuple(rule.name for rule in self.authentication)


# Numbers are parsed with a larger range than allowed: a number that is only too large is 412, not 411.
_LIFETIME: Final = (
    FieldRule("Time-To-Live", times.parse_long),
    FieldRule("Expires", times.parse_date),
    FieldRule("Timestamp", times.parse_timestamp),
    FieldRule("Revoke", parse_hash, required=False),
)

ORGANIZATION: Final = Schema(
    "Organization",
    (
        FieldRule("Type", str),
        FieldRule("Index", times.parse_long),
        FieldRule("Name", parse_name),
        FieldRule("Domain", Domain.from_text),
        FieldRule("Contact-Admin", WAddress.from_text),
        FieldRule("Contact-Abuse", WAddress.from_text, required=False),
        FieldRule("Contact-Support", WAddress.from_text, required=False),
        FieldRule("Language", parse_languages, required=False),
        FieldRule("Primary-Verification-Key", _verification_key),
        FieldRule("Secondary-Verification-Key", _verification_key, required=False),
        FieldRule("Encryption-Key", _encryption_key),
        *_LIFETIME,
    ),
    (
        FieldRule("Custody-Signature", _signature),
        FieldRule("Previous-Hash", parse_hash),
        FieldRule("Hash", parse_hash),
        FieldRule("Organization-Signature", _signature),
    ),
    signing_key="Primary-Verification-Key",
    own_signature="Organization-Signature",
)
"""The organization entry (spec 03, *Organization entry*)."""

USER: Final = Schema(
    "User",
    (
        FieldRule("Type", str),
        FieldRule("Index", times.parse_long),
        FieldRule("Name", parse_name, required=False),
        FieldRule("User-ID", UserID.from_text, required=False),
        FieldRule("Local-User-ID", parse_local_user_id, required=False),
        FieldRule("Workspace-ID", WorkspaceID.from_text),
        FieldRule("Domain", Domain.from_text),
        FieldRule("Contact-Request-Verification-Key", _verification_key),
        FieldRule("Contact-Request-Encryption-Key", _encryption_key),
        FieldRule("Encryption-Key", _encryption_key),
        FieldRule("Verification-Key", _verification_key),
        *_LIFETIME,
    ),
    (
        FieldRule("Custody-Signature", _signature),
        FieldRule("Organization-Signature", _signature),
        FieldRule("Previous-Hash", parse_hash),
        FieldRule("Hash", parse_hash),
        FieldRule("User-Signature", _signature),
    ),
    signing_key="Contact-Request-Verification-Key",
    own_signature="User-Signature",
)
"""The user entry (spec 03, *User entry*)."""
