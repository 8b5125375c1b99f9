"""The sealed parts of a tag (spec 05, *Delivery tag*)."""

import json

from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mensagod.crypto.cryptostring import CryptoString
from mensagod.crypto.sealing import EncryptionKey, EncryptionPair
from mensagod.delivery.labels import (
    BadLabelAddress,
    ReceiverPart,
    SenderPart,
    UnreadableLabel,
    open_receiver,
    open_sender,
)
from mensagod.status import Status
from mensagod.values.identity import Domain, MAddress
from tests.delivery.samples import RECIPIENT, SENDER, TAG

RECEIVER_PART = ReceiverPart(RECIPIENT, SENDER.domain)
SENDER_PART = SenderPart(SENDER, RECIPIENT.domain)


def label(**members: object) -> str:
    """Give the text of a label."""
    return json.dumps({name.rstrip("_"): value for name, value in members.items()})


class FormTests(SynchronousTestCase):
    """Labels are written in the newest form and read in all."""

    def test_newest_form(self) -> None:
        """Addresses and domains are objects."""
        self.assertEqual(
            str(RECEIVER_PART),
            '{"to":{"id":{"value":"22222222-2222-2222-2222-222222222222"},"domain":{"value":"example.net"}},'
            '"senderDom":{"value":"example.com"}}',
        )
        self.assertEqual(
            str(SENDER_PART),
            '{"from":{"id":{"value":"11111111-1111-1111-1111-111111111111"},"domain":{"value":"example.com"}},'
            '"recipientDom":{"value":"example.net"}}',
        )
        self.assertEqual(ReceiverPart.from_text(str(RECEIVER_PART)), RECEIVER_PART)
        self.assertEqual(SenderPart.from_text(str(SENDER_PART)), SENDER_PART)

    def test_drafts(self) -> None:
        """Addresses and domains as strings, members in the older spelling."""
        text = label(To=str(RECIPIENT), SenderDomain="Example.COM")
        self.assertEqual(ReceiverPart.from_text(text), RECEIVER_PART)
        text = label(From=str(SENDER), RecipientDomain="example.net")
        self.assertEqual(SenderPart.from_text(text), SENDER_PART)

    def test_user_ids(self) -> None:
        """A recipient may be named by user ID, in either form."""
        to = MAddress.from_text("csimons/example.net")
        part = ReceiverPart(to, SENDER.domain)
        self.assertEqual(ReceiverPart.from_text(str(part)), part)
        self.assertEqual(
            ReceiverPart.from_text(label(to="csimons/example.net", senderDom="example.com")), part
        )

    def test_mixed_forms(self) -> None:
        """The parts of an address may be strings inside of an object."""
        text = label(to={"id": str(RECIPIENT.id).upper(), "domain": "example.net"}, senderDom="example.com")
        self.assertEqual(ReceiverPart.from_text(text), RECEIVER_PART)


class RefusalTests(SynchronousTestCase):
    """What cannot be read is told apart from a bad address: reports give 504 or 503."""

    def test_statuses(self) -> None:
        """Each error has the status that a report gives."""
        self.assertEqual(UnreadableLabel.status, Status.UNREADABLE_RECIPIENT_ADDRESS)
        self.assertEqual(BadLabelAddress.status, Status.BAD_RECIPIENT_ADDRESS)

    def test_unreadable(self) -> None:
        """Texts without the form of a label."""
        for text in (
            "",
            "[]",
            "{}",
            label(to=str(RECIPIENT)),
            label(senderDom="example.com"),
            label(to=5, senderDom="example.com"),
            label(to=[str(RECIPIENT)], senderDom="example.com"),
            label(to=str(RECIPIENT), senderDom=None),
            label(to={"id": {"value": 1}, "domain": {"value": "example.net"}}, senderDom="example.com"),
            label(to=str(RECIPIENT), TO=str(RECIPIENT), senderDom="example.com"),
            label(to=str(RECIPIENT), senderDom="example.com", senderDomain="example.org"),
        ):
            self.assertRaises(UnreadableLabel, ReceiverPart.from_text, text)

    def test_bad_addresses(self) -> None:
        """Malformed values in a label."""
        for to in ("", "x", "a b/example.net", "a/", "a/b/c", "a/..", "../../x/example.net", {}, {"id": "x"}):
            self.assertRaises(BadLabelAddress, ReceiverPart.from_text, label(to=to, senderDom="example.com"))
        for domain in ("", "EX AMPLE", "a..b", {"value": "/"}, {}):
            text = label(to=str(RECIPIENT), senderDom=domain)
            self.assertRaises(BadLabelAddress, ReceiverPart.from_text, text)

    def test_sender_is_a_workspace(self) -> None:
        """A sender is always named by workspace ID."""
        text = label(from_="csimons/example.com", recipientDom="example.net")
        self.assertRaises(BadLabelAddress, SenderPart.from_text, text)


class OpeningTests(SynchronousTestCase):
    """Labels are opened with the keys of an organization."""

    def setUp(self) -> None:
        """One organization is enough for both parts."""
        self.keys = EncryptionPair.generate()
        key = EncryptionKey.from_cryptostring(self.keys.public)
        self.tag = evolve(
            TAG,
            receiver=key.seal(str(RECEIVER_PART).encode()),
            sender=key.seal(str(SENDER_PART).encode()),
        )

    def test_open(self) -> None:
        """Each part opens to what was sealed."""
        self.assertEqual(open_receiver(self.tag, self.keys.open), RECEIVER_PART)
        self.assertEqual(open_sender(self.tag, self.keys.open), SENDER_PART)

    def test_not_ours(self) -> None:
        """A part that does not open is unreadable."""
        stranger = EncryptionPair.generate()
        self.assertRaises(UnreadableLabel, open_receiver, self.tag, stranger.open)
        self.assertRaises(UnreadableLabel, open_sender, self.tag, stranger.open)
        broken = evolve(self.tag, receiver=CryptoString("CURVE25519", "~~~~~~"))
        self.assertRaises(UnreadableLabel, open_receiver, broken, self.keys.open)

    def test_swapped(self) -> None:
        """One part is not read as the other."""
        swapped = evolve(self.tag, receiver=self.tag.sender, sender=self.tag.receiver)
        self.assertRaises(UnreadableLabel, open_receiver, swapped, self.keys.open)
        self.assertRaises(UnreadableLabel, open_sender, swapped, self.keys.open)

    def test_not_text(self) -> None:
        """A part that opens to something else than text is unreadable."""
        sealed = EncryptionKey.from_cryptostring(self.keys.public).seal(b"\xff\xfe")
        self.assertRaises(UnreadableLabel, open_receiver, evolve(self.tag, receiver=sealed), self.keys.open)


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["id", "domain", "value", "x"]), inner),
    max_leaves=8,
)


class PropertyTests(SynchronousTestCase):
    """Any text is a label or one of our two errors."""

    @given(json_values, json_values)
    @settings(max_examples=200, deadline=None)
    def test_any_json(self, address: object, domain: object) -> None:
        """Any values of the members."""
        for read, text in (
            (ReceiverPart.from_text, label(to=address, senderDom=domain)),
            (SenderPart.from_text, label(from_=address, recipientDom=domain)),
        ):
            try:
                part = read(text)
            except (UnreadableLabel, BadLabelAddress):
                continue
            self.assertEqual(read(str(part)), part)

    @given(st.text())
    @settings(deadline=None)
    def test_any_text(self, text: str) -> None:
        """No text but JSON is a label, and no user name breaks the reader."""
        self.assertRaises(UnreadableLabel, ReceiverPart.from_text, text)
        try:
            part = ReceiverPart.from_text(label(to=text, senderDom="example.com"))
        except BadLabelAddress:
            return
        self.assertEqual(part.sender_domain, Domain.from_text("example.com"))
