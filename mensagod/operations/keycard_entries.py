"""Adding an entry to a user's keycard: countersigned, signed by the user, added (spec 04, ADDENTRY)."""

from datetime import UTC, datetime
from typing import Final, Protocol

from attrs import frozen

from mensagod.crypto.cryptostring import CryptoString
from mensagod.errors import BadValue, ServerUnavailable
from mensagod.keycards.compliance import check_base, check_sealed, check_time
from mensagod.keycards.entries import OrganizationEntry, UserEntry
from mensagod.keycards.errors import BadKeycardData, NoncompliantKeycard
from mensagod.keycards.links import check_successor
from mensagod.keycards.making import countersign, finish_user
from mensagod.operations.lookups import count_wish
from mensagod.operations.parts import Parts
from mensagod.storage.additions import Basis, add_user_entry, read_basis
from mensagod.storage.keycards import StoredEntry, has_held
from mensagod.storage.workspaces import Taken
from mensagod.values.identity import Domain, WorkspaceID

_ADMIN: Final = "admin"
_TRIES: Final = 3
REMEMBERED: Final = 1000
"""In how many of a card's last entries the keys of a revocation are searched."""


class Owner(Protocol):
    """The owner of the card."""

    @property
    def workspace(self) -> WorkspaceID:
        """The owner's workspace."""

    @property
    def domain(self) -> Domain:
        """The domain of the workspace."""

    @property
    def is_admin(self) -> bool:
        """Whether the owner is the administrator."""


@frozen
class Offer:
    """An entry that the organization has signed, and that its user is to sign.

    :ivar basis: the state of the database that it was checked against; it must be the same when it is added.
    """

    entry: UserEntry
    basis: Basis


def read_base(text: str, owner: Owner, *, revocation: bool) -> UserEntry:
    """Parse a base entry, and make all checks that do not need the database.

    :raises mensagod.keycards.errors.KeycardFault: if a check fails.
    """
    entry = UserEntry.from_text(text)
    check_base(entry, revocation=revocation)
    if entry.workspace != owner.workspace:
        raise BadKeycardData("Workspace-ID is not that of this session")
    if entry.domain != owner.domain:
        raise BadKeycardData("Domain is not that of this workspace")
    check_time(entry, datetime.now(UTC))
    return entry


async def countersign_entry(parts: Parts, owner: Owner, base: UserEntry, source: str) -> Offer:
    """Check an entry against the database, and sign it for the organization.

    :param source: the client's source, under which a wish for a name is counted.
    :raises mensagod.errors.CommandError: if a check fails.
    """
    basis, organization = await _read_basis(parts, base)
    previous = None if basis.previous is None else UserEntry.from_text(basis.previous.text)
    check_successor(base, previous)
    await _check_fresh(parts, base)
    await _count_name(parts, base, basis, source)
    _check_name(base, basis, owner)
    signer = parts.keyring.signing
    if signer.public != organization.primary_key:
        raise NoncompliantKeycard("The organization's keycard has changed meanwhile: begin again")
    return Offer(countersign(base, signer, organization, previous), basis)


async def add_entry(
    parts: Parts,
    offer: Offer,
    signature: CryptoString,
    *,
    own_hash: CryptoString | None = None,
    previous_hash: CryptoString | None = None,
) -> None:
    """Add an entry with its user's signature, unless the card has changed meanwhile.

    :param own_hash: the hash that the user signed, if it differs from the server's.
    :param previous_hash: the hash of the previous entry according to the user, if given.
    :raises mensagod.errors.CommandError: if a check fails, or the card has changed.
    """
    complete = finish_user(offer.entry, signature, own_hash=own_hash, previous_hash=previous_hash)
    if complete.previous_hash != offer.entry.previous_hash:
        raise NoncompliantKeycard("Previous-Hash is not the hash of the entry before it")
    check_sealed(complete)
    try:
        await parts.database.run(add_user_entry, complete, StoredEntry.of(complete), offer.basis)
    finally:
        parts.follower.tell(frozenset({complete.workspace}))


async def _read_basis(parts: Parts, base: UserEntry) -> tuple[Basis, OrganizationEntry]:
    """Read the state that an entry builds on; retry if the organization's keys of this process are outdated.

    :raises ServerUnavailable: if the organization's card does not match its keys.
    """
    for _ in range(_TRIES):
        basis = await parts.database.run(read_basis, base.workspace, base.user_id, base.domain)
        if basis.organization is None:
            break
        organization = OrganizationEntry.from_text(basis.organization.text)
        if organization.primary_key == parts.keyring.signing.public:
            return basis, organization
        # Another process has just changed them.
        await parts.keys.refresh()
    raise ServerUnavailable


async def _check_fresh(parts: Parts, entry: UserEntry) -> None:
    """Check that the keys of a revocation are new to the card.

    An entry that is added before the revocation changes the basis, so this need not be checked again.

    :raises NoncompliantKeycard: if a key was in one of the last :data:`REMEMBERED` entries.
    """
    if entry.revokes is None:
        return
    if await parts.database.read(has_held, entry.workspace, entry.keys, REMEMBERED):
        raise NoncompliantKeycard("A revocation has keys that the card never had")


async def _count_name(parts: Parts, entry: UserEntry, basis: Basis, source: str) -> None:
    """Count a User-ID that is not the workspace's own as a lookup: the answer tells whether it exists."""
    holder, user_id = basis.holder, entry.user_id
    if user_id is None or (holder is not None and holder.workspace == entry.workspace):
        return
    await count_wish(parts, source, is_taken=holder is not None)


def _check_name(entry: UserEntry, basis: Basis, owner: Owner) -> None:
    """Check that the workspace may have the User-ID of the entry.

    :raises Taken: if it belongs to another workspace, or is an alias, which only the operator changes.
    :raises BadKeycardData: if it is never given out, or the administrator would lose the name ``admin``.
    """
    user_id = entry.user_id
    if user_id is None:
        return
    holder = basis.holder
    if holder is None:
        try:
            user_id.check_grantable()
        except BadValue as bad:
            raise BadKeycardData(f"Bad value for field User-ID: {bad}") from None
    elif holder.workspace != owner.workspace or holder.kind == "alias":
        raise Taken("User-ID")
    if owner.is_admin and str(user_id) != _ADMIN:
        raise BadKeycardData(f"The administrator's User-ID is {_ADMIN}")
