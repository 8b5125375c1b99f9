"""Envelopes that the reference made (vectors/reference-envelopes.json)."""

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from mensagod.crypto.cryptostring import CryptoString
from mensagod.crypto.hashing import hash_key
from mensagod.crypto.sealing import SecretKey
from mensagod.delivery.envelopes import Opener, compose, open_payload, read_head
from mensagod.delivery.labels import (
    BadLabelAddress,
    ReceiverPart,
    UnreadableLabel,
    open_receiver,
    open_sender,
)
from mensagod.errors import BadValue
from mensagod.values.identity import WAddress
from tests.delivery.samples import pair

VECTORS = json.loads(
    (Path(__file__).parent.parent / "vectors" / "reference-envelopes.json").read_text(encoding="utf-8")
)
WID = "22222222-2222-2222-2222-222222222222"

# Where the reference and the spec differ (the spec stands), in the order of the probes:
# what it read, what is read here, and why.
PROBES = [
    ("to.id=../../x to.domain=EX AMPLE", BadLabelAddress, "every value in a label is checked as in 02"),
    ("to.id= to.domain= to.address=/", BadLabelAddress, "an empty ID is none"),
    ("to.address=other/example.org", f"{WID}/example.net", "address is unknown, so it is ignored"),
    ("error JsonDecodingException", f"{WID}/example.net", "the drafts' string form is read"),
    ("error MissingFieldException", UnreadableLabel, "both refuse a label without senderDom"),
    ("error JsonDecodingException", f"{WID}/example.net", "unknown members are ignored"),
]


def recipient_key(vector: dict[str, Any]) -> Opener:
    """Give what opens the payload key."""
    if "recipient_secret_key" in vector:
        return SecretKey.from_cryptostring(CryptoString.from_text(vector["recipient_secret_key"]))
    return pair(vector["recipient_encryption"])


class EnvelopeTests(SynchronousTestCase):
    """Every envelope of the reference is read, opened and written again."""

    def test_all_there(self) -> None:
        """The vectors cover user and system messages, from users and from the server."""
        self.assertEqual(len(VECTORS["envelopes"]), 7)

    def test_text(self) -> None:
        """Tag and payload are written exactly as the reference wrote them."""
        for vector in VECTORS["envelopes"]:
            text: str = vector["envelope_text"]
            self.assertEqual(sha256(text.encode()).hexdigest(), vector["envelope_text_sha256"])
            head = read_head(text.encode())
            self.assertEqual(str(head.tag), vector["tag_json"])
            prefix, data = text.encode()[head.length :].decode().split("\r\n")[:2]
            self.assertEqual(compose(head.tag, CryptoString(prefix, data)), text)

    def test_labels(self) -> None:
        """Each server opens its part, to the text that the reference sealed and that is written here."""
        for vector in VECTORS["envelopes"]:
            tag = read_head(vector["envelope_text"].encode()).tag
            receiver = open_receiver(tag, pair(vector["receiver_org_encryption"]).open)
            sender = open_sender(tag, pair(vector["sender_org_encryption"]).open)
            self.assertEqual(receiver.to, WAddress.from_text(vector["to"]))
            self.assertEqual(str(receiver.sender_domain), vector["sender_org_domain"])
            self.assertEqual(sender.sender, WAddress.from_text(vector["from"]))
            self.assertEqual(str(sender.recipient_domain), vector["receiver_org_domain"])
            self.assertEqual(str(receiver), vector["receiver_label_json"])
            self.assertEqual(str(sender), vector["sender_label_json"])

    def test_payloads(self) -> None:
        """The recipient opens the payload, with a pair or with a secret key."""
        for vector in VECTORS["envelopes"]:
            opened = open_payload(vector["envelope_text"].encode(), recipient_key(vector))
            self.assertEqual(opened.decode(), vector["message_json"])

    def test_key_hashes(self) -> None:
        """The tag names the key that the payload key is sealed to."""
        for vector in VECTORS["envelopes"]:
            tag = read_head(vector["envelope_text"].encode()).tag
            self.assertEqual(str(tag.key_hash), vector["key_hash"])
            key = vector.get("recipient_secret_key") or vector["recipient_encryption"]["public"]
            self.assertEqual(tag.key_hash, hash_key(CryptoString.from_text(key)))

    def test_plain_labels(self) -> None:
        """The labels that stand alone are read as well."""
        receiver = ReceiverPart.from_text(VECTORS["plain_labels"]["recipient"])
        self.assertEqual(str(receiver), VECTORS["plain_labels"]["recipient"])


class ProbeTests(SynchronousTestCase):
    """Odd labels: where the reference reads them otherwise, the table says why."""

    def test_probes(self) -> None:
        """Each probe gives what the table says."""
        self.assertEqual(len(PROBES), len(VECTORS["label_decode_probes"]))
        for probe, (reference, expected, reason) in zip(VECTORS["label_decode_probes"], PROBES, strict=True):
            self.assertIn(reference, probe["out"])
            found: object
            try:
                found = str(ReceiverPart.from_text(probe["in"]).to)
            except BadValue as error:
                found = type(error)
            self.assertEqual(found, expected, reason)
