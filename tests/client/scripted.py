"""A server that says what a test tells it to, and a way to reach it without a socket."""

from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import Any, TypeVar

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.test.iosim import FakeTransport, IOPump, connect
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from mensagod.client import connection as client
from mensagod.client.connection import ClientConnection
from mensagod.status import Status
from mensagod.wire.frames import FrameDecoder, encode_message
from mensagod.wire.greeting import Greeting
from mensagod.wire.messages import Request, Response

T = TypeVar("T")
READY = Greeting(Status.OK, datetime(2024, 3, 21, 12, 0, 0, tzinfo=UTC)).to_line()

Reply = Response | bytes | Callable[[Request], Response]


def ok(**fields: str) -> Response:
    """Give the answer 200, with underscores in the place of dashes."""
    return reply(Status.OK, **fields)


def reply(status: Status, **fields: str) -> Response:
    """Give an answer."""
    return Response(status, "", {name.replace("_", "-"): value for name, value in fields.items()})


class ScriptedServer(Protocol):
    """Answers each request with the next line of its script; without one it only listens.

    :ivar requests: what it was asked.
    :ivar raw: what it was sent while it expected raw bytes.
    """

    def __init__(self, *script: Reply, greeting: bytes = READY):
        self.script = list(script)
        self.greeting = greeting
        self.requests: list[Request] = []
        self.raw = b""
        self.raw_expected = 0
        self.lost = False
        self.deaf = False  # whether QUIT is not heard
        self.writes: list[bytes] = []
        self._decoder = FrameDecoder(30_000_000)

    def connectionMade(self) -> None:
        self.write(self.greeting)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost = True

    def dataReceived(self, data: bytes) -> None:
        self.writes.append(data)
        self._decoder.receive(data)
        while self._read():
            pass

    def _read(self) -> bool:
        if self.raw_expected:
            data = self._decoder.take_raw(self.raw_expected)
            self.raw_expected -= len(data)
            self.raw += data
            return bool(data)
        message = self._decoder.next_message()
        if message is None:
            return False
        self.requests.append(Request.from_bytes(message))
        if self.requests[-1].action == "QUIT":
            if not self.deaf:
                self.drop()
        elif self.script:
            self._follow(self.script.pop(0))
        return True

    def _follow(self, line: Reply) -> None:
        if callable(line):
            line = line(self.requests[-1])
        self.say(line)

    def say(self, *what: Response | bytes) -> None:
        """Send answers, and bytes as they are, in one write."""
        self.write(b"".join(encode_message(w.to_bytes()) if isinstance(w, Response) else w for w in what))

    def write(self, data: bytes) -> None:
        """Send bytes."""
        if self.transport is not None:
            self.transport.write(data)

    def drop(self) -> None:
        """Close the connection."""
        if self.transport is not None:
            self.transport.loseConnection()

    @property
    def actions(self) -> list[str]:
        """The commands of all requests."""
        return [request.action for request in self.requests]


@implementer(IStreamClientEndpoint)
class LoopEndpoint:
    """Connects to a protocol in the same process."""

    def __init__(self, server: IProtocol):
        self.server = server
        self.pump: IOPump | None = None

    def connect(self, factory: IProtocolFactory) -> Deferred[IProtocol]:
        """Connect; nothing moves until :meth:`flush`."""
        protocol = factory.buildProtocol(IPv4Address("TCP", "192.0.2.1", 2001))
        if protocol is None:
            return fail(RuntimeError("the factory takes no connection"))
        self.pump = connect(
            self.server,
            FakeTransport(self.server, isServer=True),
            protocol,
            FakeTransport(protocol, isServer=False),
            greet=False,
        )
        return succeed(protocol)

    def flush(self) -> None:
        """Move all bytes that either side has sent."""
        if self.pump is not None:
            self.pump.flush()


class ClientTestCase(SynchronousTestCase):
    """Runs a client against a scripted server, without time passing."""

    def setUp(self) -> None:
        """Time passes when a test says so."""
        self.clock = Clock()

    def start(self, server: ScriptedServer, **options: Any) -> Deferred[ClientConnection]:
        """Connect to ``server``."""
        self.server = server
        self.endpoint = LoopEndpoint(server)
        connecting = client.connect(self.endpoint, clock=self.clock, **options)
        self.endpoint.flush()
        return connecting

    def open(self, *script: Reply, **options: Any) -> ClientConnection:
        """Connect to a server that follows ``script``."""
        return self.successResultOf(self.start(ScriptedServer(*script), **options))

    def say(self, *what: Response | bytes) -> None:
        """Let the server send something."""
        self.server.say(*what)
        self.endpoint.flush()

    def begin(self, coroutine: Coroutine[Deferred[Any], Any, T]) -> Deferred[T]:
        """Start a command and move all bytes."""
        running = Deferred.fromCoroutine(coroutine)
        self.endpoint.flush()
        return running

    def run_(self, coroutine: Coroutine[Deferred[Any], Any, T]) -> T:
        """Give the result of a command for which the script has all answers."""
        return self.successResultOf(self.begin(coroutine))

    def failure(self, coroutine: Coroutine[Deferred[Any], Any, Any], *errors: type[Exception]) -> Any:
        """Give the error of a command for which the script has all answers."""
        return self.failureResultOf(self.begin(coroutine), *errors).value
