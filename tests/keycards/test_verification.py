"""Whole cards: chains, anchors, the day of slack, and what a revoked organization key takes with it."""

import weakref
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mensagod.keycards.entries import Entry, OrganizationEntry, UserEntry
from mensagod.keycards.errors import (
    BadKeycardData,
    InvalidSignature,
    KeycardFault,
    NoncompliantKeycard,
    RevokedOrganizationKey,
)
from mensagod.keycards.links import check_successor
from mensagod.keycards.making import (
    OrganizationKeys,
    UserKeys,
    countersign,
    finish_user,
    make_user_root,
    revoke_organization,
    revoke_user,
    rotate_organization,
    rotate_user,
    sign_user,
)
from mensagod.keycards.organizations import OrganizationHistory
from mensagod.keycards.signatures import add_hash, add_signature
from mensagod.keycards.verification import Verification, verify_card
from tests.keycards.cards import (
    DAY,
    DOMAIN,
    START,
    WORKSPACE,
    Organization,
    User,
    organization_keys,
    signing_pair,
    user_keys,
)

LATER = START + 10 * DAY


def judge(user: User, now: datetime = LATER) -> Verification:
    history = OrganizationHistory.from_entries(user.organization.card)
    return verify_card(user.card, now, history)


def conditions(verification: Verification) -> list[list[type[KeycardFault]]]:
    return [[fault.condition for fault in report.faults] for report in verification.reports]


class SequenceTests(SynchronousTestCase):
    """Cards made by any sequence of rotations and revocations."""

    @given(
        st.lists(
            st.tuples(st.sampled_from(["rotate", "revoke"]), st.booleans(), st.integers(0, 60)), max_size=10
        )
    )
    @settings(max_examples=60, deadline=None)
    def test_any_sequence(self, steps: list[tuple[str, bool, int]]) -> None:
        """The organization verifies; a user's entry does, unless the key that signed it was revoked since."""
        organization = Organization()
        user = User(organization)
        signers = [1]
        now = START
        for action, is_user, hours in steps:
            now += timedelta(hours=hours)
            getattr(user if is_user else organization, action)(now)
            if is_user:
                signers.append(organization.current.index)
        revoked = {entry.index - 1 for entry in organization.card if entry.revokes is not None}

        self.assertTrue(verify_card(organization.card, now).is_usable)
        verification = judge(user, now)
        expected = [[RevokedOrganizationKey] if signer in revoked else [] for signer in signers]
        self.assertEqual(conditions(verification), expected)
        self.assertEqual(verification.verifies, not any(expected))
        self.assertEqual(verification.is_usable, not expected[-1])
        self.assertEqual(verification.current, user.current)

    def test_every_byte_counts(self) -> None:
        """One byte changed anywhere in any entry, and the card does not verify."""
        organization = Organization()
        user = User(organization)
        organization.rotate(START)
        user.rotate(START)
        history = OrganizationHistory.from_entries(organization.card)
        for card in (organization.card, user.card):
            first, second = (entry.text for entry in card)
            for place in range(len(second)):
                other = second[:place] + chr(ord(second[place]) ^ (1 + place % 127)) + second[place + 1 :]
                self.assertFalse(verify_card([first, other], LATER, history).verifies, (place, other[place]))

    @given(st.data())
    @settings(deadline=None)
    def test_any_byte_of_any_entry(self, data: st.DataObject) -> None:
        """The same with any byte for any other, in bytes that may then be no text."""
        organization = Organization()
        organization.revoke(START)
        texts = [entry.text for entry in organization.card]
        number = data.draw(st.integers(0, 1))
        raw = bytearray(texts[number].encode())
        place = data.draw(st.integers(0, len(raw) - 1))
        raw[place] ^= data.draw(st.integers(1, 255))
        texts[number] = raw.decode("utf-8", "surrogateescape")
        self.assertFalse(verify_card(texts, LATER).verifies)


class LinkTests(SynchronousTestCase):
    """What may follow what."""

    def setUp(self) -> None:
        self.organization = Organization()
        self.user = User(self.organization)
        self.fresh = user_keys(2)
        self.old = self.user.keys[0].contact_signing

    def finish(self, base: UserEntry, keys: UserKeys, previous: UserEntry | None = None) -> UserEntry:
        signer = self.organization.keys[-1].primary
        entry = countersign(base, signer, self.organization.current, previous or self.user.current)
        return sign_user(entry, keys)

    def faults(self, *entries: Entry | str) -> list[list[type[KeycardFault]]]:
        history = OrganizationHistory.from_entries(self.organization.card)
        return conditions(verify_card([*self.user.card, *entries], LATER, history))

    def rotation(self, **changes: str) -> UserEntry:
        more = {name.replace("_", "-"): value for name, value in changes.items()}
        base = rotate_user(self.user.current, self.old, self.fresh, START, more)
        return self.finish(base, self.fresh)

    def test_index(self) -> None:
        """The Index grows by exactly one, and begins with one."""
        self.assertEqual(self.faults(self.rotation()), [[], []])
        self.assertEqual(self.faults(self.rotation(Index="3")), [[], [NoncompliantKeycard]])
        history = OrganizationHistory.from_entries(self.organization.card)
        alone = verify_card([self.rotation()], LATER, history)
        self.assertEqual(conditions(alone), [[NoncompliantKeycard]])

    def test_owner(self) -> None:
        """Domain and workspace never change; letters in upper case are no change."""
        other = "5518bf6c-000b-4bb3-8111-316e72030468"
        self.assertEqual(self.faults(self.rotation(Domain="example.org")), [[], [BadKeycardData]])
        self.assertEqual(self.faults(self.rotation(Workspace_ID=other)), [[], [BadKeycardData]])
        self.assertEqual(self.faults(self.rotation(Domain="Example.COM")), [[], []])

    def test_other_type(self) -> None:
        """An organization's entry in a user's card is another owner's."""
        self.organization.rotate(START)
        self.assertIn(BadKeycardData, self.faults(self.organization.current)[1])

    def test_previous_hash(self) -> None:
        """Previous-Hash is that of the very entry before."""
        base = rotate_user(self.user.current, self.old, self.fresh, START)
        other = User(self.organization, START + DAY).current
        self.assertEqual(
            self.faults(self.finish(base, self.fresh, previous=other)), [[], [NoncompliantKeycard]]
        )

    def test_custody(self) -> None:
        """Only the old key hands over."""
        base = rotate_user(self.user.current, self.old, self.fresh, START)
        forged = add_signature(base, "Custody-Signature", signing_pair("thief"))
        self.assertEqual(self.faults(self.finish(forged, self.fresh)), [[], [InvalidSignature]])

    def test_new_signing_key(self) -> None:
        """A rotation has a new signing key; other keys may stay."""
        same = evolve(self.fresh, contact_signing=self.old)
        base = rotate_user(self.user.current, self.old, same, START)
        self.assertEqual(self.faults(self.finish(base, same)), [[], [NoncompliantKeycard]])
        kept = evolve(self.fresh, encryption=self.user.keys[0].encryption)
        base = rotate_user(self.user.current, self.old, kept, START)
        self.assertEqual(self.faults(self.finish(base, kept)), [[], []])

    def test_revocation(self) -> None:
        """A revocation names the entry before it and has new keys only."""
        base = revoke_user(self.user.current, self.fresh, START)
        self.assertEqual(self.faults(self.finish(base, self.fresh)), [[], []])
        kept = evolve(self.fresh, signing=self.user.keys[0].signing)
        base = revoke_user(self.user.current, kept, START)
        self.assertEqual(self.faults(self.finish(base, kept)), [[], [NoncompliantKeycard]])
        other = User(self.organization, START + DAY).current
        base = revoke_user(other, self.fresh, START)
        entry = self.finish(base, self.fresh, previous=other)
        self.assertEqual(self.faults(entry), [[], [NoncompliantKeycard, NoncompliantKeycard]])

    def test_secondary_key(self) -> None:
        """After an organization's rotation the old primary key is the secondary one."""
        organization = self.organization
        fresh = organization_keys(2)
        rotated = rotate_organization(organization.current, organization.keys[0].primary, fresh, START)
        self.assertTrue(verify_card([*organization.card, rotated], LATER).verifies)
        fields = {name: rotated.fields[name] for name in rotated.fields if not name.startswith("Secondary")}
        entry = add_signature(
            OrganizationEntry.from_fields(fields), "Custody-Signature", organization.keys[0].primary
        )
        entry = add_signature(add_hash(entry), "Organization-Signature", fresh.primary)
        faults = conditions(verify_card([*organization.card, entry], LATER))
        self.assertEqual(faults, [[], [NoncompliantKeycard]])

    def test_base_entries(self) -> None:
        """A base entry is checked against the current one before it has a Previous-Hash."""
        current = self.user.current
        check_successor(make_user_root(self.fresh, WORKSPACE, DOMAIN, START), None)
        check_successor(rotate_user(current, self.old, self.fresh, START), current)
        check_successor(revoke_user(current, self.fresh, START), current)
        self.assertRaises(
            NoncompliantKeycard,
            check_successor,
            make_user_root(self.fresh, WORKSPACE, DOMAIN, START),
            current,
        )
        self.assertRaises(
            NoncompliantKeycard, check_successor, rotate_user(current, self.old, self.fresh, START), None
        )

    def test_unreadable(self) -> None:
        """An entry that cannot be read, or is incomplete, is reported, and what follows it has no link."""
        rotation = self.rotation()
        unsigned = {name: value for name, value in rotation.fields.items() if name != "User-Signature"}
        for broken in ("nonsense", UserEntry.from_fields(unsigned)):
            faults = self.faults(broken, rotation)
            self.assertEqual(len(faults[1]), 1)
            self.assertEqual(faults[2], [NoncompliantKeycard])

    def test_reports(self) -> None:
        """A report says where the entry stood and what Index it claims."""
        history = OrganizationHistory.from_entries(self.organization.card)
        verification = verify_card([*self.user.card, self.rotation(Index="7"), "nonsense"], LATER, history)
        self.assertEqual(
            [(report.place, report.index) for report in verification.reports], [(1, 1), (2, 7), (3, None)]
        )
        self.assertEqual([report.verifies for report in verification.reports], [True, False, False])
        self.assertIsNone(verification.current)
        self.assertFalse(verification.is_usable)

    def test_part_of_a_card(self) -> None:
        """A card can be verified on from an entry that was verified before."""
        self.user.rotate(START)
        self.user.rotate(START)
        history = OrganizationHistory.from_entries(self.organization.card)
        first, *rest = self.user.card
        self.assertTrue(verify_card(rest, LATER, history, after=first).is_usable)
        self.assertFalse(verify_card(rest[1:], LATER, history, after=first).verifies)


class TimeTests(SynchronousTestCase):
    """What depends on the stated time."""

    def test_expiry(self) -> None:
        """An expired card still verifies, but is of no use."""
        user = User(Organization())
        end = datetime.combine(user.current.expires, START.timetz())
        self.assertTrue(judge(user, end).is_usable)
        verification = judge(user, end + DAY)
        self.assertTrue(verification.verifies)
        self.assertTrue(verification.is_expired)
        self.assertFalse(verification.is_usable)

    def test_future(self) -> None:
        """An entry made more than a day ahead of now does not verify yet."""
        organization = Organization()
        self.assertTrue(verify_card(organization.card, START - DAY).verifies)
        early = verify_card(organization.card, START - DAY - timedelta(seconds=1))
        self.assertEqual(conditions(early), [[NoncompliantKeycard]])

    def test_nothing(self) -> None:
        """No entries are no card."""
        verification = verify_card([], LATER)
        self.assertFalse(verification.verifies)
        self.assertFalse(verification.is_usable)
        self.assertIsNone(verification.first_fault)
        self.assertRaises(BadKeycardData, verification.require)
        self.assertIsNone(verify_card([], LATER, after=Organization().current).current)

    def test_require(self) -> None:
        """The first fault can be raised as the condition that it is."""
        organization = Organization()
        verify_card(organization.card, LATER).require()
        text = organization.current.text.replace("Example", "Elsewhere")
        error = self.assertRaises(NoncompliantKeycard, verify_card([text], LATER).require)
        self.assertEqual(error.info, "The Hash does not match the entry")

    def test_one_entry_at_a_time(self) -> None:
        """Of a long card only the entries being compared are held."""
        organization = Organization()
        for _ in range(20):
            organization.rotate(START)
        texts = [entry.text for entry in organization.card]
        seen: list[weakref.ref[Entry]] = []

        def read() -> Iterator[Entry]:
            for text in texts:
                alive = sum(reference() is not None for reference in seen)
                self.assertLessEqual(alive, 2)
                entry = Entry.from_text(text)
                seen.append(weakref.ref(entry))
                yield entry
                del entry

        self.assertTrue(verify_card(read(), LATER).verifies)


class OrganizationHistoryTests(SynchronousTestCase):
    """Whose signature counts for a user's entry, and when."""

    def setUp(self) -> None:
        self.organization = Organization()

    def entry_at(
        self, moment: datetime, signer: int, *, index: int = 2, anchor: int | None = None
    ) -> UserEntry:
        """Make a user's entry of that time, signed by the organization's key of that number."""
        keys = user_keys(1)
        more = {"Index": str(index), "Expires": f"{moment:%Y-%m-%d}"}
        base = make_user_root(
            keys, WORKSPACE, DOMAIN, START, {**more, "Timestamp": f"{moment:%Y-%m-%dT%H:%M:%SZ}"}
        )
        entry = add_signature(base, "Organization-Signature", self.organization.keys[signer].primary)
        link = self.organization.card[signer if anchor is None else anchor].hash
        return sign_user(add_hash(entry.with_line("Previous-Hash", link)), keys)

    def check(self, entry: UserEntry) -> None:
        OrganizationHistory.from_entries(self.organization.card).check_signature(entry)

    def test_slack(self) -> None:
        """A key counts from a day before it became current to a day after it ceased to be."""
        change = START + 30 * DAY
        second = timedelta(seconds=1)
        self.organization.rotate(change)
        self.check(self.entry_at(START - DAY, 0))
        self.check(self.entry_at(change + DAY, 0))
        self.check(self.entry_at(change - DAY, 1))
        self.check(self.entry_at(change + 1000 * DAY, 1))
        for entry in (
            self.entry_at(START - DAY - second, 0),
            self.entry_at(change + DAY + second, 0),
            self.entry_at(change - DAY - second, 1),
        ):
            self.assertRaises(InvalidSignature, self.check, entry)

    def test_anchor(self) -> None:
        """A first entry is signed with the key of the very entry that its Previous-Hash names."""
        self.organization.rotate(START)
        self.check(self.entry_at(START, 0, index=1))
        self.check(self.entry_at(START, 1, index=1))
        crossed = self.entry_at(START, 1, index=1, anchor=0)
        self.assertRaises(InvalidSignature, self.check, crossed)

    def test_anchor_of_another_time(self) -> None:
        """Nor is one that was not current when the first entry was made."""
        self.organization.rotate(START + 30 * DAY)
        for moment, signer in ((START + 40 * DAY, 0), (START + 20 * DAY, 1)):
            self.check(self.entry_at(moment, 1 - signer, index=1))
            other = self.entry_at(moment, signer, index=1)
            self.assertRaises(InvalidSignature, self.check, other)

    def test_unknown_anchor(self) -> None:
        """A first entry that names no entry of the organization has no anchor, whoever signed it."""
        entry = self.entry_at(START, 0, index=1)
        other = entry.with_line("Previous-Hash", entry.hash)
        self.assertRaises(NoncompliantKeycard, self.check, other)
        fields = {name: value for name, value in entry.fields.items() if name != "Previous-Hash"}
        self.assertRaises(NoncompliantKeycard, self.check, UserEntry.from_fields(fields))

    def test_revoked(self) -> None:
        """A revoked key's signatures are void, of whatever date; the keys before it and after it stand."""
        self.organization.rotate(START + 5 * DAY)
        self.organization.revoke(START + 10 * DAY)
        for index in (1, 2):
            self.check(self.entry_at(START, 0, index=index))
            revoked = self.entry_at(START + 6 * DAY, 1, index=index)
            self.assertRaises(RevokedOrganizationKey, self.check, revoked)
            self.check(self.entry_at(START + 10 * DAY, 2, index=index))

    def test_ends_of_time(self) -> None:
        """The first and the last time that a Timestamp can name are only times."""
        first, last = datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
        self.check(self.entry_at(last, 0))
        entry = self.entry_at(START, 0).with_line("Timestamp", "0001-01-01T00:00:00Z")
        self.assertEqual(entry.timestamp, first)
        self.assertRaises(InvalidSignature, self.check, entry)

    def test_clock_set_back(self) -> None:
        """An organization's entry dated before the one it follows counts from that one's time."""
        self.organization.rotate(START - 5 * DAY)
        history = OrganizationHistory.from_entries(self.organization.card)
        self.assertEqual([period.since for period in history.periods], [START, START])

    def test_many_rotations(self) -> None:
        """Of very many keys in the same days only the newest are tried."""
        for _ in range(20):
            self.organization.rotate(START)
        self.check(self.entry_at(START, 20))
        self.check(self.entry_at(START, 5))
        self.assertRaises(InvalidSignature, self.check, self.entry_at(START, 4))
        self.check(self.entry_at(START, 0, index=1))

    def test_no_organization(self) -> None:
        """Without the organization's card a user's card does not verify."""
        user = User(self.organization)
        self.assertEqual(conditions(verify_card(user.card, LATER)), [[NoncompliantKeycard]])

    def test_new_entry_after_revocation(self) -> None:
        """After ``org revoke`` a user's card is of no use until a new entry of theirs is signed anew."""
        user = User(self.organization)
        self.organization.revoke(START + DAY)
        self.assertFalse(judge(user).is_usable)
        self.assertTrue(judge(user).reports[0].is_superseded)
        user.rotate(START + 2 * DAY)
        verification = judge(user)
        self.assertFalse(verification.verifies)
        self.assertTrue(verification.is_usable)
        self.assertEqual([report.is_superseded for report in verification.reports], [True, False])


class MakingTests(SynchronousTestCase):
    """Making refuses the wrong private keys, and takes what the client brings."""

    def test_wrong_pairs(self) -> None:
        """A pair that does not belong to the entry is the caller's mistake."""
        organization = Organization()
        user = User(organization)
        thief, fresh = signing_pair("thief"), user_keys(2)
        self.assertRaises(
            ValueError, rotate_organization, organization.current, thief, OrganizationKeys(), START
        )
        self.assertRaises(ValueError, rotate_user, user.current, thief, fresh, START)
        base = revoke_user(user.current, fresh, START)
        self.assertRaises(ValueError, countersign, base, thief, organization.current, user.current)
        self.assertRaises(ValueError, sign_user, base, user_keys(3))

    def test_finish(self) -> None:
        """A client may take another hash; a Previous-Hash of its own is put in and then judged."""
        organization = Organization()
        keys = user_keys(1)
        base = make_user_root(keys, WORKSPACE, DOMAIN, START)
        signed = countersign(base, organization.keys[0].primary, organization.current, None)
        other = add_hash(signed, "SHA3-512")
        whole = sign_user(other, keys)
        link = organization.current.hash
        finished = finish_user(signed, whole.authentication("User-Signature"), other.hash, link)
        self.assertEqual(finished, whole)
        history = OrganizationHistory.from_entries(organization.card)
        self.assertTrue(verify_card([finished], LATER, history).is_usable)

    def test_inherited(self) -> None:
        """A new entry keeps what is not said anew; times are new."""
        organization = Organization()
        first = organization.current
        fresh = OrganizationKeys()
        changed = {"Contact-Support": "ae406c5e-2673-4d3e-af20-91325d9623ca/example.com", "Time-To-Live": "7"}
        pair = organization.keys[0].primary
        second = rotate_organization(first, pair, fresh, LATER, changed)
        third = revoke_organization(second, OrganizationKeys(), LATER)
        self.assertEqual((third.name, third.admin, third.time_to_live), (first.name, first.admin, 7))
        self.assertEqual(third.support, second.support)
        self.assertEqual(second.expires - first.expires, LATER.date() - START.date())
        self.assertIsNone(third.secondary_key)
        self.assertTrue(verify_card([first, second, third], LATER).is_usable)
