"""Where clients connect: sockets that are bound early and accept when the server is ready (spec 01)."""

from collections.abc import Container, Sequence
from socket import IPPROTO_TCP, TCP_NOTSENT_LOWAT, socket
from typing import Any, Protocol, cast

from attrs import define, field
from twisted.application.service import Service
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred, DeferredList, maybeDeferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IAddress, IListeningPort, IReactorTime
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure

from mensagod.config.listeners import Listener
from mensagod.server.proxy_header import ProxyHeaderFactory, Waiting
from mensagod.server.tls import Certificates

MAX_UNSENT = 128 * 1024
"""How much the system may hold for a client unsent, in bytes. Without a bound a slow peer
shows no progress for as long as megabytes take."""

BACKLOG = 1024
"""How many connections may wait to be accepted, where the endpoint string does not say."""


class ListenFault(Exception):
    """One sentence about an address that cannot be listened on, and what to do."""


class _Port(Protocol):
    """What the ports of all our kinds can do."""

    socket: socket

    def startReading(self) -> None:
        """Accept connections."""

    def stopReading(self) -> None:
        """Let connections wait."""


class _TLSFactory(TLSMemoryBIOFactory):
    """TLS around another factory, which may want no connection."""

    noisy = False

    def buildProtocol(self, addr: IAddress | None) -> Any:
        """Make the connection of one client, or none."""
        inner = self.wrappedFactory.buildProtocol(addr)
        return None if inner is None else self.protocol(self, inner)


@define(eq=False)
class Listeners(Service):
    """The sockets of one process.

    They are bound while the process may still bind any port, and clients that come before the server is
    ready wait in the backlog.

    :ivar proxied: those of the listeners that are behind a balancer.
    """

    reactor: IReactorTime
    listeners: Sequence[Listener]
    factory: Factory[Any]
    certificates: Certificates | None
    proxied: Container[Listener] = ()
    _waiting: Waiting = field(factory=Waiting, init=False)
    _ports: list[IListeningPort] = field(factory=list, init=False)
    _addresses: list[str] = field(factory=list, init=False)
    _refusal: Failure | None = field(default=None, init=False)

    _log = Logger(namespace="mensagod.listeners")

    @property
    def addresses(self) -> tuple[str, ...]:
        """What is bound, as endpoint strings with the real ports."""
        return tuple(self._addresses)

    def privilegedStartService(self) -> None:
        """Bind every socket.

        :raises ListenFault: if one cannot be bound; then none stays bound.
        """
        for listener in self.listeners:
            try:
                self._bind(listener)
            except CannotListenError as error:
                self._unbind()
                raise ListenFault(
                    f"cannot listen on {listener} ({_reason(error)}): change network.listen or"
                    " network.port, or stop what uses it"
                ) from error

    def accept(self) -> None:
        """Let clients in from now on."""
        for port, address, listener in zip(self._ports, self._addresses, self.listeners, strict=True):
            cast("_Port", port).startReading()
            if listener in self.proxied:
                self._log.info("listening on {address}, which expects PROXY v2 headers", address=address)
            else:
                self._log.info("listening on {address}", address=address)
            if not listener.is_tls and not listener.is_local:
                self._log.warn("{address} is open to the network without TLS", address=address)

    def stopService(self) -> Deferred[Any]:
        """Stop taking connections."""
        super().stopService()
        return self._unbind()

    def _bind(self, listener: Listener) -> None:
        factory: Factory[Any] = self.factory
        if listener.kind == "tls" and self.certificates is not None:
            factory = cast("Factory[Any]", _TLSFactory(self.certificates, False, self.factory))
        if listener in self.proxied:
            factory = ProxyHeaderFactory(self.reactor, listener.text, factory, self._waiting)
        text = listener.inner
        if "backlog" not in listener.options and listener.kind != "systemd":
            text += f":backlog={BACKLOG}"
        listening = serverFromString(self.reactor, text).listen(factory)
        listening.addCallbacks(self._bound, self._refused, callbackArgs=(listener,))
        if self._refusal is not None:
            refusal, self._refusal = self._refusal, None
            refusal.raiseException()

    def _refused(self, failure: Failure) -> None:
        """Keep a failure, which endpoints of all kinds have at once, to raise it."""
        self._refusal = failure

    def _bound(self, port: IListeningPort, listener: Listener) -> None:
        cast("_Port", port).stopReading()
        self._ports.append(port)
        host = cast("IPv4Address | IPv6Address", port.getHost())
        if listener.port is None:
            self._addresses.append(listener.text)
        else:
            # The sockets of clients are accepted with it too.
            cast("_Port", port).socket.setsockopt(IPPROTO_TCP, TCP_NOTSENT_LOWAT, MAX_UNSENT)
            bound = f"[{host.host}]" if ":" in host.host else host.host
            self._addresses.append(f"{'tls' if listener.is_tls else 'tcp'}:{bound}:{host.port}")

    def _unbind(self) -> Deferred[Any]:
        ports, self._ports = self._ports, []
        return DeferredList([maybeDeferred(port.stopListening) for port in ports], consumeErrors=True)


def _reason(error: CannotListenError) -> str:
    return getattr(error.socketError, "strerror", None) or str(error.socketError)
