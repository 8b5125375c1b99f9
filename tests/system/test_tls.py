"""TLS listeners (spec 01, *Transport*)."""

import ssl
from pathlib import Path
from typing import cast

from attrs import evolve
from cryptography.hazmat.primitives import serialization
from twisted.internet.ssl import PrivateCertificate
from twisted.internet.threads import deferToThread

from mensagod.config import Config
from mensagod.config.listeners import parse_listener
from mensagod.server.protocol import MensagoProtocol
from tests.client.test_tls import self_signed
from tests.conversations import request
from tests.system.connections import ConnectionTestCase, in_thread
from tests.system.sockets import Plug
from tests.waiting import until

IDLE = request("IDLE")


def trusting(*versions: ssl.TLSVersion) -> ssl.SSLContext:
    """Make a client that trusts anybody, of these versions."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")
    if versions:
        context.minimum_version, context.maximum_version = min(versions), max(versions)
    return context


def put(certificate: PrivateCertificate, directory: Path, name: str) -> None:
    """Write a certificate and its key."""
    (directory / f"{name}.crt").write_bytes(certificate.dumpPEM())
    key = certificate.privateKey.original.to_cryptography_key()
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (directory / f"{name}.key").write_bytes(pem)


class TLSTests(ConnectionTestCase):
    """A server with a certificate that the test made."""

    network = {"transfer_timeout": 1}

    def configure(self, config: Config) -> Config:
        put(self_signed("one.example.com"), self.directory, "one")
        put(self_signed("two.example.com"), self.directory, "two")
        config = super().configure(config)
        network = evolve(
            config.network,
            listen=(parse_listener("tls:0:interface=127.0.0.1"),),
            tls_certificate=self.directory / "one.crt",
            tls_key=self.directory / "one.key",
        )
        return evolve(config, network=network)

    async def test_versions(self) -> None:
        """TLS 1.2 and 1.3 carry the same bytes as plain TCP."""
        for version, name in ((ssl.TLSVersion.TLSv1_2, "TLSv1.2"), (ssl.TLSVersion.TLSv1_3, "TLSv1.3")):
            plug = await self.greeted(context=trusting(version))
            self.assertIsInstance(plug.socket, ssl.SSLSocket)
            self.assertEqual(getattr(plug.socket, "version")(), name)  # noqa: B009  of SSLSocket only
            answer = await in_thread(plug.ask, request("ECHO", A="1"))
            self.assertEqual((answer.status, dict(answer.data)), (200, {"A": "1"}))

    async def test_old_versions(self) -> None:
        """TLS 1.1 and older is refused."""
        for version in (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1):
            error = await self.assertFailure(
                deferToThread(Plug, self.port, trusting(version)), ssl.SSLError, ConnectionError
            )
            self.assertTrue(str(error))

    async def test_plain_client(self) -> None:
        """A client that speaks plain TCP is dropped soon."""
        plug = await self.plug()
        await in_thread(plug.send, IDLE * 10)
        self.assertTrue(await in_thread(plug.ends))

    async def test_no_handshake(self) -> None:
        """So is one that never begins the handshake."""
        plug = await self.plug()
        self.assertTrue(await in_thread(plug.ends))

    async def test_refused(self) -> None:
        """Who is refused gets the greeting that says so."""
        self.service.factory.limits.each = 1
        await self.greeted(context=trusting())
        plug = await self.plug(context=trusting())
        self.assertIn(b'"Code":303', await in_thread(plug.greeting))
        self.assertTrue(await in_thread(plug.ends))

    async def test_last_answer(self) -> None:
        """The answer to a broken frame arrives, followed by an orderly end, while the client still sends."""
        plug = await self.greeted(context=trusting())
        self.assertEqual((await in_thread(plug.ask, b"\x00\x00\x00" + bytes(100_000))).status, 400)
        self.assertEqual(await in_thread(plug.socket.recv, 10), b"")

    async def test_slow_reader(self) -> None:
        """A client that reads late gets everything; meanwhile no more is begun than it can take."""
        self.service.server.config = evolve(
            self.service.server.config,
            network=evolve(self.service.server.config.network, transfer_timeout=60),
        )
        plug = await self.greeted(context=trusting(), buffer=4096)
        requests = [request("ECHO", N=str(n), A="x" * 40_000) for n in range(300)]
        left = await in_thread(plug.send_some, b"".join(requests))
        connection = cast(MensagoProtocol, next(iter(self.service.factory._connections)))
        await until(lambda: connection._is_paused)
        self.assertTrue(left)

        def numbers() -> list[str]:
            return [answer.data["N"] for answer in plug.exchange(left, len(requests))]

        self.assertEqual(await in_thread(numbers), [str(n) for n in range(300)])

    async def test_never_reads(self) -> None:
        """One that never reads is cut off."""
        plug = await self.greeted(context=trusting(), buffer=4096)
        requests = b"".join(request("ECHO", A="x" * 40_000) for _ in range(300))
        await self.assertFailure(in_thread(plug.send, requests), OSError)
        await until(lambda: not self.service.factory._connections)

    async def test_new_certificate(self) -> None:
        """A certificate that is read again is for new connections; old ones go on. Also from other files."""

        async def certificate(plug: Plug) -> bytes | None:
            assert isinstance(plug.socket, ssl.SSLSocket)
            return plug.socket.getpeercert(binary_form=True)

        old = await self.greeted(context=trusting())
        self.write_configuration(
            'listen = ["tls:0:interface=127.0.0.1"]', 'tls_certificate = "two.crt"', 'tls_key = "two.key"'
        )
        self.service.read_again()
        new = await self.greeted(context=trusting())
        self.assertNotEqual(await certificate(old), await certificate(new))
        for plug in (old, new):
            self.assertEqual((await in_thread(plug.ask, IDLE)).status, 200)
        put(self_signed("three.example.com"), self.directory, "two")
        self.service.read_again()
        newest = await self.greeted(context=trusting())
        self.assertNotEqual(await certificate(new), await certificate(newest))

    async def test_bad_certificate(self) -> None:
        """One that cannot be used is refused, and the one before stays in use."""
        self.write_configuration(
            'listen = ["tls:0:interface=127.0.0.1"]', 'tls_certificate = "one.crt"', 'tls_key = "two.key"'
        )
        config = self.service.server.config
        self.service.read_again()
        self.assertIs(self.service.server.config, config)
        await self.greeted(context=trusting())
