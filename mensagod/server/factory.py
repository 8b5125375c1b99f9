"""All connections of one server process: who is let in, who is watched, who is let go (spec 01)."""

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.internet.protocol import Factory

from mensagod.commands.dispatch import Commands, Dispatch
from mensagod.config import Config
from mensagod.lifecycle.periodic import Periodic
from mensagod.process.open_files import usable_clients
from mensagod.server.admission import BufferLedger, ConnectionLimits, source_of
from mensagod.server.protocol import MensagoProtocol
from mensagod.sessions.parts import Server
from mensagod.sessions.session import Session
from mensagod.status import Status

MAX_REFUSED, MAX_REFUSED_OF_SOURCE = 100, 10
"""How many connections that were sent away may still be there, in all and of one source."""

SHUTDOWN_SECONDS = 10
"""How long running commands have when the server stops (spec 06, ``run``)."""


class MensagoFactory(Factory):
    """All connections of one server process, on however many listeners.

    :ivar stopping: whether the server is on its way out: every connection closes after its next answer.
    """

    noisy = False

    def __init__(self, reactor: IReactorTime, server: Server, commands: Commands):
        self.reactor = reactor
        self.server = server
        self.dispatch = Dispatch(commands)
        self.limits = ConnectionLimits(0, 0)
        self.refused = ConnectionLimits(MAX_REFUSED, MAX_REFUSED_OF_SOURCE)
        self.ledger = BufferLedger(0)
        self.configure(server.config)
        self.stopping = False
        self._connections: set[MensagoProtocol] = set()
        self._admitted: set[MensagoProtocol] = set()
        self._watch = Periodic(reactor, 1, self._check, "connections cannot be watched", now=False)
        self._empty: Deferred[None] | None = None

    def configure(self, config: Config) -> None:
        """Take the limits from a configuration."""
        self.limits.total = usable_clients(config)
        self.limits.each = config.network.max_clients_per_ip
        self.ledger.total = config.network.max_buffered_bytes

    def startFactory(self) -> None:
        """Begin to watch the connections."""
        self._watch.startService()

    def stopFactory(self) -> None:
        """No listener is left."""
        if not self._connections:
            self._watch.stopService()

    def buildProtocol(self, addr: IAddress | None) -> MensagoProtocol | None:
        """Make the connection of one client.

        ``None``, which closes it without a word, if too many that were sent away have not left yet: over TLS
        they can be told only after a handshake, which they may never make.
        """
        host = getattr(addr, "host", "local")
        source = source_of(host)
        if not self._is_open(source) and not self.refused.has_room(source):
            return None
        protocol = MensagoProtocol(Session(self.server, host, source), self.dispatch, self)
        protocol.factory = self
        return protocol

    def _is_open(self, source: str) -> bool:
        """Tell whether one more client of this source can be served now."""
        return not self.stopping and self.server.ready and self.limits.has_room(source)

    def admit(self, protocol: MensagoProtocol) -> Status:
        """Count a new connection and tell what to greet it with."""
        self._connections.add(protocol)
        source = protocol.session.source
        if self._is_open(source):
            self.limits.enter(source)
            self._admitted.add(protocol)
            return Status.OK
        self.refused.enter(source)
        return Status.SERVER_UNAVAILABLE

    def forget(self, protocol: MensagoProtocol) -> None:
        """Take note that a connection is gone."""
        self._connections.discard(protocol)
        if protocol in self._admitted:
            self._admitted.discard(protocol)
            self.limits.leave(protocol.session.source)
        else:
            self.refused.leave(protocol.session.source)
        if self._empty is not None and not self._connections:
            empty, self._empty = self._empty, None
            empty.callback(None)

    async def drain(self) -> None:
        """Let running commands end, at most :data:`SHUTDOWN_SECONDS`, then cut what is left."""
        self.stopping = True
        if self._connections:
            empty: Deferred[None] = Deferred()
            self._empty = empty
            late = self.reactor.callLater(SHUTDOWN_SECONDS, self._abort_all)
            for protocol in tuple(self._connections):
                protocol.finish()
            await empty
            if late.active():
                late.cancel()
        self._watch.stopService()

    def _abort_all(self) -> None:
        for protocol in tuple(self._connections):
            protocol.end()

    async def _check(self) -> None:
        now = self.reactor.seconds()
        for protocol in tuple(self._connections):
            protocol.check(now)
