"""Interfaces of connections: the transport, the connection for its factory, and the factory for it."""

from typing import Protocol

from twisted.internet.interfaces import IConsumer, IPushProducer, IReactorTime, ITCPTransport

from mensagod.server.admission import BufferLedger
from mensagod.server.turns import Turns
from mensagod.sessions.session import Session
from mensagod.status import Status


class IClientTransport(ITCPTransport, IConsumer, IPushProducer):
    """What every transport of a client provides; only a Unix socket has no TCP_NODELAY."""


class Connection(Protocol):
    """What the factory needs of a client's connection."""

    session: Session

    def check(self, now: float) -> None:
        """Close if there was no progress for too long, at a time in reactor seconds."""

    def finish(self) -> None:
        """Close as soon as the running command is answered; at once if none is running."""

    def end(self) -> None:
        """Abort at once."""


class Connections(Protocol):
    """What a connection needs of the factory, which knows all connections of the process.

    :ivar stopping: whether every connection closes after its next answer.
    :ivar ledger: accounts for the memory of multipart messages.
    :ivar turns: shares the time of the reactor between the sources of connections.
    """

    reactor: IReactorTime
    stopping: bool
    ledger: BufferLedger
    turns: Turns

    def admit(self, connection: Connection) -> Status:
        """Count a new connection; give the status of its greeting."""

    def forget(self, connection: Connection) -> None:
        """Stop counting a connection that was lost."""
