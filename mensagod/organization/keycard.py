"""Changes of the organization's keycard and keys (spec 03, *Chain rules*, *The server's duties*).

Each change is one transaction under one lock. The caller names the entry that it expects to be the current
one. So of two concurrent changes the second fails, instead of changing an entry that its caller has never
seen.
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
from mensagod.storage.clocks import TOLERANCE
from mensagod.storage.events import CardChange
from mensagod.storage.holders import Holder, holders_after
from mensagod.storage.keycards import ORGANIZATION, StoredEntry
from mensagod.storage.rows import Transaction

WARNING_DAYS: Final = 30
"""How many days before the organization's entry expires the warnings begin (spec 03)."""

_BATCH: Final = 500


class Overtaken(Exception):
    """The organization's keycard was changed by another process meanwhile; this change was not made."""

    def __init__(self) -> None:
        super().__init__(
            "Another process has changed the organization's keycard meanwhile: check `mensagod org show`, and"
            " run the command again if the change is still needed"
        )


@frozen
class Replacement:
    """A change of the organization's keycard.

    :ivar before: the entry that was current.
    :ivar entry: the new current entry.
    """

    before: OrganizationEntry
    entry: OrganizationEntry


ReplacementStep = Callable[[Transaction, Sequence[SecretKey], CryptoString, datetime], Replacement]
"""The type of :func:`rotate` and :func:`revoke`."""


def current_entry(txn: Transaction) -> OrganizationEntry:
    """Give the organization's current entry.

    :raises KeyringFault: if there is none.
    """
    entries = keycards.list_entries(txn, ORGANIZATION, 0, None)
    if not entries:
        raise KeyringFault("the database contains no keycard of the organization: run `mensagod init`")
    return OrganizationEntry.from_text(entries[0].text)


def read_history(txn: Transaction) -> OrganizationHistory:
    """Read the history of the organization's signing keys."""
    entries = keycards.list_entries(txn, ORGANIZATION, 1, None)
    return OrganizationHistory.from_entries(OrganizationEntry.from_text(entry.text) for entry in entries)


def rotate(
    txn: Transaction, masters: Sequence[SecretKey], expected: CryptoString, now: datetime
) -> Replacement:
    """Give the organization new keys. The old encryption key is kept for 30 days.

    The old private signing key signs the new entry, and is erased. Keys that were rotated out 30 days ago are
    erased, too, if the database's clock agrees with ``now``.

    :param masters: keys of which one decrypts the private keys.
    :param expected: the hash of the entry that the caller saw as the current one.
    :raises Overtaken: if another entry is the current one.
    :raises KeyringFault: if none of ``masters`` decrypts the private keys.
    """
    before = _begin(txn, expected)
    stored = keys.current_keys(txn)
    master = choose_master(stored, masters)
    old = _signing_pair(Keyring.from_stored(stored, master), before)
    new = OrganizationKeys()
    entry = rotate_organization(before, old, new, max(now, before.timestamp))
    keys.retire_current(txn, now)
    _erase_over(txn, now)
    _add(txn, entry, new, master)
    return Replacement(before, entry)


def revoke(
    txn: Transaction, masters: Sequence[SecretKey], expected: CryptoString, now: datetime
) -> Replacement:
    """Revoke the organization's current entry and all keys; their private keys are erased.

    Keys that were rotated out are revoked, too: they were stored together with the current ones, so a thief
    has them as well.

    :raises Overtaken: as :func:`rotate`.
    :raises KeyringFault: as :func:`rotate`. The new keys must be encrypted with the present file's key.
    """
    return revoke_anew(txn, choose_master(keys.current_keys(txn), masters), expected, now)


def revoke_anew(txn: Transaction, master: SecretKey, expected: CryptoString, now: datetime) -> Replacement:
    """Revoke as :func:`revoke` does, and encrypt the new keys with ``master``.

    This does not need the old private keys, so it works even if they are lost.

    :raises Overtaken: as :func:`rotate`.
    """
    before = _begin(txn, expected)
    new = OrganizationKeys()
    entry = revoke_organization(before, new, max(now, before.timestamp))
    keys.revoke_all(txn)
    _add(txn, entry, new, master)
    return Replacement(before, entry)


def reencrypt(txn: Transaction, old: SecretKey, new: SecretKey) -> None:
    """Encrypt all private keys that are not erased with ``new``.

    The caller holds the lock, and ends the transaction after this (:func:`mensagod.storage.events.add`).

    :raises KeyringFault: if ``old`` does not decrypt them.
    """
    for key in keys.live_keys(txn):
        choose_master([key], [old])
        keys.replace_private(txn, key.public, new.seal(old.open(key.private)))
    events.add(txn, CardChange(ORGANIZATION))


def lacking_entries(txn: Transaction, *, after_revocation: bool = False) -> Iterator[Holder]:
    """Find the workspaces whose current entry was signed with a key that is revoked now (spec 03).

    :param after_revocation: whether to assume that the current key is revoked, too.
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
    """Count the days until the last day on which an entry is valid; negative after it."""
    return (entry.expires - now.astimezone(UTC).date()).days


def expiry_warning(entry: OrganizationEntry, now: datetime) -> str | None:
    """Give a warning for the operator, from 30 days before an entry expires; ``None`` before that."""
    if days_left(entry, now) > WARNING_DAYS:
        return None
    return f"the organization's keycard {describe_end(entry, now)}: run `mensagod org rotate`"


def describe_end(entry: OrganizationEntry, now: datetime) -> str:
    """Say when an entry expires or has expired."""
    days = days_left(entry, now)
    if days < 0:
        return f"expired on {entry.expires}"
    how_soon = {0: "today", 1: "tomorrow"}.get(days, f"in {days} days")
    return f"expires on {entry.expires}, {how_soon}"


def _is_superseded(holder: Holder, history: OrganizationHistory) -> bool:
    try:
        history.check_signature(UserEntry.from_text(holder.text))
    except RevokedOrganizationKey:
        return True
    except KeycardFault:
        # The entry has another fault, which a revocation does not cause.
        return False
    return False


def _begin(txn: Transaction, expected: CryptoString) -> OrganizationEntry:
    keycards.lock_organization(txn)
    before = current_entry(txn)
    if before.hash != expected:
        raise Overtaken
    return before


def _erase_over(txn: Transaction, now: datetime) -> None:
    found = keys.find_over(txn, KEEP_DAYS)
    if abs(found.now - now) <= TOLERANCE:
        keys.erase(txn, [key.public for key in found.keys], KEEP_DAYS)


def _signing_pair(keyring: Keyring, entry: OrganizationEntry) -> SigningPair:
    if keyring.signing.public != entry.primary_key:
        raise KeyringFault(
            "the current signing key in the database is not the one in the organization's keycard: restore"
            " the database from a backup, or run `mensagod org revoke`"
        )
    return keyring.signing


def _add(txn: Transaction, entry: OrganizationEntry, new: OrganizationKeys, master: SecretKey) -> None:
    for pair in (new.primary, new.encryption):
        keys.add_key(txn, protect(pair, master))
    keycards.add_entry(txn, ORGANIZATION, StoredEntry.of(entry))
