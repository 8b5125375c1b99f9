"""Raw data in both directions (spec 01, *Raw data phases*)."""

from io import BytesIO
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IConsumer, IProducer
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.web.iweb import IBodyProducer
from zope.interface import implementer

from mensagod.client.connection import ClientConnection
from mensagod.client.errors import Disconnected, RequestRefused, RequestTimedOut, UnexpectedAnswer
from mensagod.client.files import download, download_to
from mensagod.client.protocol import ClientProtocol
from mensagod.client.uploads import WrongSize
from mensagod.status import Status
from mensagod.values.paths import ServerPath
from mensagod.wire.frames import encode_message
from mensagod.wire.messages import Request, Response
from tests.client.scripted import READY, ClientTestCase, ok, reply

WID = "22222222-2222-2222-2222-222222222222"
FILE = ServerPath.from_text(f"/ wsp {WID} new 1700000000.5.{WID}")


class FullDisk:
    """A sink that fails."""

    def write(self, data: bytes) -> None:
        raise OSError("disk full")


@implementer(IConsumer)
class SlowSink:
    """A sink that asks for a pause at each piece."""

    def __init__(self) -> None:
        self.content = b""
        self.producer: Any = None

    def registerProducer(self, producer: IProducer, streaming: bool) -> None:
        self.producer = producer

    def unregisterProducer(self) -> None:
        self.producer = None

    def write(self, data: bytes) -> None:
        self.content += data
        self.producer.pauseProducing()


@implementer(IBodyProducer)
class Source:
    """A producer of bytes that a test moves by hand."""

    def __init__(self) -> None:
        self.length = 0
        self.consumer: Any = None
        self.done: Deferred[None] = Deferred()
        self.stopped = 0
        self.paused = False

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        self.consumer = consumer
        return self.done

    def stopProducing(self) -> None:
        self.stopped += 1

    def pauseProducing(self) -> None:
        self.paused = True

    def resumeProducing(self) -> None:
        self.paused = False


class DownloadTests(ClientTestCase):
    """A file is exactly the bytes that were announced."""

    def test_download(self) -> None:
        """The bytes of the file come back, and the frames after them are answers again."""
        connection = self.open(reply(Status.CONTINUE, Size="5"), b"\x31\0\xff56", ok(N="1"))
        running = self.begin(download(connection, FILE))
        after = connection.request("IDLE")
        self.endpoint.flush()
        self.assertEqual(self.successResultOf(running), b"\x31\0\xff56")
        self.assertEqual(self.successResultOf(after).data["N"], "1")
        first, second = self.server.requests[:2]
        self.assertEqual(first.data, {"Path": str(FILE)})
        self.assertEqual(second.data, {"Size": "5"})

    def test_offset(self) -> None:
        """From an offset on only the rest comes; none at all if there is no rest."""
        connection = self.open(reply(Status.CONTINUE, Size="5"), b"45", reply(Status.CONTINUE, Size="5"), b"")
        self.assertEqual(self.run_(download(connection, FILE, 3)), b"45")
        self.assertEqual(self.server.requests[0].data["Offset"], "3")
        self.assertEqual(self.run_(download(connection, FILE, 5)), b"")

    def test_to_file(self) -> None:
        """Whatever has ``write`` may take the bytes."""
        connection = self.open(reply(Status.CONTINUE, Size="200000"), b"x" * 200_000)
        sink = BytesIO()
        self.assertEqual(self.run_(download_to(connection, FILE, sink)), 200_000)
        self.assertEqual(sink.getvalue(), b"x" * 200_000)

    def test_refused(self) -> None:
        """A file that is not there leaves the connection as it is."""
        connection = self.open(reply(Status.NOT_FOUND), ok())
        self.assertEqual(self.failure(download(connection, FILE), RequestRefused).status, Status.NOT_FOUND)
        connection.request("IDLE")
        self.endpoint.flush()
        self.assertEqual(self.server.actions, ["DOWNLOAD", "IDLE"])

    def test_steps_stay_together(self) -> None:
        """A request made between the two steps goes out behind the second."""
        connection = self.open()
        running = self.begin(download(connection, FILE))
        other = connection.request("IDLE")
        self.endpoint.flush()
        self.assertEqual(self.server.actions, ["DOWNLOAD"])
        self.say(reply(Status.CONTINUE, Size="2"))
        self.say(b"a")
        self.assertNoResult(running)
        self.say(b"b")
        self.assertEqual(self.successResultOf(running), b"ab")
        self.say(ok())
        self.successResultOf(other)
        self.assertEqual(self.server.actions, ["DOWNLOAD", "DOWNLOAD", "IDLE"])

    def test_absurd_sizes(self) -> None:
        """A size that no memory holds, one before the offset, or none at all ends the connection."""
        for size, offset in (("1000", 0), (str(2**62), 0), ("3", 4), ("-1", 0), ("", 0)):
            connection = self.open(reply(Status.CONTINUE, Size=size))
            self.failure(download(connection, FILE, offset, max_size=999), UnexpectedAnswer)
            self.endpoint.flush()
            self.assertTrue(self.server.lost)

    def test_lost(self) -> None:
        """A connection that ends before the last byte is a failure."""
        connection = self.open(reply(Status.CONTINUE, Size="5"), b"1234")
        running = self.begin(download(connection, FILE))
        self.server.drop()
        self.endpoint.flush()
        self.failureResultOf(running, Disconnected)

    def test_timeout(self) -> None:
        """Time begins anew with each piece of data, and runs out without."""
        connection = self.open(reply(Status.CONTINUE, Size="5"), timeout=10)
        running = self.begin(download(connection, FILE))
        for _ in range(4):
            self.clock.advance(9)
            self.say(b"x")
        self.assertNoResult(running)
        self.clock.advance(10)
        self.failureResultOf(running, RequestTimedOut)

    def test_faulty_sink(self) -> None:
        """A sink that fails ends the download as it failed, and the connection."""
        connection = self.open(reply(Status.CONTINUE, Size="5"), b"12345")
        self.failure(download_to(connection, FILE, FullDisk()), OSError)
        self.endpoint.flush()
        self.assertTrue(self.server.lost)

    def test_cancelled(self) -> None:
        """Whoever gives up between the steps gives up the connection: the server waits for the second."""
        connection = self.open()
        running = self.begin(download(connection, FILE))
        running.cancel()
        self.failureResultOf(running, CancelledError)
        self.failureResultOf(connection.request("IDLE"), Disconnected)

    def test_back_pressure(self) -> None:
        """A sink that is a consumer can pause the server, until it has all."""
        protocol = ClientProtocol(self.clock, 60, 1000)
        transport = StringTransport()
        protocol.makeConnection(transport)
        protocol.dataReceived(READY)
        sink = SlowSink()
        running = protocol.receive(Request("DOWNLOAD"), 4, sink)
        protocol.dataReceived(b"ab")
        self.assertEqual(transport.producerState, "paused")
        transport.resumeProducing()
        protocol.dataReceived(b"cd")
        self.successResultOf(running)
        self.assertEqual((sink.content, sink.producer), (b"abcd", None))

    def test_back_pressure_ends(self) -> None:
        """A consumer is let go of when the connection ends."""
        protocol = ClientProtocol(self.clock, 60, 1000)
        protocol.makeConnection(StringTransport())
        protocol.dataReceived(READY)
        sink = SlowSink()
        running = protocol.receive(Request("DOWNLOAD"), 4, sink)
        protocol.dataReceived(b"ab")
        protocol.connectionLost()
        self.failureResultOf(running, Disconnected)
        self.assertIsNone(sink.producer)

    @given(st.lists(st.binary(max_size=100), max_size=5), st.data())
    @settings(deadline=None)
    def test_any_cut(self, files: list[bytes], data: st.DataObject) -> None:
        """Frames and raw data that alternate, cut anyhow, come out as they went in."""
        protocol = ClientProtocol(Clock(), 60, 1000)
        protocol.makeConnection(StringTransport())
        stream = READY
        found: list[bytes] = []

        def keep(_: Response, sink: BytesIO) -> None:
            found.append(sink.getvalue())

        for content in files:
            sink = BytesIO()
            protocol.ask(Request("A")).addCallback(lambda answer: found.append(answer.data["N"].encode()))
            protocol.receive(Request("B"), len(content), sink)
            protocol.ask(Request("C")).addCallback(keep, sink)
            announced = encode_message(ok(N=str(len(content))).to_bytes())
            stream += announced + content + encode_message(ok().to_bytes())
        cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=20)))
        for begin, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
            protocol.dataReceived(stream[begin:end])
        self.assertEqual(found, [part for content in files for part in (b"%d" % len(content), content)])


class UploadTests(ClientTestCase):
    """The server gets exactly the bytes that were announced, then says what it thinks of them."""

    async def upload(
        self, connection: ClientConnection, size: int, source: bytes | IBodyProducer
    ) -> Response:
        """Do what a command with an upload does."""
        async with connection.turn() as turn:
            await turn.request("UPLOAD", {"Size": size}, Status.CONTINUE)
            self.server.raw_expected = size
            return await turn.transfer(size, source, Status.OK)

    def test_bytes(self) -> None:
        """Bytes are sent as they are; frames go on behind them."""
        connection = self.open(reply(Status.CONTINUE), ok())
        running = self.begin(self.upload(connection, 5, b"\x31\0\xff56"))
        other = connection.request("IDLE")
        self.endpoint.flush()
        self.assertEqual(self.server.raw, b"\x31\0\xff56")
        self.assertEqual(self.server.actions, ["UPLOAD"])
        self.say(ok(N="done"))
        self.assertEqual(self.successResultOf(running).data["N"], "done")
        self.endpoint.flush()
        self.successResultOf(other)

    def test_bytes_of_another_size(self) -> None:
        """A fault of the caller ends the connection: the server waits for bytes that will not come."""
        connection = self.open(reply(Status.CONTINUE))
        self.failure(self.upload(connection, 5, b"1234"), WrongSize)
        self.failureResultOf(connection.request("IDLE"), Disconnected)

    def start_source(self, size: int, **options: Any) -> tuple[Source, Deferred[Response]]:
        """Begin an upload from a producer."""
        self.source = Source()
        connection = self.open(reply(Status.CONTINUE), **options)
        running = self.begin(self.upload(connection, size, self.source))
        return self.source, running

    def test_producer(self) -> None:
        """A producer sends piece by piece."""
        source, running = self.start_source(4)
        for piece in (b"ab", b"cd"):
            source.consumer.write(piece)
            self.endpoint.flush()
        source.done.callback(None)
        self.assertEqual(self.server.raw, b"abcd")
        self.assertNoResult(running)
        self.say(ok())
        self.successResultOf(running)
        self.assertEqual(source.stopped, 0)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_producer_of_another_size(self) -> None:
        """A producer with more or fewer bytes than announced ends the connection."""
        source, running = self.start_source(4)
        self.assertRaises(WrongSize, source.consumer.write, b"12345")
        source.consumer.write(b"abc")
        source.done.callback(None)
        self.failureResultOf(running, WrongSize)
        self.endpoint.flush()
        self.assertTrue(self.server.lost)

    def test_faulty_producer(self) -> None:
        """A producer that fails ends the upload as it failed."""
        source, running = self.start_source(4)
        source.done.errback(OSError("bad sector"))
        self.failureResultOf(running, OSError)

    def test_early_answer(self) -> None:
        """A server that has enough is heard; the rest is not sent, and the connection ends."""
        source, running = self.start_source(4)
        source.consumer.write(b"ab")
        self.endpoint.flush()
        self.say(reply(Status.INTERRUPTED))
        self.assertEqual(self.failureResultOf(running, RequestRefused).value.status, Status.INTERRUPTED)
        self.endpoint.flush()
        self.assertEqual(source.stopped, 1)
        self.assertTrue(self.server.lost)

    def test_lost(self) -> None:
        """A connection that ends meanwhile stops the source."""
        source, running = self.start_source(4)
        self.server.drop()
        self.endpoint.flush()
        self.failureResultOf(running, Disconnected)
        self.assertEqual(source.stopped, 1)

    def test_back_pressure(self) -> None:
        """A slow server slows down the source."""
        protocol = ClientProtocol(self.clock, 60, 1000)
        transport = StringTransport()
        protocol.makeConnection(transport)
        protocol.dataReceived(READY)
        source = Source()
        running = protocol.transfer(4, source)
        self.assertTrue(transport.streaming)
        between: Any = transport.producer
        between.pauseProducing()
        self.assertTrue(source.paused)
        between.resumeProducing()
        self.assertFalse(source.paused)
        between.stopProducing()
        protocol.connectionLost()
        self.failureResultOf(running, Disconnected)
        self.assertEqual((source.stopped, transport.producer), (1, None))

    def test_timeout(self) -> None:
        """Time begins anew with each piece that was sent, and with the last for the answer."""
        source, running = self.start_source(4, timeout=10)
        for _ in range(4):
            self.clock.advance(9)
            source.consumer.write(b"x")
        source.done.callback(None)
        self.clock.advance(9)
        self.assertNoResult(running)
        self.clock.advance(1)
        self.failureResultOf(running, RequestTimedOut)
