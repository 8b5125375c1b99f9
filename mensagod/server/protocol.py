"""One client's connection: the only code that writes to a client's transport (spec 01).

How it works and why. Received bytes go into the frame decoder. :meth:`MensagoProtocol._read_requests` takes
one whole message after the other out of it and passes it to the dispatch, which returns an instruction, at
once or by a Deferred: an outcome, or a raw data phase. Only when the connection has carried it out does it
take the next message, so answers go out in the order of the requests. Most commands end at once with a short
answer; for these no coroutine is created.

* Back-pressure: while the peer does not read, no request is begun and no long answer continued; while
  :data:`READ_AHEAD` bytes wait behind a running command, the socket is not read. So memory is bounded.
* Fairness: requests are read and begun in turns, which belong to source addresses; in each turn, only so many
  requests and frames, and of a large request one piece after the other (:mod:`mensagod.server.turns`).
* Timeouts: the factory calls :meth:`MensagoProtocol.check` every second, which compares the time of the last
  progress with the limit of the present state. That is cheaper than a delayed call for each connection.
* Closing: after a last answer to a peer that may still be sending, the connection is half-closed and its
input is
  discarded: closing over unread data would reset the connection, and the answer would be lost.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from mmap import mmap
from typing import TypeVar

from twisted.internet.defer import CancelledError, Deferred, ensureDeferred
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import (
    INegotiated,
    IPushProducer,
    ITCPTransport,
    IUNIXTransport,
)
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from mensagod.commands.dispatch import Dispatch, report_incident
from mensagod.errors import CommandError
from mensagod.server.admission import Charge, charge_of
from mensagod.server.interfaces import Connections, IClientTransport
from mensagod.server.transfers import RawReceipt, send_raw
from mensagod.sessions.exchange import GivenUp
from mensagod.sessions.outcomes import Hangup, Instruction, NextInstruction, NoAnswer, ReceiveRaw, SendRaw
from mensagod.sessions.session import Session
from mensagod.sessions.who import Member, Operator
from mensagod.status import Status
from mensagod.wire.frames import FrameDecoder, MessageEncoder, split_message
from mensagod.wire.greeting import Greeting
from mensagod.wire.large_requests import LargeRequest
from mensagod.wire.messages import LongResponse, MalformedRequest, Response

READ_AHEAD = 64 * 1024
"""How many bytes are read from the socket in advance while a command runs."""

T = TypeVar("T")

MAX_REQUESTS_AT_ONCE = 16
"""How many requests of one connection are begun in one turn at most."""

MAX_FRAMES_AT_ONCE = 256
"""How many frames of an unfinished message are read in one turn at most."""

CLOSE_SECONDS = 10
"""How many seconds a peer has to read the last bytes before the connection is aborted."""


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
        self._is_taking_turn = False  # whether take_turn is on the stack
        self._is_paused = False  # whether the transport's write buffer is full
        self._is_reading = True  # whether the transport reads from the socket
        self._turns = connections.turns
        self._large: LargeRequest | None = None  # is being read
        self._charged = Charge(connections.ledger, session.source)  # for a multipart message
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
        self._turns.leave(self)
        if self._large is not None:
            self._large, self._is_busy = None, False
        self._release()
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

    @property
    def source(self) -> str:
        """The source address, whose turns the connection works in."""
        return self.session.source

    @property
    def comes_first(self) -> bool:
        """Whether a member or the operator is logged in, who come before all other clients."""
        return isinstance(self.session.who, Member | Operator)

    def _read_requests(self) -> None:
        """Begin the next requests, now or in the next turn, if there are any and none is running."""
        if self._is_taking_turn:
            return
        if self._is_busy or self._is_paused or not self._is_open or not self._turns.ask(self):
            self._throttle()

    def take_turn(self) -> None:
        """Read and begin requests until there are no more, one has to wait, or the turn is over."""
        self._is_taking_turn = True
        try:
            if self._large is not None:
                self._read_large(self._large)
            self._begin_requests()
        except CommandError as fault:
            self._close_with(Response.from_error(fault))
        finally:
            self._is_taking_turn = False
        self._throttle()

    def _begin_requests(self) -> None:
        """Begin a limited number of requests; if there are more, continue in the next turn."""
        left = MAX_REQUESTS_AT_ONCE
        while self._is_open and not self._is_busy and not self._is_paused:
            self._decoder.max_message = self.session.max_message
            message = self._decoder.next_buffer() if left else None
            self._charge(self._decoder.held if message is None else charge_of(message))
            if message is not None:
                self._begin(message)
                left = 0 if self._decoder.mid_message and self._turns.is_over else left - 1
                continue
            if not left or self._decoder.has_more:
                self._turns.wait(self)
            break

    def _begin(self, message: bytes | mmap) -> None:
        """Begin the command in a message; read a large one in pieces before that."""
        self._is_busy = True
        if isinstance(message, mmap):
            self._large = LargeRequest(message)
            self._read_large(self._large)
        else:
            self._follow(self._dispatch.take, message)

    def _read_large(self, large: LargeRequest) -> None:
        """Read at least one piece of a large request; begin its command if that was the last one."""
        try:
            while (request := large.read_on()) is None:
                if self._turns.is_over:
                    self._turns.wait(self)
                    return
        except MalformedRequest as error:
            self._large = None
            self._follow(self._dispatch.refuse, error)
            return
        self._large = None
        self._follow(self._dispatch.perform, request)

    def _follow(self, begin: Callable[[Session, T], NextInstruction], asked: T) -> None:
        """Have a command begun, and carry out the instruction that the dispatch returns."""
        try:
            instruction = begin(self.session, asked)
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
        if amount != self._charged.amount:
            member = self.session.member
            if self._charged.change(amount, member.workspace if member else None):
                self._note_progress()

    def _release(self) -> None:
        """Release the accounted bytes, unless a command is running: it still uses its message."""
        if not self._is_busy:
            self._charge(0)

    def _throttle(self) -> None:
        """Pause reading while a command runs and enough is buffered; otherwise resume it."""
        waits = self._is_busy or self._is_paused or self._turns.is_waiting(self)
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
