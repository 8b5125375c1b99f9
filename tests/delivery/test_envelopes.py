"""Envelopes: the head is enough to route them, the payload is the recipient's (spec 05, *Envelope*)."""

import json
import sys
from datetime import UTC, datetime
from typing import Any

from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mensagod.crypto.cryptostring import CryptoString
from mensagod.crypto.hashing import hash_key
from mensagod.crypto.sealing import EncryptionPair, SealBroken
from mensagod.delivery.envelopes import (
    HEAD_LIMIT,
    PREAMBLE_LIMIT,
    TAG_LIMIT,
    compose,
    open_payload,
    read_head,
    read_tag,
    seal_message,
    without_send_time,
)
from mensagod.delivery.labels import open_receiver, open_sender
from mensagod.delivery.tags import BadEnvelope, DeliveryTag, MessageType
from mensagod.errors import BadValue
from tests.delivery.samples import DATE, RECIPIENT, SENDER, TAG, tags

HEAD = f"MENSAGO\r\n{TAG}\r\n----------\r\n".encode()
PAYLOAD = CryptoString("XSALSA20", "payload")


def padded(size: int) -> bytes:
    """Give a tag of ``size`` bytes with its line end."""
    text = str(TAG).encode()
    return text[:-1] + b" " * (size - len(text) - 2) + b"}\r\n"


class HeadTests(SynchronousTestCase):
    """Of a message of any size only the first lines are read."""

    def test_payload_is_not_needed(self) -> None:
        """The head alone gives the tag."""
        self.assertEqual(read_tag(HEAD), TAG)

    def test_payload_is_not_looked_at(self) -> None:
        """What follows the dashes does not matter."""
        head = read_head(HEAD + b"\xff\0 no payload at all")
        self.assertEqual((head.tag, head.length), (TAG, len(HEAD)))

    def test_line_ends(self) -> None:
        """LF alone ends a line, too."""
        self.assertEqual(read_tag(HEAD.replace(b"\r\n", b"\n")), TAG)

    def test_several_lines(self) -> None:
        """The tag may be spread over lines."""
        spread = json.dumps(json.loads(str(TAG)), indent=1).replace("\n", "\r\n")
        self.assertEqual(read_tag(f"MENSAGO\r\n{spread}\r\n----------\r\n".encode()), TAG)

    def test_lines_before(self) -> None:
        """Lines before the one that says MENSAGO are skipped, near misses and broken text among them."""
        self.assertEqual(read_tag(b"To whom it concerns\n\nMENSAGO \nmensago\r\n\xff\xfe\n" + HEAD), TAG)

    def test_longest_head(self) -> None:
        """The longest head that is allowed has HEAD_LIMIT bytes."""
        before = b"x" * (PREAMBLE_LIMIT - 1) + b"\n"
        head = before + b"MENSAGO\r\n" + padded(TAG_LIMIT) + b"----------\r\n"
        self.assertEqual(len(head), HEAD_LIMIT)
        self.assertEqual(read_head(head + b"more").length, HEAD_LIMIT)
        self.assertRaises(BadEnvelope, read_tag, b"\n" + head)
        self.assertRaises(BadEnvelope, read_tag, b"MENSAGO\r\n" + padded(TAG_LIMIT + 1) + b"----------\r\n")

    def test_many_lines(self) -> None:
        """Lines that only stand in the way are skipped together: each would cost more than its byte."""
        calls: list[str] = []
        sys.setprofile(lambda frame, event, arg: calls.append(event))
        try:
            for data in (b"\n" * PREAMBLE_LIMIT, b"MENSAGO\n" + b"\n" * TAG_LIMIT):
                self.assertRaises(BadEnvelope, read_head, data)
        finally:
            sys.setprofile(None)
        self.assertLess(len(calls), 1000)

    def test_no_head(self) -> None:
        """Bytes that do not begin an envelope are refused."""
        for data in (
            b"",
            b"MENSAGO",
            b"MENSAGO\r\n",
            HEAD.removeprefix(b"MENSAGO\r\n"),
            HEAD.removesuffix(b"\r\n"),
            HEAD.replace(b"----------", b"---------"),
            HEAD.replace(b"----------", b"-----------"),
            HEAD.replace(b"\r\n", b"\r"),
            HEAD.replace(b"User", b"Us\xffer"),
            b"\0" * 300_000,
            b"\n" * 300_000,
            b"MENSAGO\n" * 50_000,
        ):
            self.assertRaises(BadEnvelope, read_tag, data)

    @given(st.binary())
    @settings(deadline=None)
    def test_any_bytes(self, data: bytes) -> None:
        """Any bytes give our error, alone and in the place of a tag."""
        self.assertRaises(BadEnvelope, read_tag, data)
        self.assertRaises(BadEnvelope, read_tag, b"MENSAGO\n" + data + b"\n----------\n")

    @given(st.integers(0, len(HEAD) - 1), st.integers(0, 255))
    @settings(max_examples=200, deadline=None)
    def test_changed_byte(self, at: int, byte: int) -> None:
        """A head with one byte changed or cut short is read or refused, with no other error."""
        self.assertRaises(BadEnvelope, read_tag, HEAD[:at])
        try:
            tag = read_tag(HEAD[:at] + bytes([byte]) + HEAD[at + 1 :])
        except BadEnvelope:
            return
        self.assertEqual(DeliveryTag.from_text(str(tag)), tag)


class ComposeTests(SynchronousTestCase):
    """What is written can be read, byte for byte."""

    def test_text(self) -> None:
        """An envelope is its head, the payload in two lines, and an empty line."""
        self.assertEqual(compose(TAG, PAYLOAD).encode(), HEAD + b"XSALSA20\r\npayload\r\n\r\n")

    @given(tags)
    @settings(deadline=None)
    def test_round_trip(self, tag: DeliveryTag) -> None:
        """The tag of a composed envelope is the one given."""
        text = compose(tag, PAYLOAD).encode()
        head = read_head(text)
        self.assertEqual(head.tag, tag)
        self.assertEqual(text[head.length :], b"XSALSA20\r\npayload\r\n\r\n")


class HandOverTests(SynchronousTestCase):
    """Before a message is handed over its ``sendTime`` goes."""

    def test_nothing_to_do(self) -> None:
        """A head without it is given byte for byte, an odd one as well."""
        odd = b"Hello\n" + HEAD.replace(b"\r\n", b"\n").replace(b"{", b'{ "x": 1, ')
        self.assertEqual(without_send_time(odd + b"payload"), odd)

    @given(tags)
    @settings(max_examples=50, deadline=None)
    def test_taken_out(self, tag: DeliveryTag) -> None:
        """The rest of the tag stays as it was."""
        envelope = compose(evolve(tag, send_time=DATE), PAYLOAD).encode()
        expected = compose(evolve(tag, send_time=None), PAYLOAD).encode()
        rest = envelope[read_head(envelope).length :]
        self.assertEqual(without_send_time(envelope) + rest, expected)

    def test_no_head(self) -> None:
        """What is not an envelope is refused."""
        self.assertRaises(BadEnvelope, without_send_time, HEAD[:-1])


class SealTests(SynchronousTestCase):
    """A message goes from one user to another past two servers that cannot read it."""

    def setUp(self) -> None:
        """Two organizations and a recipient."""
        self.ours, self.theirs, self.recipient = (EncryptionPair.generate() for _ in range(3))

    def seal(self, plain: bytes = b"{}", **more: Any) -> bytes:
        """Seal ``plain`` for the recipient."""
        return seal_message(
            plain,
            SENDER,
            RECIPIENT,
            sender_org_key=self.ours.public,
            recipient_org_key=self.theirs.public,
            recipient_key=self.recipient.public,
            date=DATE,
            **more,
        ).encode()

    def test_recipient_reads(self) -> None:
        """The recipient opens the payload."""
        for plain in (b"", b"{}", b"\xff\0" * 100_000):
            self.assertEqual(open_payload(self.seal(plain), self.recipient), plain)

    def test_lf(self) -> None:
        """An envelope whose line ends were changed on its way still opens."""
        self.assertEqual(open_payload(self.seal(b"text").replace(b"\r\n", b"\n"), self.recipient), b"text")

    def test_servers_route(self) -> None:
        """Each server opens its own part and no other."""
        tag = read_tag(self.seal())
        self.assertEqual(open_receiver(tag, self.theirs.open).to, RECIPIENT)
        self.assertEqual(open_receiver(tag, self.theirs.open).sender_domain, SENDER.domain)
        self.assertEqual(open_sender(tag, self.ours.open).sender, SENDER)
        self.assertEqual(open_sender(tag, self.ours.open).recipient_domain, RECIPIENT.domain)
        self.assertEqual(tag.key_hash, hash_key(self.recipient.public))
        self.assertRaises(SealBroken, open_payload, self.seal(), self.ours)

    def test_members(self) -> None:
        """What the caller gives stands in the tag."""
        later = datetime(2024, 4, 1, tzinfo=UTC)
        tag = read_tag(self.seal(type=MessageType.SYSTEM, sub_type="abusereport", send_time=later))
        found = (tag.type, tag.sub_type, tag.send_time, tag.date)
        self.assertEqual(found, (MessageType.SYSTEM, "abusereport", later, DATE))

    def test_fresh_keys(self) -> None:
        """No two messages share a payload key."""
        self.assertNotEqual(self.seal(), self.seal())

    def test_broken_payloads(self) -> None:
        """Payloads that are not two lines of a CryptoString are refused."""
        envelope = self.seal(b"text")
        head = envelope[: read_head(envelope).length]
        for rest in (
            b"",
            b"XSALSA20",
            b"XSALSA20\r\n\r\n",
            b"XSALSA20\n\xff\n",
            b"x\ny\n",
            b"XSALSA20\nab\nc\n",
        ):
            self.assertRaises(BadEnvelope, open_payload, head + rest, self.recipient)
        self.assertRaises(BadValue, open_payload, head + b"XSALSA20\r\nabcdef\r\n\r\n", self.recipient)

    def test_broken_payload_key(self) -> None:
        """A payload key that opens to no key is refused."""
        for text in (b"\xff", b"no key", b"XSALSA20:short"):
            tag = evolve(TAG, payload_key=self.recipient.encryption_key.seal(text))
            self.assertRaises(BadValue, open_payload, compose(tag, PAYLOAD).encode(), self.recipient)
