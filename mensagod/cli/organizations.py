"""The state of the organization, as JSON and as text."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from attrs import frozen

from mensagod.cli.founded import as_lines
from mensagod.config import Config
from mensagod.crypto.cryptostring import CryptoString
from mensagod.installation.certificates import read_pins
from mensagod.keycards.entries import OrganizationEntry
from mensagod.keycards.signatures import fingerprint
from mensagod.organization import dns_changes, keycard
from mensagod.organization.dns_records import Record, make_records, public_port
from mensagod.organization.keyring import KEEP_DAYS, KeyringFault
from mensagod.organization.rekeying import is_unfinished
from mensagod.storage import keys
from mensagod.storage.connections import Connection
from mensagod.storage.holders import Holder
from mensagod.storage.keys import KeyState
from mensagod.storage.transactions import transaction
from mensagod.values.times import format_timestamp


@frozen
class OrganizationState:
    """The output of ``org show``.

    :ivar key_fault: what is wrong with organization.key; ``None`` if it decrypts the private keys.
    :ivar lacking: the users who need a new keycard entry.
    """

    config: Config
    entry: OrganizationEntry
    keys: Sequence[KeyState]
    key_fault: str | None
    lacking: Sequence[dict[str, Any]]
    records: Sequence[Record]
    now: datetime

    @property
    def warning(self) -> str | None:
        """The warning if the entry expires soon or has expired."""
        return keycard.expiry_warning(self.entry, self.now)

    @property
    def opening(self) -> list[tuple[CryptoString, datetime]]:
        """The encryption keys that were rotated out and still decrypt, each with the end of that time."""
        rotated_out = (key for key in self.keys if key.purpose == "encryption" and key.status == "previous")
        ends = [(key.public, key.retired + timedelta(days=KEEP_DAYS)) for key in rotated_out if key.retired]
        return [(key, end) for key, end in ends if end > self.now]

    def as_document(self) -> dict[str, Any]:
        """Give the state as a JSON document."""
        return {
            **entry_document(self.entry),
            "days_left": keycard.days_left(self.entry, self.now),
            "warning": self.warning,
            "previous_encryption_keys": [
                {"key": str(key), "opens_until": format_timestamp(end)} for key, end in self.opening
            ],
            "revoked_keys": [str(key.public) for key in self.keys if key.status == "revoked"],
            "organization_key": {"path": str(self.config.organization_key), "fault": self.key_fault},
            "need_entries": list(self.lacking),
            "dns": [dns_changes.record_document(record) for record in self.records],
        }

    def as_lines(self) -> list[str]:
        """Give the state as lines of text."""
        entry = self.entry
        rows = {
            "Organization": f"{entry.name}, {entry.domain}",
            "Entry": f"{entry.index}, made {dns_changes.show_time(entry.timestamp)},"
            f" {keycard.describe_end(entry, self.now)}",
            "Hash": str(entry.hash),
            "Fingerprint": fingerprint(entry),
            "Primary key": str(entry.primary_key),
            "Secondary key": "none" if entry.secondary_key is None else str(entry.secondary_key),
            "Encryption key": str(entry.encryption_key),
            "organization.key": self.key_fault or f"{self.config.organization_key} decrypts the private keys",
        }
        lines = [f"  {name:<18}{value}" for name, value in rows.items()]
        lines += [
            f"  {'Still decrypts':<18}{key}, until {dns_changes.show_time(end)}" for key, end in self.opening
        ]
        if self.warning is not None:
            lines = [f"Warning: {self.warning}", "", *lines]
        return [*lines, *lacking_lines(self.lacking), "", "DNS records:", "", *as_lines(self.records)]


def read_state(config: Config, connection: Connection) -> OrganizationState:
    """Read the state of the organization.

    :raises mensagod.installation.faults.InstallationFault: if a certificate cannot be read.
    """
    with transaction(connection) as txn:
        entry = keycard.current_entry(txn)
        states = keys.list_states(txn)
        lacking = [holder_document(holder) for holder in keycard.lacking_entries(txn)]
    records = make_records(
        entry, config.global_.domains, read_pins(config), public_port(config.network.endpoints)
    )
    fault = _key_fault(config, connection)
    return OrganizationState(config, entry, states, fault, lacking, records, datetime.now(UTC))


def entry_document(entry: OrganizationEntry) -> dict[str, Any]:
    """Give an entry of the organization as a JSON document; the keys have the names that they have in DNS."""
    return {
        "domain": str(entry.domain),
        "name": entry.name,
        "index": entry.index,
        "hash": str(entry.hash),
        "fingerprint": fingerprint(entry),
        "pvk": str(entry.primary_key),
        "svk": None if entry.secondary_key is None else str(entry.secondary_key),
        "ek": str(entry.encryption_key),
        "timestamp": format_timestamp(entry.timestamp),
        "expires": str(entry.expires),
    }


def holder_document(holder: Holder) -> dict[str, Any]:
    """Give the holder of a keycard as a JSON document."""
    return {"workspace_id": str(holder.workspace), "domain": holder.domain, "user_id": holder.user_id}


def lacking_lines(
    lacking: Sequence[dict[str, Any]], title: str = "Users who need a new keycard entry"
) -> list[str]:
    """Give the users who need a new keycard entry as lines of text."""
    if not lacking:
        return []
    who = [
        f"  {one['workspace_id']}/{one['domain']}"
        + ("" if one["user_id"] is None else f"  {one['user_id']}/{one['domain']}")
        for one in lacking
    ]
    return ["", f"{title} ({len(who)}):", "", *who]


def _key_fault(config: Config, connection: Connection) -> str | None:
    try:
        unfinished = is_unfinished(config, connection)
    except KeyringFault as fault:
        return str(fault)
    return "a change of it was interrupted: run `mensagod org rekey` to complete it" if unfinished else None
