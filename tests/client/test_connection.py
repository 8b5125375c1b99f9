"""Connecting, pipelining, timeouts and hostile servers (spec 01)."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport

from mensagod.client.control import idle
from mensagod.client.errors import (
    ClientError,
    Disconnected,
    RequestRefused,
    RequestTimedOut,
    ServerRefused,
    ServerViolation,
    UnexpectedAnswer,
)
from mensagod.client.protocol import ClientProtocol
from mensagod.status import Status
from mensagod.wire.frames import encode_message
from mensagod.wire.greeting import Greeting
from mensagod.wire.messages import Request, Response
from tests.client.scripted import READY, ClientTestCase, ScriptedServer, ok, reply


class CountingTransport(StringTransport):
    """Counts the writes."""

    writes = 0

    def write(self, data: bytes) -> None:
        self.writes += 1
        super().write(data)


class GreetingTests(ClientTestCase):
    """The server speaks first."""

    def test_ready(self) -> None:
        """A greeting with 200 gives a connection, on which nothing has been sent."""
        self.open()
        self.assertEqual(self.server.writes, [])

    def test_refused(self) -> None:
        """A greeting with 302 or 303 is a refusal, and the client hangs up."""
        for status in (Status.SERVER_MAINTENANCE, Status.SERVER_UNAVAILABLE):
            greeting = Greeting(status, Greeting.from_line(READY).date).to_line()
            connecting = self.start(ScriptedServer(greeting=greeting))
            error = self.failureResultOf(connecting, ServerRefused).value
            self.assertEqual(error.status, status)
            self.assertTrue(self.server.lost)

    def test_no_greeting(self) -> None:
        """Whoever is no Mensago server is told apart from one that refuses."""
        for line in (b"SSH-2.0-OpenSSH\r\n", b"x" * 2000, b"{}\n", READY + READY):
            connecting = self.start(ScriptedServer(greeting=line))
            self.endpoint.flush()
            if line == READY + READY:
                # Bytes after the greeting end a connection that has just been made.
                error = self.failureResultOf(
                    self.successResultOf(connecting).request("IDLE"), ServerViolation
                )
            else:
                error = self.failureResultOf(connecting, ServerViolation)
            self.assertNotIsInstance(error.value, ServerRefused)
            self.assertTrue(self.server.lost)

    def test_silence(self) -> None:
        """A server that says nothing is given up after the timeout."""
        connecting = self.start(ScriptedServer(greeting=b""), timeout=10)
        self.clock.advance(9)
        self.assertNoResult(connecting)
        self.clock.advance(1)
        self.failureResultOf(connecting, RequestTimedOut)

    def test_lost(self) -> None:
        """A connection that ends before the greeting is complete."""
        connecting = self.start(ScriptedServer(greeting=READY[:20]))
        self.server.drop()
        self.endpoint.flush()
        self.failureResultOf(connecting, Disconnected)

    def test_cancelled(self) -> None:
        """Whoever waits no longer for the greeting leaves no connection behind."""
        connecting = self.start(ScriptedServer(greeting=b""))
        connecting.cancel()
        self.failureResultOf(connecting, CancelledError)
        self.endpoint.flush()
        self.assertTrue(self.server.lost)
        self.assertEqual(self.clock.getDelayedCalls(), [])


class RequestTests(ClientTestCase):
    """Answers come in the order of the requests."""

    def test_pipelining(self) -> None:
        """Several requests may wait; each gets its own answer, however answers arrive together."""
        connection = self.open()
        waiting = [connection.request("EXISTS", {"Path": f"/ wsp {number}"}) for number in range(5)]
        self.endpoint.flush()
        self.assertEqual(len(self.server.requests), 5)
        self.say(*(ok(N=str(number)) for number in range(3)))
        self.assertNoResult(waiting[3])
        self.say(*(ok(N=str(number)) for number in range(3, 5)))
        found = [self.successResultOf(d).data["N"] for d in waiting]
        self.assertEqual(found, ["0", "1", "2", "3", "4"])

    def test_refusal_is_one_requests_own(self) -> None:
        """A refusal does not touch the requests around it."""
        connection = self.open(ok(), reply(Status.NOT_FOUND), ok())
        waiting = [connection.request("IDLE") for _ in range(3)]
        self.endpoint.flush()
        self.successResultOf(waiting[0])
        error = self.failureResultOf(waiting[1], RequestRefused).value
        self.assertEqual((error.status, error.response.data), (Status.NOT_FOUND, {}))
        self.successResultOf(waiting[2])

    def test_statuses(self) -> None:
        """A caller may say which statuses it hopes for; else any below 300 will do."""
        connection = self.open(reply(Status.PENDING), reply(Status.PENDING), reply(Status.NOT_FOUND))
        asked: list[tuple[Status, ...]] = [(), (Status.OK,), (Status.OK, Status.NOT_FOUND)]
        waiting = [connection.request("X", None, *statuses) for statuses in asked]
        self.endpoint.flush()
        self.assertEqual(self.successResultOf(waiting[0]).status, Status.PENDING)
        self.failureResultOf(waiting[1], RequestRefused)
        self.assertEqual(self.successResultOf(waiting[2]).status, Status.NOT_FOUND)

    def test_one_write(self) -> None:
        """A request goes out in one write, also a long one; fields without value are left out."""
        protocol = ClientProtocol(self.clock, 60, 1000)
        transport = CountingTransport()
        protocol.makeConnection(transport)
        protocol.ask(Request("SEND", {"Message": "x" * 200_000}))
        self.assertEqual(transport.writes, 1)
        connection = self.open(ok())
        connection.request("LIST", {"Path": None, "Time": 0})
        self.endpoint.flush()
        self.assertEqual(self.server.requests[0].data, {"Time": "0"})

    def test_multipart(self) -> None:
        """An answer of many frames is put together."""
        connection = self.open(ok(Files="x" * 500_000), ok())
        waiting = [connection.request("LIST"), connection.request("IDLE")]
        self.endpoint.flush()
        self.assertEqual(len(self.successResultOf(waiting[0]).data["Files"]), 500_000)
        self.successResultOf(waiting[1])

    def test_ask_in_callback(self) -> None:
        """A request sent as soon as an answer is there gets the next one."""
        connection = self.open()
        second: list[Deferred[Response]] = []
        first = connection.request("A")
        first.addCallback(lambda _: second.append(connection.request("B")))
        third = connection.request("C")
        self.endpoint.flush()
        self.say(ok(N="1"), ok(N="2"), ok(N="3"))
        self.assertEqual(self.successResultOf(third).data["N"], "2")
        self.assertEqual(self.successResultOf(second[0]).data["N"], "3")

    def test_cancelled(self) -> None:
        """The answer to a request that nobody waits for any more is not taken for that of the next."""
        connection = self.open()
        first, second = connection.request("A"), connection.request("B")
        first.cancel()
        self.failureResultOf(first, CancelledError)
        self.endpoint.flush()
        self.say(ok(N="1"), ok(N="2"))
        self.assertEqual(self.successResultOf(second).data["N"], "2")


class EndTests(ClientTestCase):
    """However a connection ends, nobody waits forever."""

    def test_lost(self) -> None:
        """All that wait fail, also in the middle of an answer, and so does what is asked later."""
        connection = self.open()
        waiting = [connection.request("IDLE") for _ in range(3)]
        self.endpoint.flush()
        self.say(ok(), encode_message(ok(Files="x" * 100_000).to_bytes())[:70_000])
        self.server.drop()
        self.endpoint.flush()
        self.successResultOf(waiting[0])
        self.failureResultOf(waiting[1], Disconnected)
        self.failureResultOf(waiting[2], Disconnected)
        self.failureResultOf(connection.request("IDLE"), Disconnected)
        self.successResultOf(connection.wait_closed())
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_timeout(self) -> None:
        """An answer that does not come in time ends the connection."""
        connection = self.open(timeout=10)
        first = connection.request("IDLE")
        self.clock.advance(6)
        second = connection.request("IDLE")
        self.endpoint.flush()
        self.say(ok())
        self.successResultOf(first)
        self.clock.advance(9)
        self.assertNoResult(second)
        third = connection.request("IDLE")
        self.clock.advance(1)
        self.failureResultOf(second, RequestTimedOut)
        self.failureResultOf(third, RequestTimedOut)
        self.endpoint.flush()
        self.assertTrue(self.server.lost)

    def test_trickle(self) -> None:
        """An answer byte by byte does not stretch the time."""
        connection = self.open(timeout=10)
        waiting = connection.request("IDLE")
        self.endpoint.flush()
        for byte in encode_message(ok(N="x" * 100).to_bytes())[:20]:
            self.say(bytes([byte]))
            self.clock.advance(1)
        self.failureResultOf(waiting, RequestTimedOut)

    def test_close(self) -> None:
        """QUIT goes out after what was asked before, whose answers still come."""
        connection = self.open(ok())
        waiting = connection.request("IDLE")
        closing = Deferred.fromCoroutine(connection.close())
        late = connection.request("IDLE")
        self.assertNoResult(closing)
        self.endpoint.flush()
        self.successResultOf(waiting)
        self.successResultOf(closing)
        self.failureResultOf(late, Disconnected)
        self.assertEqual(self.server.actions, ["IDLE", "QUIT"])
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.run_(connection.close())

    def test_close_is_not_heard(self) -> None:
        """A server that does not hang up is hung up on."""
        connection = self.open(timeout=10)
        self.server.deaf = True
        closing = self.begin(connection.close())
        self.assertNoResult(closing)
        self.clock.advance(10)
        self.endpoint.flush()
        self.successResultOf(closing)

    def test_abort(self) -> None:
        """The client may hang up at once."""
        connection = self.open()
        waiting = connection.request("IDLE")
        connection.abort()
        self.failureResultOf(waiting, Disconnected)
        self.failureResultOf(connection.request("IDLE"), Disconnected)


class HostileTests(ClientTestCase):
    """A server that breaks the protocol is hung up on."""

    def violate(self, *what: Response | bytes) -> None:
        """Ask one thing, and let the server send something else."""
        connection = self.open(max_answer=100_000)
        waiting = connection.request("IDLE")
        self.endpoint.flush()
        self.say(*what)
        self.failureResultOf(waiting, ServerViolation)
        self.failureResultOf(connection.request("IDLE"), ClientError)
        self.assertTrue(self.server.lost)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_garbage(self) -> None:
        """Bytes that are no frame, frames that are no response."""
        for garbage in (
            b"HTTP/1.1 400 Bad Request\r\n",
            b"\x31\0\x02{}",
            encode_message(b"{}"),
            encode_message(b"[]"),
            encode_message(b"\xff"),
            encode_message(b'{"Code":999,"Status":"","Info":"","Data":{}}'),
            encode_message(b'{"Code":200,"Status":"OK","Info":"","Data":{"x":1}}'),
            b"\x32\0\0",
        ):
            self.violate(garbage)

    def test_too_large(self) -> None:
        """An answer over the limit is refused at its announcement."""
        self.violate(b"\x33\0\x06100001")

    def test_unasked(self) -> None:
        """An answer that nobody asked for ends the connection, also right behind a good one."""
        connection = self.open()
        waiting = connection.request("IDLE")
        self.endpoint.flush()
        self.say(ok(), ok())
        self.successResultOf(waiting)
        self.failureResultOf(connection.request("IDLE"), ServerViolation)
        connection = self.open()
        self.say(ok())
        self.assertTrue(self.server.lost)
        self.failureResultOf(connection.request("IDLE"), ServerViolation)


class UpdateCountTests(ClientTestCase):
    """The server tells of changes with any 200 (spec 04, *Update notification*)."""

    def test_pushed(self) -> None:
        """The count is kept, and the owner called back."""
        heard: list[int] = []
        connection = self.open(ok(), ok(UpdateCount="3"), ok(), on_update_count=heard.append)
        self.run_(idle(connection))
        self.assertEqual((connection.update_count, heard), (None, []))
        self.run_(idle(connection))
        self.run_(idle(connection))
        self.assertEqual((connection.update_count, heard), (3, [3]))

    def test_asked(self) -> None:
        """A count that was asked for is not news."""
        connection = self.open(ok(UpdateCount="7"))
        self.assertEqual(self.run_(idle(connection, 1_700_000_000)), 7)
        self.assertEqual(self.server.requests[0].data, {"CountUpdates": "1700000000"})
        self.assertIsNone(connection.update_count)

    def test_malformed(self) -> None:
        """A count that is no number is an unexpected answer."""
        connection = self.open(ok(UpdateCount="many"))
        waiting = connection.request("EXISTS")
        self.endpoint.flush()
        self.failureResultOf(waiting, UnexpectedAnswer)

    def test_faulty_callback(self) -> None:
        """A fault of the callback is logged and does not touch the request."""

        def callback(count: int) -> None:
            raise ZeroDivisionError

        connection = self.open(ok(UpdateCount="1"), on_update_count=callback)
        waiting = connection.request("EXISTS")
        self.endpoint.flush()
        self.successResultOf(waiting)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)


class CutTests(ClientTestCase):
    """How the bytes of a server are cut does not matter."""

    @given(st.lists(st.integers(1, 200_000), max_size=6), st.data())
    @settings(max_examples=50, deadline=None)
    def test_any_cut(self, sizes: list[int], data: st.DataObject) -> None:
        """Answers come out as they went in."""
        protocol = ClientProtocol(Clock(), 60, 1_000_000)
        protocol.makeConnection(StringTransport())
        answers = [ok(N="x" * size) for size in sizes]
        stream = READY + b"".join(encode_message(answer.to_bytes()) for answer in answers)
        found: list[Any] = []
        for _ in answers:
            protocol.ask(Request("LIST")).addBoth(found.append)
        cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=10)))
        for begin, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
            protocol.dataReceived(stream[begin:end])
        self.assertEqual([answer.data for answer in found], [answer.data for answer in answers])

    @given(st.binary())
    @settings(deadline=None)
    def test_any_bytes(self, garbage: bytes) -> None:
        """Any bytes in the place of a greeting or an answer give our error, or more is waited for."""
        for before in (b"", READY):
            protocol = ClientProtocol(Clock(), 60, 1000)
            protocol.makeConnection(StringTransport())
            protocol.greeting.addErrback(lambda failure: failure.trap(ClientError))
            waiting = protocol.ask(Request("IDLE"))
            protocol.dataReceived(before + garbage)
            protocol.connectionLost()
            self.failureResultOf(waiting, ClientError)
