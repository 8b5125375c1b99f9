"""The factory of connections: admission, timeouts, and draining at the stop (spec 01)."""

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.internet.protocol import Factory

from mensagod.commands.dispatch import Commands, Dispatch
from mensagod.config import Config
from mensagod.lifecycle.periodic import Periodic
from mensagod.process.open_files import usable_clients
from mensagod.server.admission import BufferLedger, ConnectionLimits, source_of
from mensagod.server.interfaces import Connection
from mensagod.server.protocol import MensagoProtocol
from mensagod.server.turns import Turns
from mensagod.sessions.parts import Server
from mensagod.sessions.session import Session
from mensagod.status import Status

MAX_REFUSED, MAX_REFUSED_OF_SOURCE = 100, 10
"""How many refused connections may still be open, in total and of one source."""

SHUTDOWN_SECONDS = 10
"""How many seconds running commands have to end when the server stops (spec 06, ``run``)."""


class MensagoFactory(Factory):
    """Makes and counts all connections of one server process, on all its listeners.

    :ivar limits: counts the admitted connections.
    :ivar refused: counts the refused connections that are still open.
    :ivar turns: shares the time of the reactor between the sources of the connections.
    :ivar stopping: whether the server is stopping: every connection closes after its next answer.
    """

    noisy = False

    def __init__(self, reactor: IReactorTime, server: Server, commands: Commands):
        self.reactor = reactor
        self.server = server
        self.dispatch = Dispatch(commands)
        self.limits = ConnectionLimits(0, 0)
        self.refused = ConnectionLimits(MAX_REFUSED, MAX_REFUSED_OF_SOURCE)
        self.ledger = BufferLedger(0)
        self.turns = Turns(reactor)
        self.configure(server.config)
        self.stopping = False
        self._connections: set[Connection] = set()
        self._admitted: set[Connection] = set()
        self._checks = Periodic(
            reactor, 1, self._check, "connections could not be checked for timeouts", now=False
        )
        self._empty: Deferred[None] | None = None

    def configure(self, config: Config) -> None:
        """Set the limits from a configuration."""
        self.limits.total = usable_clients(config)
        self.limits.each = config.network.max_clients_per_ip
        self.ledger.total = config.network.max_buffered_bytes

    def startFactory(self) -> None:
        """Begin to check the connections for timeouts."""
        self._checks.startService()

    def stopFactory(self) -> None:
        """Stop checking if no connection is left; called when the last listener has closed."""
        if not self._connections:
            self._checks.stopService()

    def buildProtocol(self, addr: IAddress | None) -> MensagoProtocol | None:
        """Make the protocol of one connection.

        Give ``None``, which closes the connection without a greeting, if too many refused connections are
        still open: over TLS a refusal can be sent only after the handshake, which an attacker never
        completes.
        """
        host = getattr(addr, "host", "local")
        source = source_of(host)
        if not self._is_open(source) and not self.refused.has_room(source):
            return None
        protocol = MensagoProtocol(Session(self.server, host, source), self.dispatch, self)
        protocol.factory = self
        return protocol

    def _is_open(self, source: str) -> bool:
        """Tell whether one more client of this source can be admitted now."""
        return not self.stopping and self.server.ready and self.limits.has_room(source)

    def admit(self, connection: Connection) -> Status:
        """Count a new connection; give the status of its greeting."""
        self._connections.add(connection)
        source = connection.session.source
        if self._is_open(source):
            self.limits.enter(source)
            self._admitted.add(connection)
            return Status.OK
        self.refused.enter(source)
        return Status.SERVER_UNAVAILABLE

    def forget(self, connection: Connection) -> None:
        """Stop counting a connection that was lost."""
        self._connections.discard(connection)
        if connection in self._admitted:
            self._admitted.discard(connection)
            self.limits.leave(connection.session.source)
        else:
            self.refused.leave(connection.session.source)
        if self._empty is not None and not self._connections:
            empty, self._empty = self._empty, None
            empty.callback(None)

    async def drain(self) -> None:
        """Wait until running commands have ended, at most :data:`SHUTDOWN_SECONDS`; then abort the rest."""
        self.stopping = True
        if self._connections:
            empty: Deferred[None] = Deferred()
            self._empty = empty
            timeout = self.reactor.callLater(SHUTDOWN_SECONDS, self._abort_all)
            for protocol in tuple(self._connections):
                protocol.finish()
            await empty
            if timeout.active():
                timeout.cancel()
        self._checks.stopService()

    def _abort_all(self) -> None:
        for protocol in tuple(self._connections):
            protocol.end()

    async def _check(self) -> None:
        now = self.reactor.seconds()
        for protocol in tuple(self._connections):
            protocol.check(now)
