"""Clients' connections: the only code that writes to a client's transport (spec 01)."""

import typing
from datetime import UTC, datetime

from twisted.internet.defer import CancelledError, Deferred, ensureDeferred
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import (
    IConsumer,
    IDelayedCall,
    INegotiated,
    IPushProducer,
    IReactorTime,
    ITCPTransport,
    IUNIXTransport,
)
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from mensagod.commands.dispatch import Dispatch, report_incident
from mensagod.errors import CommandError
from mensagod.server.admission import BufferLedger
from mensagod.server.transfers import RawReceipt, send_raw
from mensagod.sessions.exchange import GivenUp
from mensagod.sessions.outcomes import Hangup, NoAnswer, ReceiveRaw, Said, SendRaw, Turn
from mensagod.sessions.session import Session
from mensagod.status import Status
from mensagod.values.identity import WorkspaceID
from mensagod.wire.frames import MAX_PAYLOAD, FrameDecoder, MessageEncoder, split_message
from mensagod.wire.greeting import Greeting
from mensagod.wire.messages import LongResponse, Response

READ_AHEAD = 64 * 1024
"""How much of what comes next is read while something is being done, in bytes."""

TURN = 16
"""How many requests of one connection are begun before others have their turn."""

FRAMES_AT_ONCE = 256
"""How many frames of an unfinished message are read before others have their turn."""

GOODBYE_SECONDS = 10
"""How long a peer has to take the last bytes before the connection is cut."""


class IClientTransport(ITCPTransport, IConsumer, IPushProducer):
    """What connections of every kind can do; only those of Unix sockets know no TCP_NODELAY."""


class Connections(typing.Protocol):
    """All connections of the process, by what one of them asks of them.

    :ivar stopping: whether every connection closes after its next answer.
    :ivar ledger: the memory that unfinished messages hold.
    """

    reactor: IReactorTime
    stopping: bool
    ledger: BufferLedger

    def admit(self, protocol: "MensagoProtocol") -> Status:
        """Count a new connection and tell what to greet it with."""

    def forget(self, protocol: "MensagoProtocol") -> None:
        """Take note that a connection is gone."""


@implementer(IPushProducer)
class MensagoProtocol(Protocol):
    """One connection: bytes in, one request at a time to the session, answers out in order.

    It is the producer of its own transport: while the peer does not read, no further request is begun
    and nothing more is read.
    """

    transport: IClientTransport
    _log = Logger(namespace="mensagod.protocol")

    def __init__(self, session: Session, dispatch: Dispatch, connections: Connections):
        self.connections = connections
        self.session = session
        session.close = self.finish
        self._dispatch = dispatch
        self._decoder = FrameDecoder(session.max_message, FRAMES_AT_ONCE)
        self._open = False
        self._lost = False
        self._last = False  # whether the connection closes after the command that runs
        self._busy = False
        self._pumping = False
        self._paused = False
        self._reading = True
        self._turn: IDelayedCall | None = None
        self._held = 0
        self._holder: WorkspaceID | None = None  # to whom it was charged
        self._mark = 0  # what an unfinished message held when it last counted as progress
        self._receipt: RawReceipt | None = None
        self._writable: Deferred[None] | None = None
        self._since = 0.0  # when something last came forward; what, depends on the state
        self._closing_since: float | None = None

    # The transport's events.

    def connectionMade(self) -> None:
        """Greet, or send away whom the limits do not admit (spec 01, *Greeting*)."""
        if ITCPTransport.providedBy(self.transport) and not IUNIXTransport.providedBy(self.transport):
            self.transport.setTcpNoDelay(True)
        self._touch()
        status = self.connections.admit(self)
        self._open = status is Status.OK
        self.transport.registerProducer(self, True)
        self.transport.write(Greeting(status, datetime.now(UTC)).to_line())
        if not self._open:
            self._close()

    def dataReceived(self, data: bytes) -> None:
        """Take bytes: frames, or the raw data that a command waits for."""
        if not self._open:
            return
        if self._receipt is not None or not self._decoder.mid_message:
            self._touch()
        self._decoder.receive(data)
        if self._receipt is not None:
            self._receipt.more()
        self._pump()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Forget everything; a command that runs goes on without its client."""
        self._open = False
        self._lost = True
        self.session.gone = True
        self.connections.forget(self)
        self._let_go()
        if self._turn is not None:
            self._turn.cancel()
            self._turn = None
        self._wake_writer()
        if self._receipt is not None:
            self._receipt.end()
        if not self._busy:
            self.session.leave()

    def pauseProducing(self) -> None:
        """The peer reads too slowly: write nothing more for now."""
        self._paused = True
        self._touch()

    def resumeProducing(self) -> None:
        """The peer has read what was written."""
        self._paused = False
        self._touch()
        self._wake_writer()
        self._pump()

    def stopProducing(self) -> None:
        """The transport will take nothing more; :meth:`connectionLost` follows."""
        self._paused = True

    def _touch(self) -> None:
        """Something came forward: a beginning, a whole frame, raw bytes, an answer that was taken."""
        self._since = self.connections.reactor.seconds()

    # Requests and answers.

    def _pump(self) -> None:
        """Begin the next request, if there is one and its time has come."""
        if self._pumping or self._turn is not None:
            return
        self._pumping = True
        try:
            self._take_turn()
        except CommandError as fault:
            self._hang_up(Response.from_error(fault))
        finally:
            self._pumping = False
        self._throttle()

    def _take_turn(self) -> None:
        """Begin some requests; if there are more, let other connections go first."""
        left = TURN
        while self._open and not self._busy and not self._paused:
            self._decoder.max_message = self.session.max_message
            message = self._decoder.next_message() if left else None
            self._hold(self._decoder.held if message is None else _weight(message))
            if message is not None:
                left -= 1
                self._begin(message)
                continue
            if not left or self._decoder.has_more:
                self._turn = self.connections.reactor.callLater(0, self._next_turn)
            break

    def _next_turn(self) -> None:
        self._turn = None
        self._pump()

    def _begin(self, message: bytes) -> None:
        """Have one message taken, and do what is said about it."""
        self._busy = True
        try:
            said = self._dispatch.take(self.session, message)
        except CancelledError:
            self._broken(Failure())
            self._done(None)
            return
        if isinstance(said, Response) and self._answer_short(said):
            self._done(None)
            return
        work = ensureDeferred(self._carry_out(said))
        work.addErrback(self._broken)
        work.addCallback(self._done)

    async def _carry_out(self, said: Said) -> None:
        """Do what a command says, and what it says next, until it has ended or waits for a request."""
        turn: Turn | None = await said if isinstance(said, Deferred) else said
        while turn is not None:
            match turn:
                case ReceiveRaw():
                    turn = await self._receive_raw(turn)
                case SendRaw():
                    turn = await self._send_raw(turn)
                case Hangup():
                    return self._hang_up(turn.response)
                case LongResponse():
                    return await self._answer_long(turn)
                case NoAnswer():
                    return None
                case _:
                    return await self._answer(turn)
        return None

    def _done(self, _: None) -> None:
        """Go on with the next request, if there is anybody left to answer."""
        self._busy = False
        self._let_go()
        self._touch()
        if self._lost:
            self.session.leave()
        elif self._open and (self._last or self.connections.stopping):
            self._close()
        self._pump()

    def _broken(self, failure: Failure) -> None:
        """A raw phase could not go on, or worse: the stream has no known boundary any more."""
        if not failure.check(ConnectionDone, CancelledError):
            self._log.failure("connection closed", failure, session=self.session.id)
        if self._open:
            self._open = False
            self.transport.abortConnection()

    def _answer_short(self, response: Response) -> bool:
        """Write an answer of one frame at once; tell whether it was one."""
        pieces = self._encode(response)
        if len(pieces) > 1:
            return False
        if self._open:
            self.transport.write(pieces[0])
        return True

    async def _answer(self, response: Response) -> None:
        """Write one answer; a long one at the pace at which the peer takes it."""
        first, *others = self._encode(response)
        if self._open:
            self.transport.write(first)
        for piece in others:
            await self._write(piece)

    async def _answer_long(self, answer: LongResponse) -> None:
        """Write an answer frame by frame, each once the peer has taken those before it."""
        encoder = MessageEncoder(answer.total)
        async for part in answer.parts():
            for frame in encoder.feed(part):
                await self._write(frame)
        encoder.finish()

    def _encode(self, response: Response) -> list[bytes]:
        """Give an answer as pieces to write."""
        try:
            return split_message(response.to_bytes())
        except Exception:
            return split_message(report_incident(self.session, "an answer").to_bytes())

    async def _write(self, data: bytes) -> None:
        """Write ``data`` once the peer has taken what was written before."""
        while self._open and self._paused:
            self._writable = Deferred()
            await self._writable
        if not self._open:
            raise ConnectionDone
        self.transport.write(data)

    def _wake_writer(self) -> None:
        writable, self._writable = self._writable, None
        if writable is not None:
            writable.callback(None)

    def _hang_up(self, response: Response | None) -> None:
        """Write a last answer, if any, and close."""
        if not self._open:
            return
        if response is not None:
            self.transport.write(b"".join(self._encode(response)))
        self._close(linger=response is not None)

    def _close(self, linger: bool = False) -> None:
        """Close once everything is written; :meth:`check` cuts a peer off that does not take it.

        :param linger: read on and discard until the peer closes, because closing over unread data
            would reset the connection and take the answer from a peer that is still sending.
        """
        self._open = False
        self._closing_since = self.connections.reactor.seconds()
        self._let_go()
        self._decoder = FrameDecoder(0)
        self.transport.unregisterProducer()
        self.transport.resumeProducing()
        # The end of a TLS stream is a message of its own, after which TLS reads on by itself.
        if linger and ITCPTransport.providedBy(self.transport) and not INegotiated.providedBy(self.transport):
            self.transport.loseWriteConnection()
        else:
            self.transport.loseConnection()

    # Raw data phases.

    async def _receive_raw(self, phase: ReceiveRaw) -> Turn:
        """Answer, hand the bytes that follow to the sink, and give what the command says after them."""
        self._receipt = receipt = RawReceipt(phase.size, phase.sink, self._decoder, self._want_more)
        fault = None
        try:
            await self._answer(phase.response)
            if not self._open:
                receipt.end()
            await receipt.run()
        except Exception:
            fault = Failure()
        finally:
            self._receipt = None
        said = phase.resume(fault)
        turn = await said if isinstance(said, Deferred) else said
        return Hangup(turn) if receipt.closes and isinstance(turn, Response) else turn

    async def _send_raw(self, phase: SendRaw) -> Turn | None:
        """Send the bytes, and give what the command says after them: nothing if they could not be sent.

        The stream has no known boundary then: the connection is closed before the command hears of it.
        """
        try:
            await send_raw(phase.source, phase.size, self.session.server.files, self._write)
        except Exception:
            self._broken(Failure())
            phase.resume(Failure(GivenUp()))
            return None
        said = phase.resume(None)
        return await said if isinstance(said, Deferred) else said

    def _want_more(self) -> None:
        """The receipt has taken what there was, or waits for more."""
        self._touch()
        self._throttle()

    # Limits.

    def _hold(self, amount: int) -> None:
        """Note how much a message of several frames holds now; the ledger refuses what is too much."""
        if amount != self._held:
            if not self._held:
                # Who is logged in may change before it is given back.
                self._holder = self.session.member.workspace if self.session.member else None
            self.connections.ledger.change(self.session.source, self._holder, amount - self._held)
            self._held = amount
            # A message in tiny parts must not last for ever: what counts is a full frame's worth.
            if amount < self._mark or amount - self._mark >= MAX_PAYLOAD:
                self._mark = amount
                self._touch()

    def _let_go(self) -> None:
        """Hold nothing more, but for the message that is being answered: its command still has it."""
        if not self._busy:
            self._hold(0)

    def _throttle(self) -> None:
        """Stop reading while enough waits to be answered."""
        waits = self._busy or self._paused or self._turn is not None
        full = waits and self._decoder.buffered >= READ_AHEAD
        if self._open and full is self._reading:
            self._reading = not full
            if full:
                self.transport.pauseProducing()
            else:
                self.transport.resumeProducing()

    def check(self, now: float) -> None:
        """Close the connection if nothing came forward for too long (spec 01, *Timeouts and limits*)."""
        if self._closing_since is not None:
            if now - self._closing_since >= GOODBYE_SECONDS:
                self.transport.abortConnection()
            return
        limit, cut = self._patience()
        if limit and now - self._since >= limit:
            if self._receipt is not None:
                self._receipt.end()
            elif cut:
                self.transport.abortConnection()
            else:
                self._close()

    def _patience(self) -> tuple[int, bool]:
        """Tell how many seconds of silence are allowed now, and whether it is the peer that must read."""
        transfer = self.session.server.config.network.transfer_timeout
        if self._receipt is not None:
            return (transfer if self._receipt.is_hungry else 0), False
        if self._paused:
            return transfer, True
        if self._busy:
            return 0, False
        if self._decoder.mid_message:
            return transfer, False
        return self.session.idle_timeout, False

    def finish(self) -> None:
        """Close as soon as the running command is answered."""
        self._last = True
        if self._open and not self._busy:
            self._close()

    def end(self) -> None:
        """Cut the connection at once."""
        self.transport.abortConnection()


def _weight(message: bytes) -> int:
    """Tell what a whole message counts until it is answered: nothing, if a single frame could carry it."""
    return len(message) if len(message) > MAX_PAYLOAD else 0
