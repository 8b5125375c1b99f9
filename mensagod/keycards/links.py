"""Checking that one entry may follow another in a card (spec 03, *Chain rules*)."""

from mensagod.keycards.entries import Entry, OrganizationEntry
from mensagod.keycards.errors import BadKeycardData, NoncompliantKeycard
from mensagod.keycards.signatures import check_signature


def check_index(entry: Entry, previous: Entry | None) -> None:
    """Check that the Index is the next one, from 1; raise :class:`NoncompliantKeycard` if not."""
    expected = 1 if previous is None else previous.index + 1
    if entry.index != expected:
        raise NoncompliantKeycard(f"Index must be {expected} here")


def check_owner(entry: Entry, previous: Entry) -> None:
    """Check that both entries have the same type and owner; raise :class:`BadKeycardData` if not."""
    if entry.schema is not previous.schema or entry.owner != previous.owner:
        raise BadKeycardData("The entry is another owner's than the one before it")


def check_previous_hash(entry: Entry, previous: Entry) -> None:
    """Check that the entry names the hash of ``previous``; raise :class:`NoncompliantKeycard` if not."""
    if entry.previous_hash != previous.hash:
        raise NoncompliantKeycard("Previous-Hash is not the hash of the entry before it")


def check_custody(entry: Entry, previous: Entry) -> None:
    """Check the custody: the signature of the previous entry's key, or the Revoke line.

    :raises InvalidSignature: if the Custody-Signature is not the old key's.
    :raises NoncompliantKeycard: if Revoke names another entry, or there is neither.
    """
    if entry.revokes is None:
        check_signature(entry, "Custody-Signature", previous.signing_key)
    elif entry.revokes != previous.hash:
        raise NoncompliantKeycard("Revoke is not the hash of the entry before it")


def check_new_keys(entry: Entry, previous: Entry) -> None:
    """Check that the keys have changed: all of them in a revocation, otherwise at least the signing key.

    After a rotation, the secondary key of an organization must be its old primary key.

    :raises NoncompliantKeycard: if a key must have changed, but has not.
    """
    if entry.revokes is not None:
        if entry.keys & previous.keys:
            raise NoncompliantKeycard("A revocation has new keys only")
        return
    if entry.signing_key == previous.signing_key:
        raise NoncompliantKeycard("The entry signs with the key of the one before it")
    if isinstance(entry, OrganizationEntry) and entry.secondary_key != previous.signing_key:
        raise NoncompliantKeycard("The secondary key is not the primary key before the rotation")


def check_successor(entry: Entry, previous: Entry | None) -> None:
    """Check that ``entry`` may follow ``previous``, or begin a card, without checking its Previous-Hash.

    For a base entry, which has no Previous-Hash yet (spec 04, ADDENTRY).

    :param previous: the current entry; None if there is none.
    :raises KeycardFault: as the checks above.
    """
    check_index(entry, previous)
    if previous is not None:
        check_owner(entry, previous)
        check_new_keys(entry, previous)
        check_custody(entry, previous)
