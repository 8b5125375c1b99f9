"""Requests on names and keycards (spec 04, *Identity*)."""

import re

from attrs import frozen

from mensagod.crypto.cryptostring import CryptoString
from mensagod.crypto.hashing import parse_hash
from mensagod.crypto.passwords import parse_password_hash
from mensagod.crypto.signing import parse_signature
from mensagod.errors import BadRequest, BadValue
from mensagod.values.identity import Domain, MAddress, UserID, WAddress, WorkspaceID, is_random_id
from mensagod.values.times import MAX_INTEGER, parse_integer
from mensagod.wire.fields import Fields, optional, refused, required

Owner = MAddress | WAddress | WorkspaceID | Domain
"""The owner of a keycard, as a request names it."""

_INDEX = re.compile(r"-?[0-9]{1,32}")
_END = re.compile(r"[0-9]{1,32}")


def parse_index(text: str) -> int:
    """Parse a Start-Index: ASCII digits, a minus sign allowed; every number below 1 becomes 0."""
    if _INDEX.fullmatch(text) is None:
        raise BadValue("an index is ASCII digits, a minus sign allowed")
    return max(0, min(int(text), MAX_INTEGER))


def parse_end(text: str) -> int:
    """Parse an End-Index: ASCII digits; a number beyond the last entry means to the end."""
    if _END.fullmatch(text) is None:
        raise BadValue("an end is ASCII digits")
    return min(int(text), MAX_INTEGER)


def parse_owner(text: str) -> Owner:
    """Parse an Owner: an address, a workspace ID or a domain."""
    if "/" in text:
        return MAddress.from_text(text)
    return WorkspaceID.from_text(text) if is_random_id(text) else Domain.from_text(text)


@frozen(kw_only=True)
class GetWIDFields(Fields):
    """GETWID."""

    user_id: UserID = required("User-ID", UserID.from_text, "the user ID to look up")
    domain: Domain | None = optional("Domain", Domain.from_text, "one of the server's; else the main one")


@frozen(kw_only=True)
class IsCurrentFields(Fields):
    """ISCURRENT."""

    index: int = required("Index", parse_integer, "the number of the entry")
    workspace: WorkspaceID | None = optional(
        "Workspace-ID", WorkspaceID.from_text, "whose card; else the organization's"
    )


@frozen(kw_only=True)
class GetCardFields(Fields):
    """GETCARD."""

    owner: Owner | None = optional("Owner", parse_owner, "whose card; else the organization's")
    start: int = required("Start-Index", parse_index, "the first entry; 0 or less is the current one only")
    end: int | None = optional("End-Index", parse_end, "the last entry; else the current one")


@frozen(kw_only=True)
class OrgCardFields(Fields):
    """ORGCARD."""

    owner: None = refused("Owner", "belongs to USERCARD", lambda: BadRequest("ORGCARD has no Owner"))
    start: int = required("Start-Index", parse_index, "the first entry; 0 or less is the current one only")
    end: int | None = optional("End-Index", parse_end, "the last entry; else the current one")


@frozen(kw_only=True)
class UserCardFields(Fields):
    """USERCARD."""

    owner: Owner = required("Owner", parse_owner, "whose card")
    start: int = required("Start-Index", parse_index, "the first entry; 0 or less is the current one only")
    end: int | None = optional("End-Index", parse_end, "the last entry; else the current one")


@frozen(kw_only=True)
class TransferFields(Fields):
    """TRANSFER, the second request of GETCARD."""

    action = "TRANSFER"


@frozen(kw_only=True)
class AddEntryFields(Fields):
    """ADDENTRY, the first request."""

    base_entry: str = required("Base-Entry", str, "the entry's body, with its Custody-Signature if any")


@frozen(kw_only=True)
class RevokeFields(Fields):
    """REVOKE, the first request."""

    base_entry: str = required("Base-Entry", str, "the entry's body, with Revoke")
    password_hash: str = required(
        "Password-Hash",
        parse_password_hash,
        "the password hash of the workspace, as in PASSWORD",
        secret=True,
    )


@frozen(kw_only=True)
class SignEntryFields(Fields):
    """ADDENTRY and REVOKE, the second request."""

    signature: CryptoString = required(
        "User-Signature", parse_signature, "the user's signature of the complete entry"
    )
    hash: CryptoString | None = optional(
        "Hash", parse_hash, "the entry's hash, if the client used another algorithm"
    )
    previous_hash: CryptoString | None = optional(
        "Previous-Hash", parse_hash, "the Previous-Hash of the first answer"
    )
