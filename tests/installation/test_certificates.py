"""Self-signed certificates, and the pins of certificates."""

from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from twisted.trial.unittest import SynchronousTestCase

from mensagod.config import Config
from mensagod.config.listeners import parse_listener
from mensagod.config.tables import GlobalTable, NetworkTable
from mensagod.crypto.hashing import hash_bytes
from mensagod.installation.certificates import (
    certificate_files,
    certificate_names,
    make_self_signed,
    public_key_hash,
    read_pins,
)
from mensagod.installation.faults import InstallationFault
from mensagod.values.identity import Domain

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def configure(*listen: str, certificate: Path = Path("tls.crt")) -> Config:
    network = NetworkTable(listen=tuple(map(parse_listener, listen)), tls_certificate=certificate)
    domains = (Domain("example.org"),)
    return Config(global_=GlobalTable(domain=Domain("example.com"), extra_domains=domains), network=network)


class SelfSignedTests(SynchronousTestCase):
    def test_names(self) -> None:
        """Host names and addresses stand in it each as what they are."""
        made = make_self_signed(["mensago.example.com", "example.com", "::1", "127.0.0.1"], NOW)
        certificate = x509.load_pem_x509_certificate(made.certificate)
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        self.assertEqual(names.get_values_for_type(x509.DNSName), ["mensago.example.com", "example.com"])
        addresses = [ip_address("::1"), ip_address("127.0.0.1")]
        self.assertEqual(names.get_values_for_type(x509.IPAddress), addresses)

    def test_key(self) -> None:
        """The key is its own, on P-256."""
        made = make_self_signed(["example.com"], NOW)
        key = load_pem_private_key(made.key, None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        self.assertEqual(key.curve.name, "secp256r1")
        certificate = x509.load_pem_x509_certificate(made.certificate)
        self.assertEqual(key.public_key(), certificate.public_key())

    def test_lifetime(self) -> None:
        """It is valid now, also on a clock that is a little slow, and for 825 days."""
        certificate = x509.load_pem_x509_certificate(make_self_signed(["example.com"], NOW).certificate)
        self.assertLess(certificate.not_valid_before_utc, NOW)
        self.assertEqual(certificate.not_valid_after_utc, NOW + timedelta(days=825))

    def test_longest_domain(self) -> None:
        """The longest domain has a certificate, too."""
        domain = ".".join(["d" * 63] * 3 + ["e" * 61])
        made = make_self_signed([f"mensago.{domain}", domain], NOW)
        certificate = x509.load_pem_x509_certificate(made.certificate)
        self.assertEqual(certificate.subject.rfc4514_string(), "CN=mensagod")


class NameTests(SynchronousTestCase):
    def test_names(self) -> None:
        """A certificate is for all domains and their hosts, and for the addresses that are listened on."""
        config = configure(
            "tls:2001:interface=127.0.0.1", "tls:1:interface=\\:\\:", "tcp:2:interface=localhost"
        )
        names = ["mensago.example.com", "example.com", "mensago.example.org", "example.org"]
        self.assertEqual(certificate_names(config), [*names, "127.0.0.1", "localhost"])


class PinTests(SynchronousTestCase):
    def test_pin(self) -> None:
        """A pin is the hash of the public key's DER."""
        made = make_self_signed(["example.com"], NOW)
        public = x509.load_pem_x509_certificate(made.certificate).public_key()
        der = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        self.assertEqual(public_key_hash(made.certificate), hash_bytes(der))

    def test_files(self) -> None:
        """Each certificate counts once, whatever the number of its listeners; plain ones have none."""
        config = configure(
            "tls:1", "tcp:2", "tls:3", "ssl:4:privateKey=k.pem", "ssl:5:certKey=c.pem", "ssl:6"
        )
        files = ["tls.crt", "k.pem", "c.pem", "server.pem"]
        self.assertEqual([str(path) for path in certificate_files(config)], files)

    def test_unreadable(self) -> None:
        """A certificate that is missing or none at all is named."""
        path = Path(self.mktemp())
        for make in (lambda: None, lambda: path.write_text("poetry")):
            make()
            error = self.assertRaises(InstallationFault, read_pins, configure("tls:1", certificate=path))
            self.assertIn(str(path), str(error))
