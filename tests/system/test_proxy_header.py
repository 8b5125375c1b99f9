"""Listeners behind a balancer, over real sockets (spec 06, *Running many*)."""

import socket
import ssl
import tempfile
from pathlib import Path
from typing import Any

from attrs import evolve
from twisted.internet import reactor
from twisted.internet.defer import gatherResults
from twisted.logger import capturedLogs, formatEvent

from mensagod.config import Config
from mensagod.config.listeners import parse_listener
from mensagod.server import proxy_header
from mensagod.server.listeners import Listeners
from tests.client.test_tls import self_signed
from tests.conversations import request
from tests.system.connections import ConnectionTestCase, in_thread
from tests.system.sockets import Plug
from tests.system.test_tls import put, trusting
from tests.waiting import until
from tests.wire.proxy_headers import LOCAL, UNKNOWN, header_for, make_header

PLAIN, TLS, DIRECT = "tcp:0:interface=127.0.0.1", "tls:0:interface=127.0.0.1", "tcp:0:interface=127.0.0.9"
BIG = request("ECHO", A="x" * 60_000)


class BalancedTestCase(ConnectionTestCase):
    """A server with a plain and a TLS listener that expect headers, and one that does not."""

    def configure(self, config: Config) -> Config:
        put(self_signed("one.example.com"), self.directory, "one")
        config = super().configure(config)
        network = evolve(
            config.network,
            listen=tuple(map(parse_listener, (PLAIN, TLS, DIRECT))),
            proxy_protocol=tuple(map(parse_listener, (PLAIN, TLS))),
            tls_certificate=self.directory / "one.crt",
            tls_key=self.directory / "one.key",
        )
        return evolve(config, network=network)

    def port_of(self, number: int) -> int:
        return int(self.service.listeners.addresses[number].rpartition(":")[2])

    @property
    def hosts(self) -> list[str]:
        """The addresses of the clients, as the server knows them."""
        return sorted(protocol.session.host for protocol in self.service.factory._connections)


class ProxyHeaderTests(BalancedTestCase):
    """Headers that the test sends itself."""

    @property
    def port(self) -> int:
        return self.port_of(self.number)

    number = 0

    async def both(self, **options: Any) -> list[Any]:
        """Connect to the plain listener and to the TLS one."""
        self.number = 0
        plain = await self.plug(**options)
        self.number = 1
        return [plain, await self.plug(context=trusting(), **options)]

    async def test_served(self) -> None:
        """Clients are known by the address of the header, and served as elsewhere, in plain and over TLS."""
        for plug in await self.both(first=header_for("192.0.2.1")):
            self.assertIn(b'"Code":200', await in_thread(plug.greeting))
            answers = await in_thread(plug.exchange, BIG * 40, 40)
            self.assertEqual({len(answer.data["A"]) for answer in answers}, {60_000})
        self.assertEqual(self.hosts, ["192.0.2.1", "192.0.2.1"])
        self.assertIsInstance(plug.socket, ssl.SSLSocket)

    async def test_health_check(self) -> None:
        """The balancer's own connections are greeted, too."""
        for plug in await self.both(first=make_header(LOCAL, UNKNOWN, b"")):
            self.assertIn(b'"Code":200', await in_thread(plug.greeting))
        self.assertEqual(self.hosts, ["127.0.0.1", "127.0.0.1"])

    async def test_broken_frame(self) -> None:
        """The last answer arrives, followed by an orderly end, while the client still sends."""
        for plug in await self.both(first=header_for("192.0.2.1")):
            self.assertIn(b'"Code":200', await in_thread(plug.greeting))
            self.assertEqual((await in_thread(plug.ask, b"\x00\x00\x00" + bytes(100_000))).status, 400)
            self.assertEqual(await in_thread(plug.socket.recv, 10), b"")

    async def test_no_header(self) -> None:
        """A client that comes without one is closed, before TLS and before any greeting."""
        for number, data in ((0, request("ECHO")), (1, b"\x16\x03\x01")):
            self.number = number
            plug = await self.plug(first=data)
            self.assertTrue(await in_thread(plug.ends))
        self.assertEqual(self.hosts, [])

    async def test_silent(self) -> None:
        """Who says nothing is cut off after a few seconds."""
        self.patch(proxy_header, "HEADER_SECONDS", 0.2)
        for number in (0, 1):
            self.number = number
            plug = await self.plug()
            self.assertTrue(await in_thread(plug.ends))

    async def test_many_at_once(self) -> None:
        """A crowd that comes at once is let in whole."""
        crowd = [in_thread(Plug, self.port, first=header_for(f"192.0.2.{n}")) for n in range(60)]
        for plug in await gatherResults(crowd):
            self.addCleanup(plug.close)
            self.assertIn(b'"Code":200', await in_thread(plug.greeting))
        self.assertEqual(len(set(self.hosts)), 60)

    async def test_end(self) -> None:
        """The server does not wait for headers when it stops."""
        plugs = await self.both_waiting()
        await self.service.stopService()
        for plug in plugs:
            self.assertTrue(await in_thread(plug.ends))

    async def both_waiting(self) -> list[Any]:
        """Connect twice, and wait until the server waits for the headers."""
        plugs = []
        for self.number in (0, 1):
            plugs.append(await self.plug())
        await until(lambda: self.service.listeners._waiting.count == 2)
        return plugs

    async def test_unix(self) -> None:
        """A balancer on this machine may come over a Unix socket, and its clients still have addresses."""
        with tempfile.TemporaryDirectory(prefix="mensagod-") as directory:
            path = str(Path(directory) / "socket")
            listener = parse_listener(f"unix:{path}")
            listeners = Listeners(reactor, [listener], self.service.factory, None, [listener])
            listeners.privilegedStartService()
            with capturedLogs() as events:
                listeners.accept()
            [line] = map(formatEvent, events)
            self.assertEqual(line, f"listening on unix:{path}, which expects PROXY v2 headers")

            def talk() -> bytes:
                with socket.socket(socket.AF_UNIX) as client:
                    client.settimeout(10)
                    client.connect(path)
                    client.sendall(header_for("2001:db8::7"))
                    return client.recv(1024)

            self.assertIn(b'"Code":200', await in_thread(talk))
            await listeners.stopService()
