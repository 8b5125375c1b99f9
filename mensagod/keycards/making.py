"""Making entries: an organization's in one step, a user's in those of ADDENTRY (spec 03; 04, *Identity*)."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Final

from attrs import field, frozen

from mensagod.crypto.cryptostring import CryptoString
from mensagod.crypto.sealing import EncryptionPair
from mensagod.crypto.signing import SigningPair
from mensagod.keycards.entries import OrganizationEntry, UserEntry
from mensagod.keycards.signatures import add_hash, add_signature
from mensagod.values.identity import Domain, WAddress, WorkspaceID
from mensagod.values.times import format_date, format_timestamp

ORGANIZATION_LIFETIME: Final = timedelta(days=365)
"""The default validity of an organization's entry."""
USER_LIFETIME: Final = timedelta(days=90)
"""The default validity of a user's entry."""
DEFAULT_TIME_TO_LIVE: Final = 14
"""The default number of days for which a resolver may cache an entry."""

_NOTHING: Final[Mapping[str, str]] = MappingProxyType({})
_NOT_INHERITED: Final = frozenset({"Type", "Secondary-Verification-Key", "Revoke"})


@frozen
class OrganizationKeys:
    """The private keys behind one organization entry."""

    primary: SigningPair = field(factory=SigningPair.generate)
    encryption: EncryptionPair = field(factory=EncryptionPair.generate)

    @property
    def fields(self) -> dict[str, str]:
        """The public halves, each by its field's name."""
        return {
            "Primary-Verification-Key": str(self.primary.public),
            "Encryption-Key": str(self.encryption.public),
        }


@frozen
class UserKeys:
    """The private keys behind one user entry."""

    contact_signing: SigningPair = field(factory=SigningPair.generate)
    contact_encryption: EncryptionPair = field(factory=EncryptionPair.generate)
    encryption: EncryptionPair = field(factory=EncryptionPair.generate)
    signing: SigningPair = field(factory=SigningPair.generate)

    @property
    def fields(self) -> dict[str, str]:
        """The public halves, each by its field's name."""
        return {
            "Contact-Request-Verification-Key": str(self.contact_signing.public),
            "Contact-Request-Encryption-Key": str(self.contact_encryption.public),
            "Encryption-Key": str(self.encryption.public),
            "Verification-Key": str(self.signing.public),
        }


def make_organization_root(
    keys: OrganizationKeys,
    name: str,
    domain: Domain,
    admin: WAddress,
    *,
    now: datetime,
    more: Mapping[str, str] = _NOTHING,
) -> OrganizationEntry:
    """Make the first entry of an organization, hashed and signed.

    :param more: values of further fields, or instead of the defaults: ``Contact-Abuse``,
        ``Contact-Support``, ``Language``, ``Time-To-Live``, ``Expires``.
    :raises BadKeycardData: if a value is not of its type. Whether today's clients
        can read the name, ``fields.check_client_name`` says.
    """
    body = {"Index": "1", "Name": name, "Domain": str(domain), "Contact-Admin": str(admin)}
    entry = OrganizationEntry.from_fields(_body(body, keys, now, ORGANIZATION_LIFETIME, more))
    return _seal_organization(entry, keys)


def rotate_organization(
    current: OrganizationEntry,
    old: SigningPair,
    keys: OrganizationKeys,
    now: datetime,
    more: Mapping[str, str] = _NOTHING,
) -> OrganizationEntry:
    """Make the entry that follows ``current`` with new keys, hashed and signed.

    :param old: the primary pair of ``current``, which hands over custody.
    :param more: values other than those inherited, by field name.
    """
    _require_pair(old, current.primary_key)
    body = _next_body(current) | {"Secondary-Verification-Key": str(current.primary_key)}
    entry = OrganizationEntry.from_fields(_body(body, keys, now, ORGANIZATION_LIFETIME, more))
    entry = add_signature(entry, "Custody-Signature", old)
    return _seal_organization(entry.with_line("Previous-Hash", current.hash), keys)


def revoke_organization(
    current: OrganizationEntry, keys: OrganizationKeys, now: datetime, more: Mapping[str, str] = _NOTHING
) -> OrganizationEntry:
    """Make the entry that revokes ``current`` and begins anew with ``keys``, hashed and signed."""
    body = _next_body(current) | {"Revoke": str(current.hash)}
    entry = OrganizationEntry.from_fields(_body(body, keys, now, ORGANIZATION_LIFETIME, more))
    return _seal_organization(entry.with_line("Previous-Hash", current.hash), keys)


def make_user_root(
    keys: UserKeys, workspace: WorkspaceID, domain: Domain, now: datetime, more: Mapping[str, str] = _NOTHING
) -> UserEntry:
    """Make the first entry of a user as the client sends it first: the body alone.

    :param more: ``Name``, ``User-ID``, ``Local-User-ID``, ``Time-To-Live``, ``Expires``.
    """
    body = {"Index": "1", "Workspace-ID": str(workspace), "Domain": str(domain)}
    return UserEntry.from_fields(_body(body, keys, now, USER_LIFETIME, more))


def rotate_user(
    current: UserEntry, old: SigningPair, keys: UserKeys, now: datetime, more: Mapping[str, str] = _NOTHING
) -> UserEntry:
    """Make the entry that follows ``current`` as the client sends it first: body and Custody-Signature.

    :param old: the contact request signing pair of ``current``.
    """
    _require_pair(old, current.contact_verification_key)
    entry = UserEntry.from_fields(_body(_next_body(current), keys, now, USER_LIFETIME, more))
    return add_signature(entry, "Custody-Signature", old)


def revoke_user(
    current: UserEntry, keys: UserKeys, now: datetime, more: Mapping[str, str] = _NOTHING
) -> UserEntry:
    """Make the entry that revokes ``current`` as the client sends it first: the body alone."""
    body = _next_body(current) | {"Revoke": str(current.hash)}
    return UserEntry.from_fields(_body(body, keys, now, USER_LIFETIME, more))


def countersign(
    base: UserEntry,
    signer: SigningPair,
    organization: OrganizationEntry,
    previous: UserEntry | None,
) -> UserEntry:
    """Add what the server adds to a base entry: Organization-Signature, Previous-Hash and Hash.

    :param signer: the primary pair of ``organization``, which is the organization's current entry.
    :param previous: the user's current entry; None for the first.
    """
    _require_pair(signer, organization.primary_key)
    entry = add_signature(base, "Organization-Signature", signer)
    link = organization.hash if previous is None else previous.hash
    return add_hash(entry.with_line("Previous-Hash", link))


def sign_user(entry: UserEntry, keys: UserKeys) -> UserEntry:
    """Add what the client adds last: the User-Signature, by the entry's own new key."""
    _require_pair(keys.contact_signing, entry.contact_verification_key)
    return add_signature(entry, "User-Signature", keys.contact_signing)


def finish_user(
    countersigned: UserEntry,
    signature: CryptoString,
    own_hash: CryptoString | None = None,
    previous_hash: CryptoString | None = None,
) -> UserEntry:
    """Put together what ADDENTRY's last step brings, unchecked.

    :param own_hash: the client's Hash, if it chose another algorithm.
    :param previous_hash: the Previous-Hash that the client sent, if it did.
    :raises BadKeycardData: if the signature is not of its type.
    """
    entry = countersigned
    if previous_hash is not None:
        entry = entry.with_line("Previous-Hash", previous_hash)
    if own_hash is not None:
        entry = entry.with_line("Hash", own_hash)
    return entry.with_line("User-Signature", signature)


def _next_body(current: OrganizationEntry | UserEntry) -> dict[str, str]:
    names = {rule.name for rule in current.schema.body} - _NOT_INHERITED
    inherited = {name: value for name, value in current.fields.items() if name in names}
    return inherited | {"Index": str(current.index + 1)}


def _body(
    fields: Mapping[str, str],
    keys: OrganizationKeys | UserKeys,
    now: datetime,
    lifetime: timedelta,
    more: Mapping[str, str],
) -> dict[str, str]:
    """Complete a body; ``Time-To-Live`` is inherited, ``Expires`` is not."""
    usual = {"Time-To-Live": str(DEFAULT_TIME_TO_LIVE)}
    fresh = {"Expires": format_date((now + lifetime).astimezone(UTC)), "Timestamp": format_timestamp(now)}
    return usual | dict(fields) | fresh | dict(more) | keys.fields


def _seal_organization(entry: OrganizationEntry, keys: OrganizationKeys) -> OrganizationEntry:
    return add_signature(add_hash(entry), "Organization-Signature", keys.primary)


def _require_pair(pair: SigningPair, public: CryptoString) -> None:
    if pair.public != public:
        raise ValueError("the signing pair is not that of the entry")
