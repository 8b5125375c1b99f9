"""What a balancer says about a connection (spec 06, *Running many*)."""

from ipaddress import IPv4Address, IPv6Address

from hypothesis import given, settings
from twisted.trial.unittest import SynchronousTestCase

from mensagod.wire.proxy_header import (
    MAX_HEADER,
    SIGNATURE,
    ProxyHeader,
    ProxyHeaderFault,
    Source,
    read_header,
)
from tests.wire.proxy_headers import (
    IPV4,
    IPV6,
    LOCAL,
    PROXY,
    UNIX,
    UNKNOWN,
    VERSION_1,
    beginnings,
    header_for,
    hosts,
    make_header,
    ports,
    tlv,
    tlvs,
)

Read = ProxyHeader | str | None


def read_at_once(data: bytes) -> Read:
    """Give the header, what is wrong, or that more is needed."""
    try:
        return read_header(data)
    except ProxyHeaderFault as fault:
        return str(fault)


def read_by_byte(data: bytes) -> Read:
    """Give the same, asked after each byte."""
    for end in range(1, len(data) + 1):
        found = read_at_once(data[:end])
        if found is not None:
            return found
    return None


class HeaderTests(SynchronousTestCase):
    """Headers case by case."""

    def source(self, data: bytes) -> Source | None:
        header = read_header(data + b"what comes next")
        assert header is not None
        self.assertEqual(header.size, len(data))
        return header.source

    def test_as_sent(self) -> None:
        """A header as haproxy sends it, in bytes."""
        data = bytes.fromhex("0d0a0d0a000d0a515549540a 21 11 000c 7f000002 7f000001 c350 07d1")
        self.assertEqual(self.source(data), Source(IPv4Address("127.0.0.2"), 50000))

    def test_clients(self) -> None:
        """IPv4, IPv6, and IPv4 inside IPv6, which is IPv4."""
        for host, meant in (
            ("192.0.2.1", IPv4Address("192.0.2.1")),
            ("2001:db8::1", IPv6Address("2001:db8::1")),
            ("::ffff:192.0.2.1", IPv4Address("192.0.2.1")),
        ):
            self.assertEqual(self.source(header_for(host, 7)), Source(meant, 7))

    def test_own_address(self) -> None:
        """The balancer's own connections, and those of clients without an IP address, say nothing."""
        for data in (
            make_header(LOCAL, UNKNOWN, b""),
            make_header(LOCAL, IPV4, bytes(12)),
            make_header(LOCAL, 0xFF, b"whatever"),
            make_header(PROXY, UNKNOWN, b""),
            make_header(PROXY, UNKNOWN, tlv(4, b"padding")),
            make_header(PROXY, UNIX, bytes(216)),
        ):
            self.assertIsNone(self.source(data))

    def test_tlvs(self) -> None:
        """What else the balancer tells is skipped, as long as the header is not too long."""
        room = MAX_HEADER - len(header_for("192.0.2.1"))
        self.assertIsNotNone(self.source(header_for("192.0.2.1", more=bytes(room))))
        long = header_for("192.0.2.1", more=bytes(room + 1))
        self.assertEqual(read_by_byte(long), "the PROXY header is longer than 536 bytes")
        self.assertIsInstance(read_at_once(long[:16]), str)

    def test_refused(self) -> None:
        """Each fault is told, with the first byte that shows it."""
        for data, at, phrase in (
            (VERSION_1, 6, "version 1"),
            (b"PROXX", 5, "no PROXY header"),
            (b"\x16\x03\x01", 1, "no PROXY header"),
            (SIGNATURE[:-1] + b"\r", 12, "no PROXY header"),
            (make_header(0x11, IPV4, bytes(12)), 13, "unknown version or command"),
            (make_header(0x22, IPV4, bytes(12)), 13, "unknown version or command"),
            (make_header(PROXY, 0x12, bytes(12)), 14, "stream of a known family"),
            (make_header(PROXY, 0x10, bytes(12)), 14, "stream of a known family"),
            (make_header(PROXY, 0x41, bytes(12)), 14, "stream of a known family"),
            (make_header(PROXY, IPV4, bytes(11)), 16, "too short for its addresses"),
            (make_header(PROXY, IPV6, bytes(35)), 16, "too short for its addresses"),
            (make_header(PROXY, UNIX, bytes(215)), 16, "too short for its addresses"),
        ):
            self.assertIsNone(read_at_once(data[: at - 1]))
            for end in (at, len(data)):
                self.assertIn(phrase, str(read_at_once(data[:end])))


class HeaderPropertyTests(SynchronousTestCase):
    """What holds for every header."""

    @settings(deadline=None)
    @given(hosts, ports, tlvs)
    def test_round_trip(self, host: IPv4Address | IPv6Address, port: int, more: bytes) -> None:
        """A header says what the balancer put into it, and nothing is said before it is whole."""
        data = header_for(str(host), port, more)
        meant = getattr(host, "ipv4_mapped", None) or host
        self.assertEqual(read_by_byte(data), ProxyHeader(len(data), Source(meant, port)))

    @settings(deadline=None)
    @given(beginnings)
    def test_by_byte(self, data: bytes) -> None:
        """One byte after the other says the same as all at once: a value, or our error."""
        self.assertEqual(read_by_byte(data), read_at_once(data))

    @settings(deadline=None)
    @given(beginnings)
    def test_bounded(self, data: bytes) -> None:
        """What is not told yet is shorter than the longest header."""
        found = read_at_once(data)
        self.assertEqual(found is None, read_at_once(data + bytes(MAX_HEADER)) != found)
        if found is None:
            self.assertLess(len(data), MAX_HEADER)
        elif isinstance(found, ProxyHeader):
            self.assertLessEqual(found.size, min(len(data), MAX_HEADER))
