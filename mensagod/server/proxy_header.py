"""Listeners behind a balancer: nothing is made of a connection before its PROXY header has come (spec 06).

The header stands before everything else, TLS included. So the wrapper is the outermost layer of a
connection. It collects the header, has the layers within made for the address that the header gives, and
passes everything on from then on. Limits, logs and records, which belong to the layers within, know no other
address. Twisted's own wrapper makes the layers within at once: they would greet, and count the balancer.

A connection that waits for its header is no client yet, but holds a descriptor. So such connections are
bounded in number and in time.
"""

from typing import Any, cast

from attrs import define, field
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import IAddress, IDelayedCall, IReactorTime, ITCPTransport
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.logger import Logger
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.python.failure import Failure

from mensagod.process.open_files import MAX_WAITING
from mensagod.wire.proxy_header import ProxyHeader, ProxyHeaderFault, Source, read_header

HEADER_SECONDS = 5
"""How long a connection may be without its whole header. A balancer sends it at once; this allows for a
lost packet or two."""

QUIET_SECONDS = 60
"""How long after a refusal was logged no other is, for each listener."""


@define
class Waiting:
    """How many connections of this process wait for their header."""

    count: int = 0

    @property
    def has_room(self) -> bool:
        """Whether one more may wait."""
        return self.count < MAX_WAITING


@define(eq=False)
class Refusals:
    """Logs the connections that one listener refuses: at most one line a minute, which counts the others.

    :ivar listener: its endpoint string.
    """

    reactor: IReactorTime
    listener: str
    _quiet_until: float | None = field(default=None, init=False)
    _unsaid: int = field(default=0, init=False)

    _log = Logger(namespace="mensagod.listeners")

    def note(self, peer: IAddress | None, reason: str) -> None:
        """Note that a connection was refused."""
        now = self.reactor.seconds()
        if self._quiet_until is not None and now < self._quiet_until:
            self._unsaid += 1
            return
        self._log.warn(
            "connection from {address} to {listener} refused: {reason} ({others} others since the last such"
            " line)",
            address=getattr(peer, "host", "local"),
            listener=self.listener,
            reason=reason,
            others=self._unsaid,
            event="proxy_header_refused",
        )
        self._quiet_until, self._unsaid = now + QUIET_SECONDS, 0


class ProxiedConnection(ProtocolWrapper):
    """One connection of a balancer. It waits for its header, then passes on; or it is refused.

    :param address: where it comes from, by what the system says.
    """

    factory: "ProxyHeaderFactory"

    def __init__(self, factory: "ProxyHeaderFactory", address: IAddress | None):
        # Until there is a protocol within, and after a refusal, one stands there that ignores all.
        super().__init__(factory, Protocol())
        self._address = address
        self._begun = b""
        self._late: IDelayedCall | None = None  # set while it waits

    def connectionMade(self) -> None:
        """Wait for the header."""
        self.factory.waiting.count += 1
        self._late = self.factory.reactor.callLater(
            HEADER_SECONDS, self._refuse, f"its PROXY header has not come within {HEADER_SECONDS} seconds"
        )

    def getPeer(self) -> Any:
        """Give the address of the client, once it is known."""
        return self._address

    def dataReceived(self, data: bytes) -> None:
        """Collect the header, and pass on what comes after it."""
        if self._late is None:
            super().dataReceived(data)
            return
        self._begun += data
        try:
            header = read_header(self._begun)
        except ProxyHeaderFault as fault:
            self._refuse(str(fault))
            return
        if header is not None:
            self._hand_over(header)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Wait no longer. Who said nothing at all only looked whether the port is open."""
        if self._late is not None and self._begun:
            self.factory.refusals.note(self._address, "it was closed within its PROXY header")
        self._stop_waiting()
        super().connectionLost(reason)

    def cut(self) -> None:
        """End the connection if it still waits."""
        if self._late is not None:
            self._stop_waiting()
            cast(ITCPTransport, self.transport).abortConnection()

    def _hand_over(self, header: ProxyHeader) -> None:
        """Have the protocol within made, for the address that the header gives."""
        rest = self._begun[header.size :]
        self._stop_waiting()
        if header.source is not None:
            self._address = _address(header.source)
        within = self.factory.wrappedFactory.buildProtocol(self._address)
        if within is None:
            cast(ITCPTransport, self.transport).abortConnection()
            return
        self.wrappedProtocol = within
        within.makeConnection(self)
        if rest:
            within.dataReceived(rest)

    def _refuse(self, reason: str) -> None:
        self.factory.refusals.note(self._address, reason)
        self.cut()

    def _stop_waiting(self) -> None:
        late, self._late = self._late, None
        if late is None:
            return
        self._begun = b""
        self.factory.waiting.count -= 1
        if late.active():
            late.cancel()


class ProxyHeaderFactory(WrappingFactory[ProxiedConnection]):
    """The connections of one listener behind a balancer.

    :param within: makes what comes after the header: TLS, or the protocol of clients.
    :param waiting: shared by the listeners of the process.
    """

    noisy = False

    def __init__(self, reactor: IReactorTime, listener: str, within: Factory[Any], waiting: Waiting):
        super().__init__(within)
        self.reactor = reactor
        self.waiting = waiting
        self.refusals = Refusals(reactor, listener)

    def buildProtocol(self, addr: IAddress | None) -> ProxiedConnection | None:  # type: ignore[override]
        """Make a connection that waits for its header, or ``None`` if too many do."""
        if not self.waiting.has_room:
            self.refusals.note(addr, f"{MAX_WAITING} others wait for their PROXY header")
            return None
        return ProxiedConnection(self, addr)

    def stopFactory(self) -> None:
        """Cut the connections that wait: the listener is gone, and they are nobody's."""
        for connection in tuple(self.protocols):
            connection.cut()


def _address(source: Source) -> IPv4Address | IPv6Address:
    kind = IPv4Address if source.host.version == 4 else IPv6Address
    return kind("TCP", str(source.host), source.port)
