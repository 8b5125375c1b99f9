"""Conversations without sockets: a client, a clock, and a server that has only the commands of the test."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, Self, TypeVar, cast
from uuid import UUID

from attrs import evolve, field, frozen
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.interfaces import ITCPTransport
from twisted.internet.protocol import connectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.plugin import IPlugin
from twisted.python.failure import Failure
from twisted.python.filepath import FilePath
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from mensagod.commands import sessions
from mensagod.commands.audience import Audience
from mensagod.commands.interfaces import ICommand
from mensagod.commands.registry import CommandRegistry
from mensagod.config import Config
from mensagod.config.tables import DatabaseTable, GlobalTable, SecurityTable
from mensagod.contents.file_store import FileStore
from mensagod.contents.room import Room
from mensagod.crypto.cryptostring import CryptoString
from mensagod.delivery.placing import Accepted, Submission
from mensagod.keycards.making import OrganizationKeys
from mensagod.operations.limits import Limits
from mensagod.organization.keycard import Replacement, ReplacementStep
from mensagod.organization.keyring import Keyring
from mensagod.server.factory import MensagoFactory
from mensagod.server.protocol import MensagoProtocol
from mensagod.sessions.live import LiveSession
from mensagod.sessions.outcomes import Outcome
from mensagod.sessions.parts import Server
from mensagod.sessions.session import Session
from mensagod.sessions.who import Member
from mensagod.status import Status
from mensagod.storage.keycards import Extent, StoredEntry
from mensagod.storage.rows import Transaction
from mensagod.threads.fair_queue import Client
from mensagod.values.identity import DeviceID, Domain, WorkspaceID
from mensagod.values.paths import ServerPath
from mensagod.wire.fields import Fields, required
from mensagod.wire.frames import FrameDecoder, encode_message
from mensagod.wire.messages import Request, Response

P = ParamSpec("P")
T = TypeVar("T")

DOMAIN = Domain.from_text("example.com")
SOCKET_BUFFER = 65536
"""How many unread bytes make a transport pause its producer."""


@frozen
class Everything(Fields):
    """All fields of a request, unparsed."""

    data: Mapping[str, str]

    @classmethod
    def read(cls, request: Request) -> Self:
        return cls(dict(request.data))


@frozen
class Second(Fields):
    """A further request with a field ``Second``."""

    second: str = required("Second", str, "whatever")


Work = Callable[[Everything, Session], Awaitable[Outcome]]


@implementer(IPlugin, ICommand)
@frozen
class Scripted:
    """A command whose attributes and coroutine the test chooses."""

    name: str
    perform: Work
    demands: tuple[Any, ...] = ()
    audience: Audience = Audience.EVERYBODY
    fields: type[Fields] = Everything
    more_fields: tuple[type[Fields], ...] = ()


class FakeDatabase:
    """A database whose results the test chooses.

    :ivar available: whether the database is available.
    :ivar answers: for each interaction its result, or a function of its arguments that returns or raises it.
    :ivar asked: the interactions that ran, with their arguments.
    """

    def __init__(self) -> None:
        self.available = True
        self.answers: dict[Callable[..., Any], Any] = {}
        self.asked: list[tuple[Any, ...]] = []

    def run(
        self, interaction: Callable[Concatenate[Transaction, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> Deferred[T]:
        self.asked.append((interaction, *args))
        if interaction not in self.answers:
            raise AssertionError(f"the test has no result for {interaction.__name__}")
        answer = self.answers[interaction]
        return maybeDeferred(answer, *args, **kwargs) if callable(answer) else succeed(answer)

    write = read = run


class FakeSessions:
    """Live sessions that record who enters and leaves.

    :ivar updates: what :meth:`count_updates` returns or raises.
    """

    def __init__(self) -> None:
        self.process = UUID(int=1)
        self.members: list[Member] = []
        self.left: list[Member] = []
        self.updates: int | BaseException = 0

    def enter(self, session: LiveSession) -> None:
        assert session.member is not None
        self.members.append(session.member)

    def leave(self, session: LiveSession) -> None:
        assert session.member is not None
        self.members.remove(session.member)
        self.left.append(session.member)

    async def count_updates(self, member: Member) -> int:
        if isinstance(self.updates, BaseException):
            raise self.updates
        return self.updates

    async def tell(self, member: Member, reading: Awaitable[tuple[T, int]]) -> T:
        news, member.seen = await reading
        member.stale = False
        return news


class FakeWorkers:
    """A worker pool that runs work at once, or once :attr:`gate` fires."""

    def __init__(self) -> None:
        self.gate: Deferred[None] | None = None

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        if self.gate is not None:
            await self.gate
        return work(*args, **kwargs)

    async def run_for(self, client: Client, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await self.run(work, *args, **kwargs)


class FakeAcceptor:
    """Accepts every message, and delivers none.

    :ivar accepted: the messages so far.
    """

    def __init__(self) -> None:
        self.accepted: list[Submission] = []

    async def accept(self, message: Submission) -> Accepted:
        self.accepted.append(message)
        return Accepted(message.name)


class FakeKeys:
    """The keys of an organization, made for the test."""

    def __init__(self) -> None:
        self.organization = OrganizationKeys()
        self.keyring: Keyring | None = Keyring(self.organization.primary, (self.organization.encryption,))

    async def refresh(self) -> None:
        """Do nothing: the keys do not change."""

    async def newer(self, used: Keyring) -> Keyring | None:
        return None if used is self.keyring else self.keyring

    async def apply(self, step: ReplacementStep, expected: CryptoString) -> Replacement:
        raise AssertionError("no test may change the keys here")


class FakeFollower:
    """A follower that records whose cards changed."""

    def __init__(self) -> None:
        self.changes: list[frozenset[WorkspaceID] | None] = []

    def tell(self, owners: frozenset[WorkspaceID] | None) -> None:
        self.changes.append(owners)


class FakeResolver:
    """A resolver with the cards of the test; all owners are in :data:`DOMAIN`."""

    def __init__(self) -> None:
        self.cards: dict[WorkspaceID, list[StoredEntry]] = {}

    async def is_in(self, workspace: WorkspaceID, domain: Domain | None) -> bool:
        return workspace in self.cards and domain in {None, DOMAIN}

    async def current(self, owner: WorkspaceID) -> StoredEntry | None:
        card = self.cards.get(owner, [])
        return card[-1] if card else None

    async def excerpt(
        self, owner: WorkspaceID, start: int, end: int | None
    ) -> Sequence[StoredEntry] | Extent | None:
        card = self.cards.get(owner, [])
        return (card[-1:] if start <= 0 else card[start - 1 : end]) or None

    async def texts(self, owner: WorkspaceID, extent: Extent) -> AsyncIterator[str]:
        for entry in self.cards[owner]:
            yield entry.text


class Fakes:
    """Fakes for the parts of a server, without sockets, threads, database and disk."""

    def __init__(self, clock: Clock) -> None:
        self.database = FakeDatabase()
        self.sessions = FakeSessions()
        self.files = FakeWorkers()
        self.keys = FakeKeys()
        self.acceptor = FakeAcceptor()
        store = FileStore(FilePath("no such directory"))
        self.follower = FakeFollower()
        self.resolver = FakeResolver()
        self.server = Server(
            reactor=clock,
            config=Config(
                path=Path("serverconfig.toml"),
                global_=GlobalTable(domain=DOMAIN, top_dir=Path("data")),
                database=DatabaseTable(),
                security=SecurityTable(argon2_memory=8192, argon2_time=1),
            ),
            database=self.database,
            store=store,
            room=Room(clock, store, self.files),
            files=self.files,
            password_checks=FakeWorkers(),
            code_checks=FakeWorkers(),
            sessions=self.sessions,
            acceptor=self.acceptor,
            keys=self.keys,
            follower=self.follower,
            resolver=self.resolver,
            limits=Limits(clock),
        )


@implementer(ITCPTransport)
class Wire(StringTransport):
    """A transport that records each write, and whose peer may read slowly.

    :ivar writes: the data of each write.
    :ivar waiting: how many bytes the peer has not read yet; it reads all at once unless :attr:`is_slow`.
    """

    def __init__(self, host: str) -> None:
        address = IPv6Address if ":" in host else IPv4Address
        super().__init__(peerAddress=address("TCP", host, 50000))
        self.writes: list[bytes] = []
        self.waiting = 0
        self.most_waiting = 0
        self.is_slow = False
        self.no_delay = False
        self.aborted = False
        self.half_closed = False
        self.producer_paused = False

    def write(self, data: bytes) -> None:
        super().write(data)
        self.writes.append(data)
        if self.is_slow:
            self.waiting += len(data)
            self.most_waiting = max(self.most_waiting, self.waiting)
            if self.waiting > SOCKET_BUFFER and self.producer is not None and not self.producer_paused:
                self.producer_paused = True
                self.producer.pauseProducing()

    def take(self) -> None:
        """Have the peer read all that was written."""
        self.waiting = 0
        if self.producer is not None and self.producer_paused:
            self.producer_paused = False
            self.producer.resumeProducing()

    def setTcpNoDelay(self, enabled: bool) -> None:
        self.no_delay = enabled

    def getTcpNoDelay(self) -> bool:
        return self.no_delay

    def setTcpKeepAlive(self, enabled: bool) -> None:
        raise NotImplementedError

    def getTcpKeepAlive(self) -> bool:
        return False

    def loseWriteConnection(self) -> None:
        self.half_closed = True

    def abortConnection(self) -> None:
        self.aborted = True

    @property
    def reading(self) -> bool:
        return str(self.producerState) == "producing"

    @property
    def closed(self) -> bool:
        """Whether the server has closed, half-closed or aborted the connection."""
        return self.disconnecting or self.half_closed or self.aborted


class Peer:
    """A client at the other end of a connection.

    :ivar refused_bytes: the bytes that the server has not read yet, because it paused reading.
    """

    def __init__(self, factory: MensagoFactory, host: str) -> None:
        self.wire = Wire(host)
        self.clock = cast(Clock, factory.reactor)
        protocol = factory.buildProtocol(self.wire.getPeer())
        if protocol is None:
            raise ConnectionRefusedError
        self.protocol: MensagoProtocol = protocol
        self.protocol.makeConnection(self.wire)
        self.lost = False
        self.refused_bytes = b""

    @property
    def session(self) -> Session:
        return self.protocol.session

    @property
    def greeting(self) -> bytes:
        return self.wire.writes[0]

    @property
    def stream(self) -> bytes:
        """All bytes after the greeting."""
        return b"".join(self.wire.writes[1:])

    @property
    def answers(self) -> list[Response]:
        """All messages after the greeting."""
        decoder = FrameDecoder(30_000_000)
        decoder.receive(self.stream)
        found = []
        while (message := decoder.next_message()) is not None:
            found.append(Response.from_bytes(message))
        if decoder.buffered:
            raise AssertionError("the server sent part of a frame")
        return found

    @property
    def codes(self) -> list[int]:
        return [int(answer.status) for answer in self.answers]

    @property
    def last(self) -> Response:
        return self.answers[-1]

    def send(self, data: bytes) -> None:
        """Send bytes; the server reads them until it pauses reading."""
        waiting = self.refused_bytes + data
        sent = 0
        while sent < len(waiting) and self.wire.reading and not self.lost and not self.wire.aborted:
            piece = waiting[sent : sent + SOCKET_BUFFER]
            sent += len(piece)
            self.protocol.dataReceived(piece)
            self.run_pending_calls()
        self.refused_bytes = waiting[sent:]

    def run_pending_calls(self) -> None:
        """Run the delayed calls that are due, until there are none."""
        while any(call.getTime() <= self.clock.seconds() for call in self.clock.getDelayedCalls()):
            self.clock.advance(0)

    def ask(self, action: str, **fields: str) -> None:
        """Send a request; underscores in the names of fields become dashes."""
        self.send(request(action, **fields))

    def lose(self) -> None:
        """Lose the connection."""
        self.lost = True
        self.wire.disconnecting = True
        self.protocol.connectionLost(Failure(connectionDone.value))


def request(action: str, **fields: str) -> bytes:
    """Make the frames of a request."""
    data = {name.replace("_", "-"): value for name, value in fields.items()}
    return encode_message(Request(action, data).to_bytes())


def make_member(workspace: WorkspaceID | None = None, *, is_admin: bool = False) -> Member:
    """Make a member."""
    wid = workspace or WorkspaceID.random()
    return Member(
        workspace=wid,
        domain=DOMAIN,
        device=DeviceID.random(),
        is_admin=is_admin,
        directory=ServerPath.workspace_root(wid),
        session=WorkspaceID.random().uuid,
    )


async def answer_ok(asked: Everything, session: Session) -> Outcome:
    """Answer 200 with the fields of the request."""
    return Response(Status.OK, data=asked.data)


@frozen
class Held:
    """A command that waits until the test fires its gate."""

    begun: list[Everything] = field(factory=list)
    gates: list[Deferred[Outcome]] = field(factory=list)

    async def perform(self, asked: Everything, session: Session) -> Outcome:
        self.begun.append(asked)
        gate: Deferred[Outcome] = Deferred()
        self.gates.append(gate)
        return await gate


class Installed:
    """A registry of commands that the test can replace."""

    def __init__(self) -> None:
        self.registry = CommandRegistry.of(())

    def find(self, action: str) -> ICommand:
        return self.registry.find(action)


class ConversationTestCase(SynchronousTestCase):
    """A server with a clock and the commands ECHO, HOLD, CANCEL, IDLE, LOGOUT and QUIT.

    :ivar fakes: the parts of the server.
    """

    def setUp(self) -> None:
        """Make the server and its clock, which the test advances."""
        self.clock = Clock()
        self.fakes = Fakes(self.clock)
        self.server = self.fakes.server
        self.installed = Installed()
        self.factory = MensagoFactory(self.clock, self.server, self.installed)
        self.factory.startFactory()
        self.held = Held()
        self.commands()

    def commands(self, *more: Any) -> None:
        """Add commands: of the test, or of mensagod."""
        built_in = (sessions.Cancel(), sessions.Idle(), sessions.Logout(), sessions.Quit())
        own: Iterable[Any] = (Scripted("ECHO", answer_ok), Scripted("HOLD", self.held.perform), *more)
        self.installed.registry = CommandRegistry.of((*built_in, *own))

    def change(self, table: str, **values: Any) -> None:
        """Change the configuration."""
        config = self.server.config
        self.server.config = evolve(config, **{table: evolve(getattr(config, table), **values)})
        self.factory.configure(self.server.config)

    def connect(self, host: str = "192.0.2.1") -> Peer:
        return Peer(self.factory, host)

    def member(self, *, is_admin: bool = False) -> Peer:
        """Connect a member."""
        peer = self.connect()
        peer.session.enter(make_member(is_admin=is_admin))
        return peer

    def wait(self, seconds: float) -> None:
        """Advance the clock, a second at a time."""
        for _ in range(int(seconds)):
            self.clock.advance(1)

    def logged(self, error: type[BaseException]) -> list[Failure]:
        """Give the logged failures of this type, and accept them."""
        return cast("list[Failure]", self.flushLoggedErrors(error))
