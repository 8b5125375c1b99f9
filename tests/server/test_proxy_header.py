"""Connections behind a balancer, before and after their header (spec 06, *Running many*)."""

from typing import Any, cast

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.interfaces import IAddress, ITCPTransport
from twisted.internet.protocol import connectionDone
from twisted.logger import capturedLogs, formatEvent
from twisted.python.failure import Failure

from mensagod.process.open_files import MAX_WAITING
from mensagod.server.protocol import MensagoProtocol
from mensagod.server.proxy_header import (
    HEADER_SECONDS,
    QUIET_SECONDS,
    ProxiedConnection,
    ProxyHeaderFactory,
    Waiting,
)
from tests.conversations import ConversationTestCase, Wire, request
from tests.wire.proxy_headers import LOCAL, PROXY, UNIX, UNKNOWN, VERSION_1, header_for, make_header

BALANCER = "198.51.100.1"


class Link:
    """A connection that a balancer has made."""

    def __init__(self, factory: ProxyHeaderFactory, address: IAddress | None = None) -> None:
        self.wire = Wire(BALANCER)
        connection = factory.buildProtocol(address or self.wire.getPeer())
        if connection is None:
            raise ConnectionRefusedError
        self.connection: ProxiedConnection = connection
        self.connection.makeConnection(self.wire)

    def send(self, data: bytes) -> "Link":
        self.connection.dataReceived(data)
        return self

    def lose(self) -> None:
        self.connection.connectionLost(Failure(connectionDone.value))

    @property
    def greeting(self) -> bytes:
        """What was greeted with, or nothing."""
        return b"".join(self.wire.writes[:1])

    @property
    def within(self) -> MensagoProtocol:
        return cast(MensagoProtocol, self.connection.wrappedProtocol)

    @property
    def host(self) -> str:
        """The client's address, as the session knows it."""
        return self.within.session.host


class ProxyHeaderTestCase(ConversationTestCase):
    """A server behind a balancer."""

    def setUp(self) -> None:
        super().setUp()
        self.waiting = Waiting()
        self.proxied = ProxyHeaderFactory(
            self.clock, "tcp:2001:interface=198.51.100.2", self.factory, self.waiting
        )

    def link(self, address: IAddress | None = None) -> Link:
        return Link(self.proxied, address)

    def complaints(self, events: Any) -> list[str]:
        """Give the lines that say who was refused."""
        return [str(formatEvent(event)) for event in events if event.get("event") == "proxy_header_refused"]


class AddressTests(ProxyHeaderTestCase):
    """By what address a connection is known."""

    def test_header_first(self) -> None:
        """Nothing is made, counted or said before the last byte of the header."""
        link = self.link()
        header = header_for("192.0.2.1")
        for byte in header[:-1]:
            link.send(bytes((byte,)))
        self.assertEqual((link.greeting, self.factory.limits.count, self.waiting.count), (b"", 0, 1))
        link.send(header[-1:])
        self.assertIn(b'"Code":200', link.greeting)
        self.assertEqual((link.host, self.factory.limits.count, self.waiting.count), ("192.0.2.1", 1, 0))
        self.assertFalse(self.clock.getDelayedCalls()[1:])

    def test_addresses(self) -> None:
        """The address of the header, in the form that a connection of its own has."""
        for host, meant in (("192.0.2.1", "192.0.2.1"), ("::ffff:192.0.2.1", "192.0.2.1")):
            link = self.link().send(header_for(host, 7))
            self.assertEqual(link.connection.getPeer(), IPv4Address("TCP", meant, 7))
            self.assertEqual(link.within.session.source, meant)
        link = self.link().send(header_for("2001:db8::1", 7))
        self.assertEqual(link.connection.getPeer(), IPv6Address("TCP", "2001:db8::1", 7))
        self.assertEqual((link.host, link.within.session.source), ("2001:db8::1", "2001:db8::/64"))

    def test_own_address(self) -> None:
        """Health checks, and clients without an IP address, count under the address of the connection."""
        for header in (
            make_header(LOCAL, UNKNOWN, b""),
            make_header(PROXY, UNKNOWN, b""),
            make_header(PROXY, UNIX, bytes(216)),
        ):
            self.assertEqual(self.link().send(header).host, BALANCER)
        self.assertEqual(self.link(UNIXAddress(None)).send(make_header(LOCAL, UNKNOWN, b"")).host, "local")

    def test_served(self) -> None:
        """What comes with the header is the client's; so is what comes later, in both directions."""
        link = self.link().send(header_for("192.0.2.1") + request("ECHO", A="1"))
        self.assertIn(b'"A":"1"', b"".join(link.wire.writes[1:]))
        link.send(request("ECHO", A="2"))
        self.assertIn(b'"A":"2"', b"".join(link.wire.writes[2:]))
        self.assertTrue(link.wire.no_delay)
        self.assertTrue(ITCPTransport.providedBy(link.connection))
        link.lose()
        self.assertEqual(self.factory.limits.count, 0)

    def test_limits(self) -> None:
        """The limit of one address is for clients, and not for the balancer."""
        self.change("network", max_clients_per_ip=2)
        for host, code in (
            ("192.0.2.1", b"200"),
            ("192.0.2.1", b"200"),
            ("192.0.2.1", b"303"),
            ("192.0.2.2", b"200"),
        ):
            self.assertIn(b'"Code":' + code, self.link().send(header_for(host)).greeting)

    def test_sent_away(self) -> None:
        """Whom the server does not even want to tell is closed without a word."""
        self.change("network", max_clients_per_ip=1)
        links = [self.link().send(header_for("192.0.2.1") + request("ECHO")) for _ in range(12)]
        self.assertEqual([link.wire.aborted for link in links], [False] * 11 + [True])
        self.assertEqual(links[-1].greeting, b"")
        self.assertEqual(self.waiting.count, 0)

    def test_second_header(self) -> None:
        """A client that sends a header of its own has broken its stream, and keeps its address."""
        link = self.link().send(header_for("192.0.2.1") + header_for("192.0.2.9"))
        self.assertEqual(link.host, "192.0.2.1")
        self.assertIn(b'"Code":400', b"".join(link.wire.writes[1:]))
        self.assertTrue(link.wire.closed)

    def test_not_expected(self) -> None:
        """A header where none is expected is a broken stream like any other."""
        peer = self.connect()
        peer.send(header_for("192.0.2.9"))
        self.assertEqual((peer.session.host, peer.codes), ("192.0.2.1", [400]))
        self.assertTrue(peer.wire.closed)


class RefusedTests(ProxyHeaderTestCase):
    """Connections that are refused."""

    def test_no_header(self) -> None:
        """What is no header, or not a good one, closes the connection without a word, and is logged."""
        for data, phrase in (
            (request("ECHO"), "there is no PROXY header"),
            (VERSION_1, "version 1"),
            (header_for("192.0.2.1", more=bytes(600)), "longer than 536 bytes"),
        ):
            with capturedLogs() as events:
                link = self.link().send(data)
            [line] = self.complaints(events)
            self.assertIn(f"connection from {BALANCER} to tcp:2001:interface=198.51.100.2 refused", line)
            self.assertIn(phrase, line)
            self.assertTrue(link.wire.aborted)
            link.send(header_for("192.0.2.1"))
            self.assertEqual((link.greeting, self.waiting.count), (b"", 0))
            link.lose()
            self.clock.advance(QUIET_SECONDS)

    def test_late(self) -> None:
        """A header has to be whole within a few seconds, however busy the peer is."""
        link = self.link()
        with capturedLogs() as events:
            for byte in header_for("192.0.2.1")[: HEADER_SECONDS - 1]:
                self.clock.advance(1)
                link.send(bytes((byte,)))
            self.assertFalse(link.wire.aborted)
            self.clock.advance(1)
        self.assertTrue(link.wire.aborted)
        self.assertEqual(self.waiting.count, 0)
        [line] = self.complaints(events)
        self.assertIn("has not come within 5 seconds", line)

    def test_in_time(self) -> None:
        """After its header a client has all the time that it has elsewhere."""
        link = self.link().send(header_for("192.0.2.1"))
        self.wait(HEADER_SECONDS + 1)
        self.assertFalse(link.wire.closed)

    def test_closed_early(self) -> None:
        """Who closes before the end of the header is complained of, who says nothing at all is not."""
        with capturedLogs() as events:
            self.link().lose()
        self.assertEqual(self.complaints(events), [])
        with capturedLogs() as events:
            self.link().send(b"\r\n").lose()
        [line] = self.complaints(events)
        self.assertIn("closed within its PROXY header", line)
        self.assertEqual((self.waiting.count, self.clock.getDelayedCalls()[1:]), (0, []))

    def test_log_is_bounded(self) -> None:
        """One line a minute, which counts those that had none."""
        with capturedLogs() as events:
            for _ in range(50):
                self.link().send(b"x").lose()
            self.clock.advance(QUIET_SECONDS)
            self.link().send(b"x").lose()
        first, second = self.complaints(events)
        self.assertIn("(0 others", first)
        self.assertIn("(49 others", second)

    def test_many(self) -> None:
        """Only so many wait, on all listeners together; there is room again once one has its header."""
        other = ProxyHeaderFactory(self.clock, "tcp:2002", self.factory, self.waiting)
        links = [Link(factory) for _ in range(MAX_WAITING // 2) for factory in (self.proxied, other)]
        with capturedLogs() as events:
            self.assertRaises(ConnectionRefusedError, self.link)
        [line] = self.complaints(events)
        self.assertIn("500 others wait", line)
        links[0].send(header_for("192.0.2.1"))
        self.link()
        self.assertRaises(ConnectionRefusedError, Link, other)
        links[1].lose()
        Link(other)

    def test_stopped(self) -> None:
        """Connections that wait are cut when the listener goes; the others are the server's."""
        waits, served = self.link(), self.link().send(header_for("192.0.2.1"))
        self.proxied.stopFactory()
        self.assertEqual((waits.wire.aborted, served.wire.aborted), (True, False))
        self.assertEqual(self.waiting.count, 0)
