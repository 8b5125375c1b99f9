"""The client's protocol: sends requests, and matches the answers to them in order (spec 01)."""

from collections import deque
from typing import Any, TypeVar, cast

from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IPushProducer, IReactorTime, ITCPTransport, ITransport
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.iweb import IBodyProducer

from mensagod.client.deadline import Deadline
from mensagod.client.errors import ClientError, Disconnected, RequestTimedOut, ServerViolation
from mensagod.client.expectations import Answer, Expectation, RawData, Sink
from mensagod.client.uploads import Upload, WrongSize
from mensagod.errors import BadValue, CommandError
from mensagod.wire.frames import FrameDecoder, encode_message
from mensagod.wire.greeting import MAX_GREETING, Greeting
from mensagod.wire.messages import Request, Response

T = TypeVar("T")


class ClientProtocol(Protocol):
    """Sends requests and matches the server's answers to them.

    Requests may be pipelined: the server answers in order. An event after which the two sides may disagree
    about the state of the stream (a timeout, a malformed frame, unexpected bytes) ends the connection and
    fails all waiting requests.

    :ivar greeting: fires with the server's greeting, whatever its status.
    :param timeout: seconds to wait for the greeting, for each answer, and for progress of raw data.
    :param max_answer: the largest accepted message in bytes.
    """

    def __init__(self, clock: IReactorTime, timeout: float, max_answer: int):
        self.greeting: Deferred[Greeting] = Deferred()
        self._clock = clock
        self._timeout = timeout
        self._decoder = FrameDecoder(max_answer)
        self._line: bytes | None = b""  # the beginning of the greeting, until there is one
        self._expected: deque[Expectation[Any]] = deque()
        self._greeting_deadline = self._deadline()
        self._closed: Failure | None = None  # why no more requests can be sent
        self._ended: Failure | None = None  # why no more data is processed
        self._lost: list[Deferred[None]] = []
        self._connected = False

    def connectionMade(self) -> None:
        """Wait for the server's greeting."""
        self._connected = True
        if ITCPTransport.providedBy(self.transport):
            self.transport.setTcpNoDelay(True)
        self._greeting_deadline.restart()

    def ask(self, request: Request) -> Deferred[Response]:
        """Send a request in one write; the Deferred fires with its answer, whatever the status.

        It fails with a :class:`ClientError` if there will be none.
        """
        answer = Answer(self._deadline())
        answer.deadline.restart()
        return self._send(encode_message(request.to_bytes()), answer)

    def receive(self, request: Request, size: int, sink: Sink) -> Deferred[None]:
        """Send a request that is answered by ``size`` raw bytes; the Deferred fires once the sink has them.

        If the sink fails to take them, the connection ends and the Deferred fails as the sink did.
        """
        raw = RawData(self._deadline(), size, sink, cast(IPushProducer, self.transport))
        raw.deadline.restart()
        return self._send(encode_message(request.to_bytes()), raw)

    def transfer(self, size: int, source: bytes | IBodyProducer) -> Deferred[Response]:
        """Send ``size`` raw bytes, which the server has asked for; the Deferred fires with its answer.

        If the answer comes before all bytes are sent, the Deferred fires, but the connection ends: the server
        would take later requests for the rest of the data.
        """
        if isinstance(source, bytes):
            if len(source) != size:
                return fail(WrongSize(f"The source has {len(source)} bytes instead of {size}"))
            answer = Answer(self._deadline())
            answer.deadline.restart()
            return self._send(source, answer)
        return self._upload(size, source)

    def quit(self) -> Deferred[None]:
        """Send QUIT; the Deferred fires once the connection has ended, after the timeout at the latest."""
        lost = self.wait_lost()
        if self._closed is None:
            self._closed = Failure(Disconnected("The client has quit"))
            self._transport.write(encode_message(Request("QUIT").to_bytes()))
            deadline = self._deadline()
            deadline.restart()
            lost.addBoth(lambda _: deadline.stop())
        return lost

    def wait_lost(self) -> Deferred[None]:
        """Give a Deferred that fires once the connection has ended, for whatever reason."""
        lost: Deferred[None] = Deferred()
        self._lost.append(lost)
        if not self._connected:
            self._tell_lost()
        return lost

    def abort(self, reason: ClientError | None = None) -> None:
        """End the connection at once; waiting requests fail with ``reason``."""
        self._end(Failure(reason or Disconnected("The connection was aborted")))

    def dataReceived(self, data: bytes) -> None:
        """Process bytes from the server, in pieces of any size."""
        if self._ended is not None:
            return
        try:
            self._decoder.receive(self._read_greeting(data))
            self._read()
        except (BadValue, CommandError) as error:
            self._end(Failure(ServerViolation(str(error))))
        except ClientError:
            self._end(Failure())

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Fail all waiting requests."""
        self._connected = False
        self._end(Failure(Disconnected(f"The connection was lost: {reason.getErrorMessage()}")))
        self._tell_lost()

    @property
    def _transport(self) -> ITransport:
        return cast(ITransport, self.transport)

    def _deadline(self) -> Deadline:
        late = RequestTimedOut(f"The server sent nothing for {self._timeout:g} s")
        return Deadline(self._clock, self._timeout, lambda: self.abort(late))

    def _send(self, data: bytes, expected: Expectation[T]) -> Deferred[T]:
        """Send ``data`` in one write; give the Deferred of what is expected."""
        if self._closed is not None:
            expected.fail(self._closed)
            return expected.done
        self._expected.append(expected)
        self._transport.write(data)
        self._read()
        return expected.done

    def _upload(self, size: int, source: IBodyProducer) -> Deferred[Response]:
        """Send the bytes of ``source``; its last bytes start the timeout of the answer."""
        answer = Answer(self._deadline())
        answer.deadline.restart()
        done = self._send(b"", answer)
        upload = Upload(self._transport, size, source, answer.deadline.restart)

        def answered(result: Response | Failure) -> Response | Failure:
            if upload.running:
                upload.stop()
                self.abort()
            return result

        if not done.called:
            upload.start().addErrback(self._upload_failed, answer)
        return done.addBoth(answered)

    def _upload_failed(self, reason: Failure, answer: Answer) -> None:
        """Fail the answer and end the connection: without the data the server would wait."""
        answer.fail(reason)
        self.abort()

    def _read_greeting(self, data: bytes) -> bytes:
        """Read the greeting, which precedes all messages; give the bytes after it."""
        if self._line is None:
            return data
        line, end, rest = (self._line + data).partition(b"\n")
        if len(line) > MAX_GREETING:
            raise ServerViolation("The greeting is too long")
        if not end:
            self._line = line
            return b""
        greeting = Greeting.from_line(line)
        self._line = None
        self._greeting_deadline.stop()
        self.greeting.callback(greeting)
        return rest

    def _read(self) -> None:
        """Read expected data from the decoder, as far as it has arrived."""
        while self._expected:
            expected = self._expected[0]
            if not expected.read(self._decoder):
                return
            # Removed before its Deferred fires, because a callback may send another request at once.
            self._expected.popleft()
            expected.complete()
        if self._decoder.buffered and self._ended is None:
            raise ServerViolation("The server sent data without a request")

    def _end(self, reason: Failure) -> None:
        """Fail all waiting requests and end the connection."""
        if self._ended is not None:
            return
        self._ended = self._closed = reason
        self._greeting_deadline.stop()
        if not self.greeting.called:
            self.greeting.errback(reason)
        while self._expected:
            self._expected.popleft().fail(reason)
        if self._connected:
            cast(ITCPTransport, self.transport).abortConnection()

    def _tell_lost(self) -> None:
        lost, self._lost = self._lost, []
        for waiting in lost:
            waiting.callback(None)
