"""PROXY protocol v2: the header in which a balancer says whose connection it passes on (spec 06).

In this order it has:

* the signature, 12 bytes that no other protocol begins with;
* a byte with the version, 2, and the command: ``PROXY`` for a client's connection, ``LOCAL`` for one of the
  balancer's own, such as a health check;
* a byte with the family of the addresses, and whether they are those of a stream;
* the length of all that follows, in two bytes;
* source address, destination address, source port and destination port;
* whatever else the balancer likes to tell, as TLVs, which are skipped.
"""

from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from attrs import frozen

SIGNATURE: Final = b"\r\n\r\n\0\r\nQUIT\n"

MAX_HEADER: Final = 536
"""The longest header that is read, in bytes; one with all addresses and no TLV has at most 232."""

_FIXED: Final = 16
_VERSION_1: Final = b"PROXY "
_LOCAL, _PROXY = 0x20, 0x21
_UNKNOWN, _IPV4, _IPV6, _UNIX = 0x00, 0x11, 0x21, 0x31

#: How long the addresses of each family are, with the ports, in bytes.
_ADDRESSES: Final[Mapping[int, int]] = {_UNKNOWN: 0, _IPV4: 12, _IPV6: 36, _UNIX: 216}


class ProxyHeaderFault(Exception):
    """What is wrong with the beginning of a connection, as a phrase."""


@frozen
class Source:
    """Where a client connects from; an IPv4 address inside IPv6 is the IPv4 address."""

    host: IPv4Address | IPv6Address
    port: int


@frozen
class ProxyHeader:
    """What a header says.

    :ivar size: how long it is, in bytes.
    :ivar source: the client's address; ``None`` if the connection's own address counts: the balancer
        looks whether the server lives, or does not know its client by an IP address.
    """

    size: int
    source: Source | None


def read_header(data: bytes) -> ProxyHeader | None:
    """Read the header that ``data`` begins with; ``None`` if more is needed to tell.

    What is wrong is found with the first byte that is, so a header that is not whole yet is shorter
    than :data:`MAX_HEADER`.

    :raises ProxyHeaderFault: if it does not begin with a header that is taken.
    """
    _check_signature(data)
    if len(data) > 12 and data[12] not in {_LOCAL, _PROXY}:
        raise ProxyHeaderFault("the PROXY header has an unknown version or command")
    if len(data) > 13 and data[12] == _PROXY and data[13] not in _ADDRESSES:
        raise ProxyHeaderFault("the PROXY header is not about a stream of a known family")
    if len(data) < _FIXED:
        return None
    size = _FIXED + int.from_bytes(data[14:_FIXED], "big")
    if size > MAX_HEADER:
        raise ProxyHeaderFault(f"the PROXY header is longer than {MAX_HEADER} bytes")
    if data[12] == _PROXY and size < _FIXED + _ADDRESSES[data[13]]:
        raise ProxyHeaderFault("the PROXY header is too short for its addresses")
    if len(data) < size:
        return None
    return ProxyHeader(size, _read_source(data[13], data[_FIXED:size]) if data[12] == _PROXY else None)


def _check_signature(data: bytes) -> None:
    if data.startswith(_VERSION_1):
        raise ProxyHeaderFault("the PROXY header is of version 1, and version 2 is expected")
    if not (data.startswith(SIGNATURE) or SIGNATURE.startswith(data) or _VERSION_1.startswith(data)):
        raise ProxyHeaderFault("there is no PROXY header")


def _read_source(family: int, block: bytes) -> Source | None:
    if family == _IPV4:
        return Source(IPv4Address(block[:4]), int.from_bytes(block[8:10], "big"))
    if family == _IPV6:
        host = IPv6Address(block[:16])
        return Source(host.ipv4_mapped or host, int.from_bytes(block[32:34], "big"))
    return None
