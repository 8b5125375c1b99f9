"""The organization's own keycard and keys: how they change (spec 03, *Chain rules*, *The server's duties*).

Each change is one transaction under one lock. A change names the entry that its maker saw as the current
one, so that of two at once the second hears that it came too late, instead of changing what it never saw.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Final

from attrs import frozen

from mensagod.crypto.cryptostring import CryptoString
from mensagod.crypto.sealing import SecretKey
from mensagod.crypto.signing import SigningPair
from mensagod.keycards.entries import OrganizationEntry, UserEntry
from mensagod.keycards.errors import KeycardFault, RevokedOrganizationKey
from mensagod.keycards.making import OrganizationKeys, revoke_organization, rotate_organization
from mensagod.keycards.organizations import OrganizationHistory
from mensagod.organization.keyring import KEEP_DAYS, Keyring, KeyringFault, choose_master, protect
from mensagod.storage import events, keycards, keys
from mensagod.storage.events import CardChange
from mensagod.storage.holders import Holder, holders_after
from mensagod.storage.keycards import ORGANIZATION, StoredEntry
from mensagod.storage.rows import Transaction

WARNING_DAYS: Final = 30
"""From how many days before its end the organization's entry is warned of (spec 03)."""

_BATCH: Final = 500


class Overtaken(Exception):
    """Somebody else changed the organization's keycard meanwhile; nothing was changed now."""

    def __init__(self) -> None:
        super().__init__(
            "Somebody else has changed the organization's keycard meanwhile: look at `mensagod org show`,"
            " and begin again if you still want to"
        )


@frozen
class Replacement:
    """A change of the organization's keycard.

    :ivar before: the entry that was current.
    :ivar entry: the one that is now.
    """

    before: OrganizationEntry
    entry: OrganizationEntry


ReplacementStep = Callable[[Transaction, Sequence[SecretKey], CryptoString, datetime], Replacement]
"""What :func:`rotate` and :func:`revoke` are."""


def current_entry(txn: Transaction) -> OrganizationEntry:
    """Give the organization's current entry.

    :raises KeyringFault: if there is none.
    """
    entries = keycards.list_entries(txn, ORGANIZATION, 0, None)
    if not entries:
        raise KeyringFault("the database holds no keycard of the organization: run `mensagod init`")
    return OrganizationEntry.from_text(entries[0].text)


def read_history(txn: Transaction) -> OrganizationHistory:
    """Collect which of the organization's keys could sign when."""
    entries = keycards.list_entries(txn, ORGANIZATION, 1, None)
    return OrganizationHistory.from_entries(OrganizationEntry.from_text(entry.text) for entry in entries)


def rotate(
    txn: Transaction, masters: Sequence[SecretKey], expected: CryptoString, now: datetime
) -> Replacement:
    """Give the organization new keys; the old one goes on opening what was sealed to it, for 30 days.

    The private signing key is erased: nothing but the new entry is ever signed with it again.

    :param masters: keys of which one opens the private keys.
    :param expected: the hash of the entry that the caller saw as the current one.
    :raises Overtaken: if another entry is the current one.
    :raises KeyringFault: if none of ``masters`` opens the private keys.
    """
    before = _begin(txn, expected)
    stored = keys.usable_keys(txn, 0)
    master = choose_master(stored, masters)
    old = _signing_pair(Keyring.from_stored(stored, master), before)
    new = OrganizationKeys()
    entry = rotate_organization(before, old, new, max(now, before.timestamp))
    keys.retire_current(txn)
    keys.erase_retired(txn, KEEP_DAYS)
    _add(txn, entry, new, master)
    return Replacement(before, entry)


def revoke(
    txn: Transaction, masters: Sequence[SecretKey], expected: CryptoString, now: datetime
) -> Replacement:
    """Revoke the organization's current entry; no key that it ever had is used again, or kept.

    Those rotated out before are revoked with it: whoever came by the current ones found these beside them.

    :raises Overtaken: as :func:`rotate`.
    :raises KeyringFault: as :func:`rotate`: what is made now must open with the file that is there.
    """
    return revoke_anew(txn, choose_master(keys.usable_keys(txn, 0), masters), expected, now)


def revoke_anew(txn: Transaction, master: SecretKey, expected: CryptoString, now: datetime) -> Replacement:
    """Revoke as :func:`revoke` does, and encrypt the new keys with ``master``, whatever the old ones were.

    None of the old private keys is needed for it: this is how an organization goes on that has lost them.

    :raises Overtaken: as :func:`rotate`.
    """
    before = _begin(txn, expected)
    new = OrganizationKeys()
    entry = revoke_organization(before, new, max(now, before.timestamp))
    keys.revoke_all(txn)
    _add(txn, entry, new, master)
    return Replacement(before, entry)


def reencrypt(txn: Transaction, old: SecretKey, new: SecretKey) -> None:
    """Encrypt all private keys that are kept with ``new``.

    The caller holds the lock, and does nothing more in the transaction (:func:`mensagod.storage.events.add`).

    :raises KeyringFault: if ``old`` does not open them.
    """
    for key in keys.live_keys(txn):
        choose_master([key], [old])
        keys.replace_private(txn, key.public, new.seal(old.open(key.private)))
    events.add(txn, CardChange(ORGANIZATION))


def lacking_entries(txn: Transaction, *, after_revocation: bool = False) -> Iterator[Holder]:
    """List the workspaces whose current entry was signed with a key that was revoked since (spec 03).

    :param after_revocation: whether to list what that would be after the current key is revoked.
    """
    history = read_history(txn)
    if after_revocation:
        history = history.revoked()
    if not any(period.revoked for period in history.periods):
        return
    last = ORGANIZATION
    while holders := holders_after(txn, last, _BATCH):
        yield from (holder for holder in holders if _is_superseded(holder, history))
        last = holders[-1].workspace


def days_left(entry: OrganizationEntry, now: datetime) -> int:
    """Count the days until the last one on which an entry may be used; negative once it is over."""
    return (entry.expires - now.astimezone(UTC).date()).days


def expiry_warning(entry: OrganizationEntry, now: datetime) -> str | None:
    """Write what the operator must know of the end of an entry, from 30 days before it."""
    if days_left(entry, now) > WARNING_DAYS:
        return None
    return f"the organization's keycard {describe_end(entry, now)}: run `mensagod org rotate`"


def describe_end(entry: OrganizationEntry, now: datetime) -> str:
    """Write when an entry ends, or has ended."""
    days = days_left(entry, now)
    if days < 0:
        return f"has expired on {entry.expires}"
    how_soon = {0: "today", 1: "tomorrow"}.get(days, f"in {days} days")
    return f"expires on {entry.expires}, {how_soon}"


def _is_superseded(holder: Holder, history: OrganizationHistory) -> bool:
    try:
        history.check_signature(UserEntry.from_text(holder.text))
    except RevokedOrganizationKey:
        return True
    except KeycardFault:
        # Wrong in another way, which is not the revocation's doing.
        return False
    return False


def _begin(txn: Transaction, expected: CryptoString) -> OrganizationEntry:
    keycards.lock_organization(txn)
    before = current_entry(txn)
    if before.hash != expected:
        raise Overtaken
    return before


def _signing_pair(keyring: Keyring, entry: OrganizationEntry) -> SigningPair:
    if keyring.signing.public != entry.primary_key:
        raise KeyringFault(
            "the current signing key in the database is not that of the organization's keycard"
        )
    return keyring.signing


def _add(txn: Transaction, entry: OrganizationEntry, new: OrganizationKeys, master: SecretKey) -> None:
    for pair in (new.primary, new.encryption):
        keys.add_key(txn, protect(pair, master))
    keycards.add_entry(txn, ORGANIZATION, StoredEntry.of(entry))
