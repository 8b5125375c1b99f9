"""One client's connection: the only code that writes to a client's transport (spec 01).

How it works and why. Received bytes go into the frame decoder. :meth:`MensagoProtocol._read_requests` takes
one whole message after the other out of it and passes it to the dispatch, which returns an instruction, at
once or by a Deferred: an outcome, or a raw data phase. Only when the connection has carried it out does it
take the next message, so answers go out in the order of the requests. Most commands end at once with a short
answer; for these no coroutine is created.

* Back-pressure: while the peer does not read, no request is begun and no long answer continued; while
  :data:`READ_AHEAD` bytes wait behind a running command, the socket is not read. So memory is bounded.
* Fairness: after so many requests or frames the protocol returns to the reactor; other connections proceed.
* Timeouts: the factory calls :meth:`MensagoProtocol.check` every second, which compares the time of the last
  progress with the limit of the present state. That is cheaper than a delayed call for each connection.
* Closing: after a last answer to a peer that may still be sending, the connection is half-closed and its
input is
  discarded: closing over unread data would reset the connection, and the answer would be lost.
"""

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
from mensagod.sessions.outcomes import Hangup, Instruction, NextInstruction, NoAnswer, ReceiveRaw, SendRaw
from mensagod.sessions.session import Session
from mensagod.status import Status
from mensagod.values.identity import WorkspaceID
from mensagod.wire.frames import MAX_PAYLOAD, FrameDecoder, MessageEncoder, split_message
from mensagod.wire.greeting import Greeting
from mensagod.wire.messages import LongResponse, Response

READ_AHEAD = 64 * 1024
"""How many bytes are read from the socket in advance while a command runs."""

MAX_REQUESTS_AT_ONCE = 16
"""How many requests of one connection are begun before other connections proceed."""

MAX_FRAMES_AT_ONCE = 256
"""How many frames of an unfinished message are read before other connections proceed."""

CLOSE_SECONDS = 10
"""How many seconds a peer has to read the last bytes before the connection is aborted."""


class IClientTransport(ITCPTransport, IConsumer, IPushProducer):
    """What every transport of a client provides; only a Unix socket has no TCP_NODELAY."""


class Connections(typing.Protocol):
    """What a connection needs of the factory, which knows all connections of the process.

    :ivar stopping: whether every connection closes after its next answer.
    :ivar ledger: accounts for the memory of multipart messages.
    """

    reactor: IReactorTime
    stopping: bool
    ledger: BufferLedger

    def admit(self, protocol: "MensagoProtocol") -> Status:
        """Count a new connection; give the status of its greeting."""

    def forget(self, protocol: "MensagoProtocol") -> None:
        """Stop counting a connection that was lost."""


@implementer(IPushProducer)
class MensagoProtocol(Protocol):
    """One client's connection: it has one request at a time performed, and sends the answers in order.

    It is the producer of its own transport: while the peer does not read, no further request is begun.
    """

    transport: IClientTransport
    _log = Logger(namespace="mensagod.protocol")

    def __init__(self, session: Session, dispatch: Dispatch, connections: Connections):
        self.connections = connections
        self.session = session
        session.close = self.finish
        self._dispatch = dispatch
        self._decoder = FrameDecoder(session.max_message, MAX_FRAMES_AT_ONCE)
        self._is_open = False  # whether requests are accepted and answers can be sent
        self._is_lost = False  # whether connectionLost was called
        self._closes_after_command = False
        self._is_busy = False  # whether a command is running, or its answer is being written
        self._is_reading_requests = False  # whether _read_requests is on the stack
        self._is_paused = False  # whether the transport's write buffer is full
        self._is_reading = True  # whether the transport reads from the socket
        self._continuation: IDelayedCall | None = None  # begins requests in the next reactor iteration
        self._charged = 0  # bytes of a multipart message that the ledger accounts for
        self._charged_to: WorkspaceID | None = None  # whom they were charged to
        self._progress_mark = 0  # value of _charged at the last progress of an unfinished message
        self._receipt: RawReceipt | None = None
        self._writable: Deferred[None] | None = None  # fires when the peer reads again
        self._last_progress = 0.0  # reactor seconds
        self._closing_since: float | None = None  # reactor seconds

    # The transport's events.

    def connectionMade(self) -> None:
        """Send the greeting; close if the limits do not admit the client (spec 01, *Greeting*)."""
        if ITCPTransport.providedBy(self.transport) and not IUNIXTransport.providedBy(self.transport):
            self.transport.setTcpNoDelay(True)
        self._note_progress()
        status = self.connections.admit(self)
        self._is_open = status is Status.OK
        self.transport.registerProducer(self, True)
        self.transport.write(Greeting(status, datetime.now(UTC)).to_line())
        if not self._is_open:
            self._close()

    def dataReceived(self, data: bytes) -> None:
        """Receive bytes: frames, or the raw data of a raw data phase."""
        if not self._is_open:
            return
        if self._receipt is not None or not self._decoder.mid_message:
            self._note_progress()
        self._decoder.receive(data)
        if self._receipt is not None:
            self._receipt.more()
        self._read_requests()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Release everything; a running command goes on without its client."""
        self._is_open = False
        self._is_lost = True
        self.session.gone = True
        self.connections.forget(self)
        self._release()
        if self._continuation is not None:
            self._continuation.cancel()
            self._continuation = None
        self._resume_writing()
        if self._receipt is not None:
            self._receipt.end()
        if not self._is_busy:
            self.session.leave()

    def pauseProducing(self) -> None:
        """Stop writing: the transport's write buffer is full because the peer reads too slowly."""
        self._is_paused = True
        self._note_progress()

    def resumeProducing(self) -> None:
        """Write again: the write buffer is empty."""
        self._is_paused = False
        self._note_progress()
        self._resume_writing()
        self._read_requests()

    def stopProducing(self) -> None:
        """Stop writing for good: the connection is closing, and :meth:`connectionLost` follows."""
        self._is_paused = True

    def _note_progress(self) -> None:
        """Note that the connection made progress, which restarts its timeout."""
        self._last_progress = self.connections.reactor.seconds()

    # Requests and answers.

    def _read_requests(self) -> None:
        """Begin the next requests, if there are any and none is running."""
        if self._is_reading_requests or self._continuation is not None:
            return
        self._is_reading_requests = True
        try:
            self._begin_requests()
        except CommandError as fault:
            self._close_with(Response.from_error(fault))
        finally:
            self._is_reading_requests = False
        self._throttle()

    def _begin_requests(self) -> None:
        """Begin a limited number of requests; if there are more, continue in the next reactor iteration."""
        left = MAX_REQUESTS_AT_ONCE
        while self._is_open and not self._is_busy and not self._is_paused:
            self._decoder.max_message = self.session.max_message
            message = self._decoder.next_message() if left else None
            self._charge(self._decoder.held if message is None else _charge_of(message))
            if message is not None:
                left -= 1
                self._begin(message)
                continue
            if not left or self._decoder.has_more:
                self._continuation = self.connections.reactor.callLater(0, self._continue)
            break

    def _continue(self) -> None:
        self._continuation = None
        self._read_requests()

    def _begin(self, message: bytes) -> None:
        """Pass a message to the dispatch, and carry out the instruction that it returns."""
        self._is_busy = True
        try:
            instruction = self._dispatch.take(self.session, message)
        except CancelledError:
            self._abort(Failure())
            self._end_command(None)
            return
        if isinstance(instruction, Response) and self._answer_short(instruction):
            self._end_command(None)
            return
        work = ensureDeferred(self._carry_out(instruction))
        work.addErrback(self._abort)
        work.addCallback(self._end_command)

    async def _carry_out(self, first: NextInstruction) -> None:
        """Carry out the instructions of a command until it has ended or waits for a further request."""
        instruction: Instruction | None = await first if isinstance(first, Deferred) else first
        while instruction is not None:
            match instruction:
                case ReceiveRaw():
                    instruction = await self._receive_raw(instruction)
                case SendRaw():
                    instruction = await self._send_raw(instruction)
                case Hangup():
                    return self._close_with(instruction.response)
                case LongResponse():
                    return await self._answer_long(instruction)
                case NoAnswer():
                    return None
                case _:
                    return await self._answer(instruction)
        return None

    def _end_command(self, _: None) -> None:
        """Continue with the next request, unless the connection is closed or closes now."""
        self._is_busy = False
        self._release()
        self._note_progress()
        if self._is_lost:
            self.session.leave()
        elif self._is_open and (self._closes_after_command or self.connections.stopping):
            self._close()
        self._read_requests()

    def _abort(self, failure: Failure) -> None:
        """Abort the connection: an answer or a raw data phase was not sent or received as a whole."""
        if not failure.check(ConnectionDone, CancelledError):
            self._log.failure("connection aborted", failure, session=self.session.id)
        if self._is_open:
            self._is_open = False
            self.transport.abortConnection()

    def _answer_short(self, response: Response) -> bool:
        """Write an answer if it fits one piece; tell whether it did."""
        pieces = self._encode(response)
        if len(pieces) > 1:
            return False
        if self._is_open:
            self.transport.write(pieces[0])
        return True

    async def _answer(self, response: Response) -> None:
        """Write an answer; one of several pieces as fast as the peer reads it."""
        first, *others = self._encode(response)
        if self._is_open:
            self.transport.write(first)
        for piece in others:
            await self._write(piece)

    async def _answer_long(self, answer: LongResponse) -> None:
        """Write an answer frame by frame, as fast as the peer reads it."""
        encoder = MessageEncoder(answer.total)
        async for part in answer.parts():
            for frame in encoder.feed(part):
                await self._write(frame)
        encoder.finish()

    def _encode(self, response: Response) -> list[bytes]:
        """Encode an answer as pieces, each for one write."""
        try:
            return split_message(response.to_bytes())
        except Exception:
            return split_message(report_incident(self.session, "an answer").to_bytes())

    async def _write(self, data: bytes) -> None:
        """Write ``data`` once the write buffer is empty; raise ``ConnectionDone`` if it closes before."""
        while self._is_open and self._is_paused:
            self._writable = Deferred()
            await self._writable
        if not self._is_open:
            raise ConnectionDone
        self.transport.write(data)

    def _resume_writing(self) -> None:
        writable, self._writable = self._writable, None
        if writable is not None:
            writable.callback(None)

    def _close_with(self, response: Response | None) -> None:
        """Write a last answer, if there is one, and close."""
        if not self._is_open:
            return
        if response is not None:
            self.transport.write(b"".join(self._encode(response)))
        self._close(linger=response is not None)

    def _close(self, linger: bool = False) -> None:
        """Close once everything is written; :meth:`check` aborts if the peer does not read it in time.

        :param linger: read and discard until the peer closes, which it needs if it is still sending.
        """
        self._is_open = False
        self._closing_since = self.connections.reactor.seconds()
        self._release()
        self._decoder = FrameDecoder(0)
        self.transport.unregisterProducer()
        self.transport.resumeProducing()
        # TLS has a closing message of its own, after which Twisted reads on until the peer closes.
        if linger and ITCPTransport.providedBy(self.transport) and not INegotiated.providedBy(self.transport):
            self.transport.loseWriteConnection()
        else:
            self.transport.loseConnection()

    # Raw data phases.

    async def _receive_raw(self, phase: ReceiveRaw) -> Instruction:
        """Send the answer, write the raw data to the sink, and give the command's next instruction."""
        self._receipt = receipt = RawReceipt(phase.size, phase.sink, self._decoder, self._raw_progressed)
        fault = None
        try:
            await self._answer(phase.response)
            if not self._is_open:
                receipt.end()
            await receipt.run()
        except Exception:
            fault = Failure()
        finally:
            self._receipt = None
        following = phase.resume(fault)
        instruction = await following if isinstance(following, Deferred) else following
        return Hangup(instruction) if receipt.closes and isinstance(instruction, Response) else instruction

    async def _send_raw(self, phase: SendRaw) -> Instruction | None:
        """Send the bytes, and give the command's next instruction; ``None`` if the connection was aborted."""
        try:
            await send_raw(phase.source, phase.size, self.session.server.files, self._write)
        except Exception:
            self._abort(Failure())
            phase.resume(Failure(GivenUp()))
            return None
        following = phase.resume(None)
        return await following if isinstance(following, Deferred) else following

    def _raw_progressed(self) -> None:
        """Note that the receipt took bytes from the buffer, or waits for more."""
        self._note_progress()
        self._throttle()

    # Limits.

    def _charge(self, amount: int) -> None:
        """Have the ledger account for ``amount`` bytes of a multipart message, which may raise."""
        if amount != self._charged:
            if not self._charged:
                # Who is logged in may change before the bytes are released.
                self._charged_to = self.session.member.workspace if self.session.member else None
            self.connections.ledger.change(self.session.source, self._charged_to, amount - self._charged)
            self._charged = amount
            # Tiny parts must not keep a message open for ever, so only a full frame's worth is progress.
            if amount < self._progress_mark or amount - self._progress_mark >= MAX_PAYLOAD:
                self._progress_mark = amount
                self._note_progress()

    def _release(self) -> None:
        """Release the accounted bytes, unless a command is running: it still uses its message."""
        if not self._is_busy:
            self._charge(0)

    def _throttle(self) -> None:
        """Pause reading while a command runs and enough is buffered; otherwise resume it."""
        waits = self._is_busy or self._is_paused or self._continuation is not None
        full = waits and self._decoder.buffered >= READ_AHEAD
        if self._is_open and full is self._is_reading:
            self._is_reading = not full
            if full:
                self.transport.pauseProducing()
            else:
                self.transport.resumeProducing()

    def check(self, now: float) -> None:
        """Close the connection if it made no progress for too long (spec 01, *Timeouts and limits*)."""
        if self._closing_since is not None:
            if now - self._closing_since >= CLOSE_SECONDS:
                self.transport.abortConnection()
            return
        limit, aborts = self._timeout()
        if limit and now - self._last_progress >= limit:
            if self._receipt is not None:
                self._receipt.end()
            elif aborts:
                self.transport.abortConnection()
            else:
                self._close()

    def _timeout(self) -> tuple[int, bool]:
        """Give the timeout of the present state in seconds (0 is none), and whether to abort then."""
        transfer = self.session.server.config.network.transfer_timeout
        if self._receipt is not None:
            return (transfer if self._receipt.is_waiting_for_peer else 0), False
        if self._is_paused:
            return transfer, True  # What was written could not be delivered anyway.
        if self._is_busy:
            return 0, False
        if self._decoder.mid_message:
            return transfer, False
        return self.session.idle_timeout, False

    def finish(self) -> None:
        """Close as soon as the running command is answered; at once if none is running."""
        self._closes_after_command = True
        if self._is_open and not self._is_busy:
            self._close()

    def end(self) -> None:
        """Abort the connection at once."""
        self.transport.abortConnection()


def _charge_of(message: bytes) -> int:
    """Give the bytes that the ledger counts for a message until it is answered; 0 if it fits one frame."""
    return len(message) if len(message) > MAX_PAYLOAD else 0
