"""Sockets that are bound early and accept late (spec 01, *Transport*)."""

import shutil
import socket
import tempfile
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import TestCase

from mensagod.config.listeners import parse_listener
from mensagod.server.listeners import Listeners, ListenFault
from tests.system.connections import ConnectionTestCase, in_thread
from tests.waiting import until


class Greeter(Protocol):
    """Says hello."""

    def connectionMade(self) -> None:
        if self.transport is not None:
            self.transport.write(b"hello")
            self.transport.loseConnection()


class ListenerTests(TestCase):
    """Listeners by themselves."""

    timeout = 120

    def bind(self, *texts: str) -> Listeners:
        """Bind endpoints, freed after the test."""
        factory: Factory[Greeter] = Factory.forProtocol(Greeter)
        listeners = Listeners(reactor, [parse_listener(text) for text in texts], factory, None)
        self.addCleanup(listeners.stopService)
        listeners.privilegedStartService()
        return listeners

    def greet(self, address: tuple[str, int] | str) -> Deferred[bytes]:
        """Connect and read."""

        def read() -> bytes:
            family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
            if isinstance(address, tuple) and ":" in address[0]:
                family = socket.AF_INET6
            with socket.socket(family) as client:
                client.settimeout(10)
                client.connect(address)
                return client.recv(100)

        return in_thread(read)

    async def test_kinds(self) -> None:
        """IPv4, IPv6 and Unix sockets, each told with its real address."""
        # The path of a Unix socket is short, and that of a checkout may be long.
        directory = Path(tempfile.mkdtemp(prefix="mensagod-"))
        self.addCleanup(shutil.rmtree, directory)
        path = str(directory / "socket")
        listeners = self.bind("tcp:0:interface=127.0.0.1", "tcp:0:interface=\\:\\:1", f"unix:{path}")
        four, six, unix = listeners.addresses
        self.assertRegex(four, r"^tcp:127\.0\.0\.1:[1-9]\d*$")
        self.assertRegex(six, r"^tcp:\[::1\]:[1-9]\d*$")
        self.assertEqual(unix, f"unix:{path}")
        waiting = self.greet(("127.0.0.1", int(four.rpartition(":")[2])))
        listeners.accept()
        self.assertEqual(await waiting, b"hello")
        self.assertEqual(await self.greet(("::1", int(six.rpartition(":")[2]))), b"hello")
        self.assertEqual(await self.greet(path), b"hello")

    async def test_taken(self) -> None:
        """An address that is taken is named, and none stays bound."""
        taken = self.bind("tcp:0:interface=127.0.0.1").addresses[0].rpartition(":")[2]
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            free = probe.getsockname()[1]
        error = self.assertRaises(
            ListenFault, self.bind, f"tcp:{free}:interface=127.0.0.1", f"tcp:{taken}:interface=127.0.0.1"
        )
        self.assertIn(f"cannot listen on tcp:{taken}", str(error))
        self.assertIn("network.listen", str(error))

        def is_free() -> bool:
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", free)) != 0

        await until(is_free)

    async def test_warning(self) -> None:
        """A plain listener that others can reach is warned of, one on loopback is not."""
        for text, warnings in (
            ("tcp:0", 1),
            ("tcp:0:interface=127.0.0.1", 0),
            ("tcp:0:interface=\\:\\:1", 0),
        ):
            listeners = self.bind(text)
            with capturedLogs() as events:
                listeners.accept()
            lines = [formatEvent(event) for event in events]
            self.assertEqual(len([line for line in lines if "without TLS" in line]), warnings, text)
            await listeners.stopService()


class UnixTests(ConnectionTestCase):
    """Clients on a Unix socket."""

    async def test_served(self) -> None:
        """They are served like others."""
        path = f"/tmp/mensagod-{self.service.assembly.sessions.process.hex}"
        listeners = Listeners(reactor, [parse_listener(f"unix:{path}")], self.service.factory, None)
        self.addCleanup(listeners.stopService)
        listeners.privilegedStartService()
        listeners.accept()

        def talk() -> bytes:
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(10)
                client.connect(path)
                greeting = client.recv(1024)
                client.sendall(b"\x00\x00\x00")
                answer = client.recv(1024)
                return greeting + answer + client.recv(1024)

        said = await in_thread(talk)
        self.assertIn(b'"Code":200', said)
        self.assertIn(b'"Code":400', said)
