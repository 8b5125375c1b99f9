"""Verifying a whole card, entry by entry, at a given time (spec 03, *Chain rules*)."""

from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import Final, Self

from attrs import frozen

from mensagod.keycards import links
from mensagod.keycards.compliance import CLOCK_SLACK, check_complete
from mensagod.keycards.entries import Entry, UserEntry
from mensagod.keycards.errors import BadKeycardData, KeycardFault, NoncompliantKeycard, RevokedOrganizationKey
from mensagod.keycards.organizations import OrganizationHistory
from mensagod.keycards.signatures import check_hash, check_own_signature

NamedCheck = tuple[str, Callable[[], None]]

_FORM: Final = "Form"
"""The name of the check that an entry can be parsed, is complete, and has values in range."""


@frozen
class Fault:
    """A fault of an entry.

    :ivar condition: the class of the error, which has the status.
    :ivar info: a sentence for people.
    """

    condition: type[KeycardFault]
    info: str

    @classmethod
    def of(cls, error: KeycardFault) -> Self:
        """Make one from an exception, without its traceback."""
        return cls(type(error), error.info)

    def to_condition(self) -> KeycardFault:
        """Make the exception for this fault."""
        return self.condition(self.info)


@frozen
class Check:
    """The result of one check of an entry.

    :ivar name: the line that was checked, or the subject of the check.
    :ivar fault: None if the entry passed.
    """

    name: str
    fault: Fault | None


@frozen
class EntryReport:
    """The results of the checks of one entry of a card.

    :ivar place: the entry's position among the verified ones, from 1.
    :ivar index: its Index; None if the entry cannot be parsed or is incomplete.
    """

    place: int
    index: int | None
    checks: tuple[Check, ...]

    @property
    def faults(self) -> tuple[Fault, ...]:
        """The faults of the entry."""
        return tuple(check.fault for check in self.checks if check.fault is not None)

    @property
    def verifies(self) -> bool:
        """Whether the entry has no faults."""
        return not self.faults

    @property
    def is_superseded(self) -> bool:
        """Whether its only fault is that the organization has revoked the key that signed it."""
        return bool(self.faults) and all(fault.condition is RevokedOrganizationKey for fault in self.faults)


@frozen
class Verification:
    """The result of verifying a card.

    :ivar reports: one for each entry, in the order given.
    :ivar current: the last entry, if it can be read.
    :ivar is_expired: whether the current entry is past its Expires; this is no fault of the card.
    """

    reports: tuple[EntryReport, ...]
    current: Entry | None
    is_expired: bool

    @property
    def verifies(self) -> bool:
        """Whether there are entries, and none has a fault (spec 03, *A keycard verifies when*)."""
        return bool(self.reports) and all(report.verifies for report in self.reports)

    @property
    def is_usable(self) -> bool:
        """Whether the current entry may be trusted and used now.

        It verifies and has not expired, and the only fault of earlier entries is that the organization has
        revoked the key that signed them. This is the state after ``org revoke`` and the user's new entry.
        """
        return (
            bool(self.reports)
            and self.reports[-1].verifies
            and not self.is_expired
            and all(report.verifies or report.is_superseded for report in self.reports)
        )

    @property
    def first_fault(self) -> Fault | None:
        """The first fault, in the order of the entries."""
        return next((fault for report in self.reports for fault in report.faults), None)

    def require(self) -> None:
        """Raise the first fault, if there is one.

        :raises KeycardFault: also for no entries at all.
        """
        if not self.reports:
            raise BadKeycardData("A card has at least one entry")
        if self.first_fault is not None:
            raise self.first_fault.to_condition()


class CardVerifier:
    """Verifies a card one entry after the other, and keeps only the last.

    :param now: the time to verify at, aware.
    :param organization: the history of the user's organization, from its verified
        card. Without it no Organization-Signature of a user verifies.
    :param after: the entry before the first one given, verified earlier; None if the card begins.
    """

    def __init__(
        self, now: datetime, organization: OrganizationHistory | None = None, after: Entry | None = None
    ):
        self._now = now
        self._organization = organization
        self._previous = after
        self._broken = False
        self._count = 0

    @property
    def current(self) -> Entry | None:
        """The last entry given, if it can be read and there is one."""
        return None if self._broken else self._previous

    def check(self, entry: Entry | str) -> EntryReport:
        """Verify the next entry, which may be a text that cannot be parsed."""
        self._count += 1
        try:
            parsed = Entry.from_text(entry) if isinstance(entry, str) else entry
            check_complete(parsed)
        except KeycardFault as fault:
            self._broken = True
            return EntryReport(self._count, None, (Check(_FORM, Fault.of(fault)),))
        checks = tuple(_perform(self._checks(parsed)))
        self._broken, self._previous = False, parsed
        return EntryReport(self._count, parsed.index, (Check(_FORM, None), *checks))

    def _checks(self, entry: Entry) -> Iterator[NamedCheck]:
        yield "Timestamp", lambda: self._check_moment(entry)
        yield "Hash", lambda: check_hash(entry)
        yield entry.schema.own_signature, lambda: check_own_signature(entry)
        yield from self._link_checks(entry, self._previous)
        if isinstance(entry, UserEntry):
            yield "Organization-Signature", lambda: self._check_organization(entry)

    def _link_checks(self, entry: Entry, previous: Entry | None) -> Iterator[NamedCheck]:
        if self._broken:
            yield "Previous entry", _refuse_gap
            return
        yield "Index", lambda: links.check_index(entry, previous)
        if previous is not None:
            yield "Owner", lambda: links.check_owner(entry, previous)
            yield "Previous-Hash", lambda: links.check_previous_hash(entry, previous)
            yield "New keys", lambda: links.check_new_keys(entry, previous)
            custody = "Custody-Signature" if entry.revokes is None else "Revoke"
            yield custody, lambda: links.check_custody(entry, previous)

    def _check_moment(self, entry: Entry) -> None:
        if entry.timestamp > self._now + CLOCK_SLACK:
            raise NoncompliantKeycard("Timestamp lies in the future")

    def _check_organization(self, entry: UserEntry) -> None:
        if self._organization is None:
            raise NoncompliantKeycard("No organization's card to verify the Organization-Signature with")
        self._organization.check_signature(entry)


def verify_card(
    entries: Iterable[Entry | str],
    now: datetime,
    organization: OrganizationHistory | None = None,
    after: Entry | None = None,
) -> Verification:
    """Verify a card; if entries is an iterator, only one of them is in memory at a time.

    The caller checks the owner of the card, and that an organization's current keys are those in DNS
    (spec 03, *Trust in a remote server*).

    :param entries: entries or their texts, which may be malformed.
    :param now: the time to verify at, aware.
    :param organization: see :class:`CardVerifier`; needed for a user's card.
    :param after: the entry before the first one, verified earlier, if these are not all.
    """
    verifier = CardVerifier(now, organization, after)
    reports = tuple(verifier.check(entry) for entry in entries)
    current = verifier.current if reports else None
    is_expired = current is not None and current.is_expired(now.astimezone(UTC).date())
    return Verification(reports, current, is_expired)


def _perform(checks: Iterable[NamedCheck]) -> Iterator[Check]:
    for name, check in checks:
        try:
            check()
        except KeycardFault as fault:
            yield Check(name, Fault.of(fault))
        else:
            yield Check(name, None)


def _refuse_gap() -> None:
    raise NoncompliantKeycard("The entry before it does not count, so nothing leads to this one")
