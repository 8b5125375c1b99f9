"""The report on a keycard, entry by entry, as JSON and as text (spec 03, *Chain rules*)."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Self

from attrs import frozen

from mensagod.installation.faults import InstallationFault
from mensagod.keycards.entries import Entry, OrganizationEntry, UserEntry
from mensagod.keycards.errors import KeycardFault
from mensagod.keycards.organizations import OrganizationHistory
from mensagod.keycards.signatures import fingerprint
from mensagod.keycards.verification import EntryReport, Verification, verify_card
from mensagod.values.identity import Domain, WAddress
from mensagod.values.times import format_timestamp

_WIDTH = 24
_SUPERSEDED = (
    "The card can be used: its current entry verifies. Earlier entries do not verify only because the"
    " organization has revoked the key that signed them."
)


@frozen
class UsableHistory:
    """The signing keys of an organization, from its verified card, to verify the cards of its users.

    :ivar domains: the domains of these users.
    """

    history: OrganizationHistory
    domains: Sequence[Domain]

    @classmethod
    def of(cls, texts: Sequence[str], now: datetime, domains: Sequence[Domain] = ()) -> Self:
        """Verify an organization's card.

        :param domains: the organization's domains; empty for only the domain in the card.
        :raises InstallationFault: if the card does not verify, or is a user's.
        """
        verification = verify_card(texts, now)
        fault = verification.first_fault
        if fault is not None:
            raise InstallationFault(f"The organization's keycard does not verify: {_printable(fault.info)}")
        current = verification.current
        if not isinstance(current, OrganizationEntry):
            raise InstallationFault(
                "The organization's keycard is the keycard of a user: give the right file"
            )
        entries = map(OrganizationEntry.from_text, texts)
        return cls(OrganizationHistory.from_entries(entries), tuple(domains) or (current.domain,))


@frozen
class CardReport:
    """The result of verifying a card.

    :ivar entries: the entries; ``None`` for each that cannot be parsed.
    :ivar foreign: whether the given organization's card is that of another domain.
    """

    now: datetime
    entries: Sequence[Entry | None]
    verification: Verification
    foreign: bool

    @classmethod
    def of(cls, texts: Sequence[str], now: datetime, organization: UsableHistory | None) -> Self:
        """Verify a card."""
        entries = [_readable(text) for text in texts]
        users = [entry for entry in entries if isinstance(entry, UserEntry) and "Domain" in entry.fields]
        foreign = organization is not None and any(
            entry.domain not in organization.domains for entry in users
        )
        history = None if organization is None or foreign else organization.history
        return cls(now, entries, verify_card(texts, now, history), foreign)

    @property
    def is_good(self) -> bool:
        """Whether the card verifies, or can at least be used now."""
        return self.verification.verifies or self.verification.is_usable

    @property
    def summary(self) -> list[str]:
        """The result for the whole card, in sentences."""
        verification = self.verification
        lines = ["The card verifies." if verification.verifies else "The card does not verify."]
        if not verification.verifies and verification.is_usable:
            lines = [_SUPERSEDED]
        if self.foreign:
            lines.append("The given organization's keycard is that of another domain.")
        if verification.is_expired and verification.current is not None:
            lines.append(f"The card must not be used: it expired on {verification.current.expires}.")
        return lines

    def as_document(self) -> dict[str, Any]:
        """Give the report as a JSON document."""
        verification = self.verification
        current = verification.current
        return {
            "owner": None if current is None else _owner(current),
            "at": format_timestamp(self.now),
            "verifies": verification.verifies,
            "usable": verification.is_usable,
            "expired": verification.is_expired,
            "expires": None if current is None else str(current.expires),
            "fingerprint": None if current is None else fingerprint(current),
            "summary": self.summary,
            "entries": [
                _entry_document(entry, report)
                for entry, report in zip(self.entries, verification.reports, strict=True)
            ],
        }

    def as_lines(self) -> list[str]:
        """Give the report as lines of text."""
        lines: list[str] = []
        for entry, report in zip(self.entries, self.verification.reports, strict=True):
            lines += [f"Entry {report.place} of {len(self.entries)}", *_entry_lines(entry, report), ""]
        current = self.verification.current
        if current is not None:
            lines += [f"Owner        {_owner(current)}", f"Fingerprint  {fingerprint(current)}", ""]
        return [*lines, *self.summary]


def _readable(text: str) -> Entry | None:
    try:
        return Entry.from_text(text)
    except KeycardFault:
        return None


def _owner(entry: Entry) -> str:
    owner: Domain | WAddress = entry.owner
    return str(owner)


def _entry_document(entry: Entry | None, report: EntryReport) -> dict[str, Any]:
    return {
        "place": report.place,
        "index": report.index,
        "verifies": report.verifies,
        "fields": None if entry is None else dict(entry.fields),
        "fingerprint": None if entry is None or report.index is None else fingerprint(entry),
        "checks": [
            {
                "check": check.name,
                "verifies": check.fault is None,
                "code": None if check.fault is None else int(check.fault.condition.status),
                "info": None if check.fault is None else check.fault.info,
            }
            for check in report.checks
        ],
    }


def _entry_lines(entry: Entry | None, report: EntryReport) -> list[str]:
    lines = []
    if entry is not None:
        lines += [f"    {name}: {_printable(value)}" for name, value in entry.fields.items()]
        lines += [f"    Fingerprint: {fingerprint(entry)}"] if report.index is not None else []
    for check in report.checks:
        if check.fault is None:
            lines.append(f"  {'ok':<8}{check.name}")
        else:
            code = int(check.fault.condition.status)
            lines.append(f"  {'WRONG':<8}{check.name:<{_WIDTH}}{_printable(check.fault.info)} ({code})")
    return lines


def _printable(value: str) -> str:
    """Escape control characters and others that a terminal does not print."""
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in value)
