"""Raw data phases: exact bytes, in bounded memory (spec 01, *Raw data phases*)."""

from typing import Any

from attrs import define, field
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError, Deferred
from zope.interface import implementer

from mensagod.errors import QuotaExceeded
from mensagod.server.transfers import CHUNK, DISCARD
from mensagod.sessions.exchange import Interrupted
from mensagod.sessions.outcomes import Outcome
from mensagod.sessions.session import Session
from mensagod.status import Status
from mensagod.wire.messages import Response
from mensagod.wire.raw_data import ISink, ISource
from tests.conversations import ConversationTestCase, Everything, Peer, Scripted, request

IN_FLIGHT = 256 * 1024
"""The most that a transfer may hold in memory (spec 01)."""


@implementer(ISource)
@define(eq=False)
class Source:
    """Gives bytes.

    :ivar breaks_at: where reading fails.
    :ivar ready: how much of the beginning is there without waiting.
    """

    content: bytes
    breaks_at: int | None = None
    at: int = 0
    closed: int = 0
    ready: int = 0

    def read_ready(self, size: int) -> bytes:
        """Give what is ``ready``, once."""
        if self.closed:
            raise AssertionError("read after it was closed")
        data = self.content[self.at : self.at + min(size, self.ready)]
        self.at += len(data)
        self.ready = 0
        return data

    def read(self, size: int) -> bytes:
        if self.closed:
            raise AssertionError("read after it was closed")
        if self.breaks_at is not None and self.at >= self.breaks_at:
            raise OSError("the disk is broken")
        data = self.content[self.at : self.at + size]
        self.at += len(data)
        return data

    def close(self) -> None:
        self.closed += 1


@implementer(ISink)
@define(eq=False)
class Sink:
    """Takes bytes.

    :ivar gate: what each write waits for.
    :ivar fails_at: from how many bytes on a write fails with :attr:`error`.
    """

    error: BaseException | None = None
    fails_at: int | None = None
    content: bytes = b""
    taken: int = 0
    gate: Deferred[None] | None = None
    ends: list[str] = field(factory=list)

    async def write(self, data: bytes) -> None:
        self.taken += len(data)
        if self.gate is not None:
            await self.gate
        self.content += data
        if self.error is not None and self.fails_at is not None and len(self.content) > self.fails_at:
            raise self.error

    async def finish(self) -> Response:
        self.ends.append("finished")
        if self.error is not None and self.fails_at is None:
            raise self.error
        return Response(Status.OK, data={"Size": str(len(self.content))})

    async def interrupted(self) -> Response:
        self.ends.append("interrupted")
        if self.error is not None:
            raise self.error
        return Response(Status.INTERRUPTED, data={"Offset": str(len(self.content))})


async def receive(session: Session, size: int, sink: Sink) -> Outcome:
    """Take raw data as a command does."""
    try:
        await session.receive(Response(Status.CONTINUE), size, sink)
    except Interrupted:
        return await sink.interrupted()
    return await sink.finish()


class RawTestCase(ConversationTestCase):
    """A server with GET and PUT."""

    def setUp(self) -> None:
        """Neither has anything to send or take yet."""
        super().setUp()
        self.commands(Scripted("GET", self.get), Scripted("PUT", self.put))
        self.peer = self.connect()

    async def get(self, asked: Everything, session: Session) -> Outcome:
        try:
            return await session.send(self.source, int(asked.data["Size"]))
        finally:
            self.source.close()

    async def put(self, asked: Everything, session: Session) -> Outcome:
        return await receive(session, int(asked.data["Size"]), self.sink)

    def prepare_source(self, size: int, **more: Any) -> bytes:
        """Prepare ``size`` bytes, all different from those before them."""
        content = (b"0123456789abcdefghijklmnopqrstuvwxyz_" * (size // 37 + 1))[:size]
        self.source = Source(content, **more)
        return content

    def begin_put(self, size: int, sink: Sink, peer: Peer | None = None) -> None:
        self.sink = sink
        (peer or self.peer).ask("PUT", Size=str(size))


class SendTests(RawTestCase):
    """The server sends."""

    def test_exact(self) -> None:
        """Exactly the bytes, no frame after them; then the next request is answered."""
        for size in (0, 1, 131072, 1_000_000):
            content = self.prepare_source(size)
            peer = self.connect()
            peer.send(request("GET", Size=str(size)) + request("ECHO"))
            self.assertTrue(peer.stream.startswith(content + b"\x32\x00"))
            self.assertEqual(len(peer.stream) - size, 3 + len(Response(Status.OK).to_bytes()))
            self.assertEqual(self.source.closed, 1)

    def test_ready(self) -> None:
        """What is in memory goes out without a thread, in order before what is not."""
        for ready in (1, 1000, 131072):
            content = self.prepare_source(500_000, ready=ready)
            peer = self.connect()
            gate: Deferred[None] = Deferred()
            self.fakes.files.gate = gate
            peer.ask("GET", Size="500000")
            self.assertEqual(peer.stream, content[: min(ready, CHUNK)])
            self.fakes.files.gate = None
            gate.callback(None)
            self.assertEqual(peer.stream, content)

    def test_bounded(self) -> None:
        """A slow peer holds the reading back: never more than 256 KiB are under way."""
        content = self.prepare_source(3_000_000)
        self.peer.wire.is_slow = True
        self.peer.ask("GET", Size="3000000")
        while self.peer.wire.producer_paused:
            under_way = self.source.at - len(self.peer.stream) + self.peer.wire.waiting
            self.assertLessEqual(under_way, IN_FLIGHT)
            self.wait(55)
            self.peer.wire.take()
        self.assertEqual(self.peer.stream, content)
        self.assertFalse(self.peer.wire.closed)

    def test_never_reads(self) -> None:
        """Who takes nothing for a minute is cut off, and the source is closed."""
        self.prepare_source(3_000_000)
        self.peer.wire.is_slow = True
        self.peer.ask("GET", Size="3000000")
        self.wait(59)
        self.assertFalse(self.peer.wire.aborted)
        self.wait(1)
        self.assertTrue(self.peer.wire.aborted)
        self.peer.lose()
        self.assertEqual(self.source.closed, 1)

    def test_lost(self) -> None:
        """A lost connection closes the source, but not while a thread reads from it."""
        self.prepare_source(3_000_000)
        self.peer.wire.is_slow = True
        self.peer.ask("GET", Size="3000000")
        gate: Deferred[None] = Deferred()
        self.fakes.files.gate = gate
        self.peer.wire.take()
        self.peer.lose()
        self.assertEqual(self.source.closed, 0)
        gate.callback(None)
        self.assertEqual(self.source.closed, 1)
        self.assertLess(len(self.peer.stream), 3_000_000)

    def test_lost_while_it_waits(self) -> None:
        """Nor while it waits for the peer, and a thread already reads what comes next."""
        self.prepare_source(3_000_000)
        self.peer.wire.is_slow = True
        self.peer.ask("GET", Size="3000000")
        first: Deferred[None] = Deferred()
        second: Deferred[None] = Deferred()
        self.fakes.files.gate = first
        self.peer.wire.take()
        self.fakes.files.gate = second
        first.callback(None)
        self.assertTrue(self.peer.wire.producer_paused)
        self.peer.lose()
        self.assertEqual(self.source.closed, 0)
        second.callback(None)
        self.assertEqual(self.source.closed, 1)

    def test_lost_before(self) -> None:
        """So does one that is lost before the first byte."""
        self.prepare_source(1000)
        gate: Deferred[None] = Deferred()
        self.fakes.files.gate = gate
        self.peer.ask("GET", Size="1000")
        self.peer.lose()
        gate.callback(None)
        self.assertEqual((self.source.closed, self.peer.stream), (1, b""))

    def test_read_error(self) -> None:
        """A read error closes the connection: what is missing cannot be told."""
        self.prepare_source(1_000_000, breaks_at=300_000)
        self.peer.ask("GET", Size="1000000")
        self.assertTrue(self.peer.wire.aborted)
        self.assertEqual(self.source.closed, 1)
        self.assertEqual(len(self.logged(OSError)), 1)

    def test_too_short(self) -> None:
        """So does a file that is shorter than it was."""
        self.prepare_source(1000)
        self.peer.ask("GET", Size="2000")
        self.assertTrue(self.peer.wire.aborted)
        self.assertEqual(len(self.logged(EOFError)), 1)


class ReceiveTests(RawTestCase):
    """The server receives."""

    def test_exact(self) -> None:
        """100 first; the frame after the last raw byte is a request again, however all this is cut."""
        content = bytes(range(256)) * 40
        stream = request("PUT", Size=str(len(content))) + content + request("ECHO", N="1")
        for step in (1, 7, 1000, 100_000):
            self.sink = Sink()
            peer = self.connect()
            for cut in range(0, len(stream), step):
                peer.send(stream[cut : cut + step])
            self.assertEqual(peer.codes, [100, 200, 200])
            self.assertEqual(self.sink.content, content)
            self.assertEqual(self.sink.ends, ["finished"])

    @settings(max_examples=60, deadline=None)
    @given(st.binary(max_size=300), st.lists(st.integers(0, 500), max_size=8))
    def test_any_content(self, content: bytes, cuts: list[int]) -> None:
        """Whatever the bytes look like, they are not taken for frames."""
        self.sink = Sink()
        peer = self.connect()
        stream = request("PUT", Size=str(len(content))) + content + request("QUIT")
        places = sorted(min(cut, len(stream)) for cut in cuts)
        for begin, end in zip([0, *places], [*places, len(stream)], strict=True):
            peer.send(stream[begin:end])
        self.assertEqual((peer.codes, self.sink.content), ([100, 200], content))
        self.assertTrue(peer.wire.disconnecting)
        peer.lose()

    def test_slow_sink(self) -> None:
        """A sink slower than the peer holds it back: never more than 256 KiB are under way."""
        sink = Sink()
        self.begin_put(3_000_000, sink)
        sink.gate = Deferred()
        self.peer.send(bytes(3_000_000))
        while sink.gate is not None:
            under_way = 3_000_000 - len(self.peer.refused_bytes) - len(sink.content)
            self.assertLessEqual(under_way, IN_FLIGHT)
            self.assertEqual(self.peer.wire.reading, not self.peer.refused_bytes)
            gate, sink.gate = sink.gate, Deferred() if self.peer.refused_bytes else None
            gate.callback(None)
            self.peer.send(b"")
        self.assertEqual(self.peer.codes, [100, 200])
        self.assertEqual(len(sink.content), 3_000_000)

    def test_stuck_sink(self) -> None:
        """That our disk is slow is not the peer's silence."""
        sink = Sink()
        self.begin_put(2000, sink)
        sink.gate = Deferred()
        self.peer.send(bytes(1000))
        self.wait(500)
        sink.gate.callback(None)
        self.wait(59)
        self.peer.send(bytes(1000))
        self.assertEqual(self.peer.codes, [100, 200])

    def test_silence(self) -> None:
        """Silence for a minute is an interruption: 305, and the end."""
        sink = Sink()
        self.begin_put(2000, sink)
        self.wait(59)
        self.peer.send(bytes(500))
        self.wait(59)
        self.assertEqual(self.peer.codes, [100])
        self.wait(1)
        self.assertEqual(self.peer.codes, [100, 305])
        self.assertEqual(self.peer.last.data, {"Offset": "500"})
        self.assertTrue(self.peer.wire.half_closed)
        self.assertEqual(sink.ends, ["interrupted"])

    def test_lost(self) -> None:
        """So is a lost connection, after the bytes that have come; the session ends after the sink."""
        peer = self.member()
        sink = Sink()
        self.begin_put(2000, sink, peer)
        sink.gate = Deferred()
        peer.send(bytes(500))
        peer.lose()
        self.assertEqual(self.fakes.sessions.left, [])
        sink.gate.callback(None)
        self.assertEqual((sink.ends, len(sink.content)), (["interrupted"], 500))
        self.assertEqual(len(self.fakes.sessions.left), 1)
        self.assertEqual(peer.codes, [100])

    def test_lost_before(self) -> None:
        """A connection that is lost before the 100 is an interruption, too."""
        sink = Sink()

        async def perform(asked: Everything, session: Session) -> Outcome:
            await self.held.perform(asked, session)
            return await receive(session, 10, sink)

        self.commands(Scripted("PUT", perform))
        self.peer.ask("PUT")
        self.peer.lose()
        self.held.gates[0].callback(Response(Status.OK))
        self.assertEqual(sink.ends, ["interrupted"])

    def test_nothing(self) -> None:
        """No bytes at all are a transfer as well."""
        self.sink = Sink()
        self.peer.send(request("PUT", Size="0") + request("ECHO"))
        self.assertEqual(self.peer.codes, [100, 200, 200])
        self.assertEqual(self.sink.ends, ["finished"])

    def test_update_count(self) -> None:
        """The 200 after the data is the next one: it tells a member of changes, once."""
        peer = self.member()
        member = peer.session.member
        assert member is not None
        self.fakes.sessions.updates = 3
        member.stale = True
        self.begin_put(10, Sink(), peer)
        self.assertEqual(peer.codes, [100])
        peer.send(bytes(10))
        self.assertEqual(peer.last.data, {"Size": "10", "UpdateCount": "3"})

    def test_fault_little_left(self) -> None:
        """After a fault the rest is read and discarded, then comes the answer."""
        sink = Sink(QuotaExceeded(), fails_at=1000)
        self.begin_put(DISCARD, sink)
        self.peer.send(bytes(2000))
        self.assertEqual(self.peer.codes, [100])
        self.peer.send(bytes(DISCARD - 2000) + request("ECHO"))
        self.assertEqual(self.peer.codes, [100, 409, 200])
        self.assertEqual(sink.taken, 2000)

    def test_fault_much_left(self) -> None:
        """With more than 1 MiB left it is answered at once, and the connection closes."""
        self.begin_put(DISCARD + 2001, Sink(QuotaExceeded(), fails_at=1000))
        self.peer.send(bytes(2000))
        self.assertEqual(self.peer.codes, [100, 409])
        self.assertTrue(self.peer.wire.half_closed)
        self.peer.send(bytes(500_000))
        self.assertEqual(self.peer.refused_bytes, b"")

    def test_fault_that_closes(self) -> None:
        """So it is if the fault says so."""
        self.begin_put(5000, Sink(QuotaExceeded(close=True), fails_at=1000))
        self.peer.send(bytes(2000))
        self.assertEqual(self.peer.codes, [100, 409])
        self.assertTrue(self.peer.wire.half_closed)

    def test_fault_then_silence(self) -> None:
        """If the rest does not come, the fault is answered all the same."""
        self.begin_put(5000, Sink(QuotaExceeded(), fails_at=1000))
        self.peer.send(bytes(2000))
        self.wait(60)
        self.assertEqual(self.peer.codes, [100, 409])
        self.assertTrue(self.peer.wire.half_closed)

    def test_fault_at_the_end(self) -> None:
        """A fault after the last byte is an answer; the connection stays."""
        self.begin_put(1000, Sink(QuotaExceeded()))
        self.peer.send(bytes(1000) + request("ECHO"))
        self.assertEqual(self.peer.codes, [100, 409, 200])

    def test_fault_of_ours(self) -> None:
        """What only a fault of ours can raise is a 300 in the place of that answer."""
        for fails_at in (500, None):
            peer = self.connect()
            self.begin_put(1000, Sink(OSError("no space left"), fails_at), peer)
            peer.send(bytes(1000) + request("ECHO"))
            self.assertEqual(peer.codes, [100, 300, 200])
            self.assertIn("incident", peer.answers[1].info)
            self.assertEqual(len(self.logged(OSError)), 1)

    def test_fault_of_the_interruption(self) -> None:
        """An interruption that cannot be dealt with is answered like any fault."""
        for error, code in ((QuotaExceeded(), 409), (OSError("no space left"), 300)):
            peer = self.connect()
            self.begin_put(1000, Sink(error, 2000), peer)
            peer.send(bytes(10))
            self.wait(60)
            self.assertEqual(peer.codes, [100, code])
            self.assertTrue(peer.wire.closed)
        self.assertEqual(len(self.logged(OSError)), 1)

    def test_cancelled(self) -> None:
        """A sink that is cancelled while its client is there is a fault of ours, and nothing follows it."""
        for sent in (10, 5000):
            peer = self.connect()
            self.begin_put(5000, Sink(CancelledError(), 4000), peer)
            peer.send(bytes(sent))
            self.wait(60)
            self.assertEqual(peer.codes, [100, 300])
            self.assertTrue(peer.wire.closed)
            self.assertEqual(len(self.logged(CancelledError)), 1)
