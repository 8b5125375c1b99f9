"""PROXY headers as a balancer makes them, and such as none should."""

from ipaddress import IPv4Address, IPv6Address, ip_address

from hypothesis import strategies as st

from mensagod.wire.proxy_header import MAX_HEADER, SIGNATURE

LOCAL, PROXY = 0x20, 0x21
UNKNOWN, IPV4, IPV6, UNIX = 0x00, 0x11, 0x21, 0x31

VERSION_1 = b"PROXY TCP4 192.0.2.1 192.0.2.2 50000 2001\r\n"


def make_header(command: int, family: int, block: bytes) -> bytes:
    """Put a header together, whatever it says."""
    return SIGNATURE + bytes((command, family)) + len(block).to_bytes(2, "big") + block


def header_for(host: str, port: int = 50000, more: bytes = b"") -> bytes:
    """Make the header of a client's connection, with TLVs after it."""
    source = ip_address(host)
    family = IPV4 if source.version == 4 else IPV6
    addresses = source.packed + ip_address("192.0.2.2" if family == IPV4 else "2001:db8::2").packed
    return make_header(PROXY, family, addresses + port.to_bytes(2, "big") + (2001).to_bytes(2, "big") + more)


def tlv(kind: int, value: bytes) -> bytes:
    return bytes((kind,)) + len(value).to_bytes(2, "big") + value


hosts: st.SearchStrategy[IPv4Address | IPv6Address] = st.ip_addresses()
ports = st.integers(0, 65535)
tlvs = st.lists(st.builds(tlv, st.integers(0, 255), st.binary(max_size=60)), max_size=4).map(b"".join)

odd_headers = st.builds(
    make_header,
    st.sampled_from([LOCAL, PROXY, PROXY, PROXY]) | st.integers(0, 255),
    st.sampled_from([UNKNOWN, IPV4, IPV6, UNIX]) | st.integers(0, 255),
    st.binary(max_size=40) | st.binary(min_size=216, max_size=MAX_HEADER + 20),
)
"""Headers of the right form that may say anything."""

beginnings = st.builds(
    lambda data, end, more: data[:end] + more,
    odd_headers | st.just(VERSION_1) | st.binary(max_size=20),
    st.none() | st.integers(0, 20),
    st.binary(max_size=20),
)
"""Anything that a connection may begin with."""
