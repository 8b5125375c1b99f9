"""TLS with a pinned certificate, over a connection without sockets (spec 01, *Transport*)."""

from datetime import UTC, datetime, timedelta
from typing import TypeVar

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import wrapClientTLS
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.protocol import Factory
from twisted.internet.ssl import Certificate, PrivateCertificate, optionsForClientTLS
from twisted.internet.task import Clock, LoopingCall
from twisted.internet.testing import MemoryReactorClock
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.trial.unittest import SynchronousTestCase, TestCase

from mensagod.client.connection import ClientConnection, connect
from mensagod.client.errors import Disconnected
from mensagod.client.tls import PinnedCertificate, tls_endpoint
from mensagod.status import Status
from tests.client.scripted import LoopEndpoint, ScriptedServer, ok

T = TypeVar("T")


def self_signed(name: str) -> PrivateCertificate:
    """Make a certificate that only itself vouches for, valid now."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM) + key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    loaded: PrivateCertificate = PrivateCertificate.loadPEM(pem)
    return loaded


class PinTests(TestCase):
    """Only the certificate that was pinned will do."""

    def setUp(self) -> None:
        """Make the server's certificate."""
        self.certificate = self_signed("mensago.example.com")

    async def connect(self, options: IOpenSSLClientConnectionCreator) -> ClientConnection:
        """Connect to a server with that certificate."""
        factory = TLSMemoryBIOFactory(
            self.certificate.options(), False, Factory.forProtocol(lambda: ScriptedServer(ok(N="1")))
        )
        self.loop = LoopEndpoint(factory.buildProtocol(IPv4Address("TCP", "192.0.2.2", 2001)))
        return await self.moving(connect(wrapClientTLS(options, self.loop), clock=Clock()))

    async def moving(self, awaited: Deferred[T]) -> T:
        """Wait while bytes move; TLS holds small writes back for a turn of the reactor."""
        moving = LoopingCall(self.loop.flush)
        stopped = moving.start(0)
        try:
            return await awaited
        finally:
            moving.stop()
            await stopped

    async def test_pinned(self) -> None:
        """The server with the pinned certificate is trusted, although nobody signed it."""
        pin = PinnedCertificate(Certificate.loadPEM(self.certificate.dumpPEM()))
        connection = await self.connect(pin)
        answer = await self.moving(connection.request("IDLE", None, Status.OK))
        self.assertEqual(answer.data["N"], "1")

    async def test_another(self) -> None:
        """Another certificate of the same name is not."""
        pin = PinnedCertificate(self_signed("mensago.example.com"))
        await self.assertFailure(Deferred.fromCoroutine(self.connect(pin)), Disconnected)

    async def test_unsigned(self) -> None:
        """Without a pin a certificate that nobody signed is refused."""
        options = optionsForClientTLS("mensago.example.com")
        await self.assertFailure(Deferred.fromCoroutine(self.connect(options)), Disconnected)


class EndpointTests(SynchronousTestCase):
    """The endpoint dials the port that it was given."""

    def test_dials(self) -> None:
        """With and without a pin."""
        for trust in (None, self_signed("x")):
            reactor = MemoryReactorClock()
            connecting = connect(tls_endpoint(reactor, "mensago.example.com", 2001, trust, 5), clock=reactor)
            reactor.advance(1)
            self.assertEqual([client[1] for client in reactor.tcpClients], [2001])
            connecting.cancel()
            self.failureResultOf(connecting)
