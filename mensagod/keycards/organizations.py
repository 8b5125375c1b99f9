"""The history of an organization's signing keys, to verify users' entries (spec 03, *Chain rules*)."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final, Self

from attrs import evolve, field, frozen

from mensagod.crypto.cryptostring import CryptoString
from mensagod.keycards.compliance import CLOCK_SLACK
from mensagod.keycards.entries import OrganizationEntry, UserEntry
from mensagod.keycards.errors import InvalidSignature, NoncompliantKeycard, RevokedOrganizationKey
from mensagod.keycards.signatures import signature_verifies

# More rotations within the two days of slack are an attempt to make others verify very many signatures.
_MOST_CANDIDATES: Final = 16


@frozen
class Period:
    """The period of one signing key, from one entry of an organization.

    :ivar since: when the key became current; never before the start of the previous period.
    :ivar revoked: whether the next entry revokes this one.
    """

    hash: CryptoString
    key: CryptoString
    since: datetime
    revoked: bool


@frozen
class OrganizationHistory:
    """The primary keys of one organization, each with its period.

    :ivar periods: one for each entry, oldest first.
    """

    periods: Sequence[Period]
    _starts: Sequence[datetime] = field(init=False, repr=False, eq=False)
    _places: dict[CryptoString, int] = field(init=False, repr=False, eq=False)

    @_starts.default
    def _all_starts(self) -> Sequence[datetime]:
        return [period.since for period in self.periods]

    @_places.default
    def _all_places(self) -> dict[CryptoString, int]:
        return {period.hash: place for place, period in enumerate(self.periods)}

    @classmethod
    def from_entries(cls, entries: Iterable[OrganizationEntry]) -> Self:
        """Collect the history of a card that **has been verified**; this does not verify it."""
        periods: list[Period] = []
        for entry in entries:
            since = entry.timestamp
            if periods:
                last = periods[-1]
                since = max(since, last.since)
                periods[-1] = Period(last.hash, last.key, last.since, entry.revokes is not None)
            periods.append(Period(entry.hash, entry.primary_key, since, revoked=False))
        return cls(tuple(periods))

    def revoked(self) -> Self:
        """Give the history as it will be after the current key is revoked."""
        return type(self)((*self.periods[:-1], evolve(self.periods[-1], revoked=True)))

    def check_signature(self, entry: UserEntry) -> None:
        """Check the Organization-Signature of a complete user entry, and the anchor of a first one.

        :raises NoncompliantKeycard: if the Previous-Hash of a first entry is no hash of this organization.
        :raises RevokedOrganizationKey: if a key made it that was revoked since.
        :raises InvalidSignature: if no key made it that was current at the entry's
            Timestamp, give or take a day; for a first entry, only the one its Previous-Hash names counts.
        """
        signer = self._signer(entry)
        if signer is None:
            raise InvalidSignature("The Organization-Signature does not verify")
        if signer.revoked:
            raise RevokedOrganizationKey("The organization has revoked the key of its Organization-Signature")

    def _signer(self, entry: UserEntry) -> Period | None:
        places = self._current_at(entry.timestamp)
        if entry.index == 1:
            anchor = self._anchor(entry)
            places = range(anchor, anchor + 1) if anchor in places else range(0)
        for place in reversed(places[-_MOST_CANDIDATES:]):
            if signature_verifies(entry, "Organization-Signature", self.periods[place].key):
                return self.periods[place]
        return None

    def _anchor(self, entry: UserEntry) -> int:
        place = None if entry.previous_hash is None else self._places.get(entry.previous_hash)
        if place is None:
            raise NoncompliantKeycard("Previous-Hash is not the hash of an entry of the organization")
        return place

    def _current_at(self, moment: datetime) -> range:
        """Give the places of the periods that ``moment`` may lie in."""
        first = bisect_left(self._starts, _moved(moment, -CLOCK_SLACK)) - 1
        return range(max(0, first), bisect_right(self._starts, _moved(moment, CLOCK_SLACK)))


def _moved(moment: datetime, by: timedelta) -> datetime:
    try:
        return moment + by
    except OverflowError:
        # The first or last day that a Timestamp can have: such an entry is not genuine.
        return moment
