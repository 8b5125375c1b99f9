"""The DNS records of an organization."""

from datetime import UTC, datetime

from twisted.trial.unittest import SynchronousTestCase

from mensagod.cli.founded import as_lines
from mensagod.config.listeners import parse_listener
from mensagod.crypto.hashing import hash_bytes
from mensagod.crypto.sealing import EncryptionPair
from mensagod.keycards.making import OrganizationKeys, make_organization_root, rotate_organization
from mensagod.organization.dns_changes import record_document
from mensagod.organization.dns_records import Record, make_records, public_port
from mensagod.values.identity import Domain, WAddress, WorkspaceID

MAIN, EXTRA = Domain("example.com"), Domain("example.org")
NOW = datetime(2026, 1, 1, tzinfo=UTC)
PIN = hash_bytes(b"pin")


class RecordTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.keys = OrganizationKeys()
        admin = WAddress(WorkspaceID.random(), MAIN)
        self.entry = make_organization_root(self.keys, "Example", MAIN, admin, now=NOW)

    def test_one_domain(self) -> None:
        """A domain has its keys and pins in one text, and a host."""
        text = f"pvk={self.keys.primary.public} ek={self.keys.encryption.public} tls={PIN}"
        self.assertEqual(
            make_records(self.entry, [MAIN], [PIN], 2002),
            [
                Record("TXT", "mensago.example.com", text),
                Record("SRV", "_mensago._tcp.example.com", "0 0 2002 mensago.example.com"),
            ],
        )

    def test_no_certificate(self) -> None:
        """Without a TLS listener there is no pin."""
        [record] = [found for found in make_records(self.entry, [MAIN], [], 1) if found.type == "TXT"]
        self.assertNotIn("tls=", record.value)

    def test_extra_domain(self) -> None:
        """An extra domain has the same keys, the main domain, and the same host."""
        main, extra, _, server = make_records(self.entry, [MAIN, EXTRA], [PIN, PIN], 2001)
        self.assertEqual((main.name, extra.name), ("mensago.example.com", "mensago.example.org"))
        self.assertEqual(extra.value, f"{main.value} org=example.com")
        self.assertEqual(
            (server.name, server.value), ("_mensago._tcp.example.org", "0 0 2001 mensago.example.com")
        )

    def test_rotated(self) -> None:
        """After a rotation the previous key is there as the secondary one."""
        new = OrganizationKeys(encryption=EncryptionPair.generate())
        entry = rotate_organization(self.entry, self.keys.primary, new, NOW)
        record = make_records(entry, [MAIN], [PIN], 2001)[0]
        keys = [f"pvk={new.primary.public}", f"ek={new.encryption.public}", f"svk={self.keys.primary.public}"]
        self.assertEqual(record.value.split(" "), [*keys, f"tls={PIN}"])

    def test_zone_data(self) -> None:
        """In a zone each field is a string of its own, however long it is; a program gets the bare text."""
        pins = [hash_bytes(bytes([number])) for number in range(5)]
        text, server = make_records(self.entry, [MAIN], pins, 2001)
        self.assertGreater(len(text.value), 255)
        strings = text.zone_data.split(" ")
        self.assertEqual(strings[0], f'"pvk={self.keys.primary.public}"')
        self.assertEqual([string.strip('"') for string in strings], text.value.split(" "))
        self.assertEqual(text.zone_data.count('"'), 2 * len(strings))
        self.assertEqual(server.zone_data, server.value)
        self.assertEqual(record_document(text)["value"], text.value)
        self.assertEqual([line.split("TXT  ")[1] for line in as_lines([text])], [text.zone_data])


class PortTests(SynchronousTestCase):
    def test_port(self) -> None:
        """The published port is that of the first TLS listener, else of the first that has one."""
        cases = {
            ("tcp:1", "tls:2", "tls:3"): 2,
            ("unix:/run/mensagod", "tcp:4"): 4,
            ("unix:/run/mensagod",): 2001,
            ("tls:0", "tcp:4"): 4,
            ("tls:0",): 2001,
        }
        for texts, port in cases.items():
            self.assertEqual(public_port(list(map(parse_listener, texts))), port)
