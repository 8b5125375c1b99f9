"""The certificate of TLS listeners (spec 01, *Transport*)."""

from pathlib import Path

from cryptography.hazmat.primitives import serialization
from OpenSSL import SSL
from twisted.internet.ssl import PrivateCertificate
from twisted.trial.unittest import SynchronousTestCase

from mensagod.server.tls import CertificateFault, Certificates
from tests.client.test_tls import self_signed


def key_of(certificate: PrivateCertificate, password: bytes | None = None) -> bytes:
    """Give the private key as PEM."""
    encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if password is not None:
        encryption = serialization.BestAvailableEncryption(password)
    pem: bytes = certificate.privateKey.original.to_cryptography_key().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption
    )
    return pem


class CertificateTests(SynchronousTestCase):
    """Files that can be used, and others."""

    def setUp(self) -> None:
        """Write a certificate and its key."""
        directory = Path(self.mktemp())
        directory.mkdir()
        self.certificate, self.key = directory / "tls.crt", directory / "tls.key"
        self.one, self.two = self_signed("one.example.com"), self_signed("two.example.com")
        self.certificate.write_bytes(self.one.dumpPEM())
        self.key.write_bytes(key_of(self.one))

    def refused(self) -> str:
        return str(self.assertRaises(CertificateFault, Certificates, self.certificate, self.key))

    def test_good(self) -> None:
        """A certificate, with others of its chain after it, and its key."""
        self.certificate.write_bytes(self.one.dumpPEM() + b"\n" + self.two.dumpPEM())
        certificates = Certificates(self.certificate, self.key)
        connection = certificates.serverConnectionForTLS(None)  # type: ignore[arg-type]
        self.assertIsInstance(connection, SSL.Connection)
        self.assertIsNot(
            connection.get_context(),
            self.again(certificates).serverConnectionForTLS(None).get_context(),  # type: ignore[arg-type]
        )

    def again(self, certificates: Certificates) -> Certificates:
        certificates.read_again(self.certificate, self.key)
        return certificates

    def test_missing(self) -> None:
        """A missing file is named, with the keys to set."""
        self.key.unlink()
        self.assertIn(f"{self.key} cannot be read (No such file or directory)", self.refused())
        self.certificate.unlink()
        self.assertIn(str(self.certificate), self.refused())

    def test_not_usable(self) -> None:
        """Nonsense, another's key, an encrypted key (nobody is asked for its password), no certificate."""
        for certificate, key in (
            (b"", key_of(self.one)),
            (b"nonsense", key_of(self.one)),
            (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", key_of(self.one)),
            (self.one.dumpPEM(), b"nonsense"),
            (self.one.dumpPEM(), key_of(self.two)),
            (self.one.dumpPEM(), key_of(self.one, b"secret")),
        ):
            self.certificate.write_bytes(certificate)
            self.key.write_bytes(key)
            self.assertIn("are not a certificate in PEM and its private key", self.refused())

    def test_again(self) -> None:
        """What cannot be used leaves in use what was read before."""
        certificates = Certificates(self.certificate, self.key)
        before = certificates.serverConnectionForTLS(None).get_context()  # type: ignore[arg-type]
        self.key.write_bytes(key_of(self.two))
        self.assertRaises(CertificateFault, certificates.read_again, self.certificate, self.key)
        self.assertIs(certificates.serverConnectionForTLS(None).get_context(), before)  # type: ignore[arg-type]
