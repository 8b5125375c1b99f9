"""Connections: greeting, order, back-pressure, timeouts and limits (spec 01)."""

import asyncio
import json
import re
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError, Deferred, ensureDeferred
from twisted.internet.interfaces import IUNIXTransport
from zope.interface import alsoProvides

from mensagod.errors import QuotaExceeded
from mensagod.server.admission import MIB
from mensagod.server.factory import MAX_REFUSED, MAX_REFUSED_OF_SOURCE, SHUTDOWN_SECONDS
from mensagod.server.protocol import (
    CLOSE_SECONDS,
    MAX_FRAMES_AT_ONCE,
    MAX_REQUESTS_AT_ONCE,
    READ_AHEAD,
)
from mensagod.sessions.exchange import GivenUp
from mensagod.sessions.outcomes import Hangup, Outcome
from mensagod.sessions.session import Session
from mensagod.status import Status
from mensagod.wire.frames import encode_message, split_message
from mensagod.wire.messages import Request, Response
from tests.conversations import ConversationTestCase, Everything, Peer, Scripted, make_member, request
from tests.wire.vectors import load

LINE = re.compile(
    rb'\{"Name":"Mensago","Version":"0\.1","Code":(\d+),"Status":"([A-Z ]+)",'
    rb'"Date":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"\}\r\n'
)
IDLE = request("IDLE")


def multipart(total: int, *parts: int) -> bytes:
    """Begin a message of several frames."""
    frames = [b"\x33\x00%c%d" % (len(str(total)), total)]
    frames += [b"\x34%c%c" % divmod(size, 256) + b"x" * size for size in parts]
    return b"".join(frames)


class GreetingTests(ConversationTestCase):
    """The server speaks first."""

    def check_greeting(self, peer: Peer, code: int, status: str) -> None:
        found = LINE.fullmatch(peer.greeting)
        self.assertIsNotNone(found)
        if found is not None:
            self.assertEqual(found.groups(), (b"%d" % code, status.encode()))
        self.assertEqual(len(peer.wire.writes), 1)

    def test_ready(self) -> None:
        """One line of exactly five members, in one write, and no delay for small writes."""
        peer = self.connect()
        self.check_greeting(peer, 200, "OK")
        self.assertTrue(peer.wire.no_delay)
        self.assertFalse(peer.wire.closed)

    def test_unix(self) -> None:
        """A Unix socket has no such delay to switch off."""
        peer = self.connect()
        peer.wire.no_delay = False
        peer.wire.unregisterProducer()
        alsoProvides(peer.wire, IUNIXTransport)
        peer.protocol.connectionMade()
        self.assertFalse(peer.wire.no_delay)

    def test_database_away(self) -> None:
        """303, and the connection closes; whatever the client sends is not looked at."""
        self.fakes.database.available = False
        peer = self.connect()
        self.check_greeting(peer, 303, "SERVER UNAVAILABLE")
        self.assertTrue(peer.wire.disconnecting)
        peer.protocol.dataReceived(IDLE)
        self.assertEqual(peer.stream, b"")

    def test_no_keys_yet(self) -> None:
        """303 until the organization's keys are loaded."""
        self.fakes.keys.keyring = None
        self.check_greeting(self.connect(), 303, "SERVER UNAVAILABLE")

    def test_stopping(self) -> None:
        """303 while the server stops."""
        self.factory.stopping = True
        self.check_greeting(self.connect(), 303, "SERVER UNAVAILABLE")

    def test_limit_of_address(self) -> None:
        """303 for one connection too many of one address; others come in, and so does who comes later."""
        self.change("network", max_clients_per_ip=2)
        first, _ = self.connect(), self.connect()
        self.check_greeting(self.connect(), 303, "SERVER UNAVAILABLE")
        self.check_greeting(self.connect("192.0.2.2"), 200, "OK")
        first.lose()
        self.check_greeting(self.connect(), 200, "OK")

    def test_refused_and_staying(self) -> None:
        """Who is sent away and stays is told so only a few times, then closed without a word."""
        self.change("performance", max_clients=1)
        self.connect("192.0.2.1")
        peers = [self.connect("192.0.2.2") for _ in range(MAX_REFUSED_OF_SOURCE)]
        with self.assertRaises(ConnectionRefusedError):
            self.connect("192.0.2.2")
        for number in range(MAX_REFUSED - MAX_REFUSED_OF_SOURCE):
            self.connect(f"198.51.100.{number}")
        with self.assertRaises(ConnectionRefusedError):
            self.connect("203.0.113.1")
        peers[0].lose()
        self.assertIn(b'"Code":303', self.connect("203.0.113.1").greeting)

    def test_limit_of_network(self) -> None:
        """IPv6 addresses of one /64 count as one."""
        self.change("network", max_clients_per_ip=2)
        for host in ("2001:db8::1", "2001:db8::ffff:1"):
            self.check_greeting(self.connect(host), 200, "OK")
        self.check_greeting(self.connect("2001:db8::2"), 303, "SERVER UNAVAILABLE")
        self.check_greeting(self.connect("2001:db8:0:1::2"), 200, "OK")

    def test_limit_in_all(self) -> None:
        """303 for one connection too many; those sent away do not count."""
        self.change("performance", max_clients=2)
        first = self.connect("192.0.2.1")
        self.connect("192.0.2.2")
        refused = [self.connect(f"192.0.2.{n}") for n in range(3, 9)]
        for peer in refused:
            self.check_greeting(peer, 303, "SERVER UNAVAILABLE")
            peer.lose()
        first.lose()
        self.check_greeting(self.connect("192.0.2.9"), 200, "OK")
        self.check_greeting(self.connect("192.0.2.9"), 303, "SERVER UNAVAILABLE")


class RequestTests(ConversationTestCase):
    """Requests and answers."""

    def test_answer(self) -> None:
        """One write, header and payload together, with exactly four members."""
        peer = self.connect()
        peer.ask("echo", A="1")
        self.assertEqual(len(peer.wire.writes), 2)
        self.assertEqual(
            json.loads(peer.stream[3:]), {"Code": 200, "Status": "OK", "Info": "", "Data": {"A": "1"}}
        )

    def test_pipeline(self) -> None:
        """Many requests in one piece are answered in order, each in one write."""
        peer = self.connect()
        peer.send(b"".join(request("ECHO", N=str(n)) for n in range(2000)))
        self.assertEqual([answer.data["N"] for answer in peer.answers], [str(n) for n in range(2000)])
        self.assertEqual(len(peer.wire.writes), 2001)

    def test_turns(self) -> None:
        """A client that sends many requests at once lets others have their turn in between."""
        greedy, modest = self.connect("192.0.2.1"), self.connect("192.0.2.2")
        greedy.protocol.dataReceived(request("ECHO") * 100)
        self.assertEqual(len(greedy.answers), MAX_REQUESTS_AT_ONCE)
        modest.protocol.dataReceived(request("ECHO"))
        self.assertEqual(len(modest.answers), 1)
        greedy.run_pending_calls()
        self.assertEqual(len(greedy.answers), 100)

    def test_turns_of_frames(self) -> None:
        """So does one that sends a message in many parts; it is read on without further bytes."""
        peer = self.connect()
        message = Request("ECHO", {"A": "x" * 3000}).to_bytes()
        parts = [b"\x34\x00\x01%c" % byte for byte in message[:-1]] + [b"\x35\x00\x01%c" % message[-1]]
        peer.protocol.dataReceived(b"\x33\x00\x04%d" % len(message) + b"".join(parts))
        self.assertEqual(peer.answers, [])
        self.assertEqual(self.factory.ledger.held, MAX_FRAMES_AT_ONCE - 1)
        peer.run_pending_calls()
        self.assertEqual(peer.codes, [200])

    def test_lost_between_turns(self) -> None:
        """What a client wanted that has gone is not begun."""
        peer = self.connect()
        peer.protocol.dataReceived(request("ECHO") * 100)
        peer.lose()
        self.assertEqual([call for call in self.clock.getDelayedCalls() if call.getTime() == 0], [])

    def test_one_at_a_time(self) -> None:
        """No request begins before the one before it is answered."""
        peer = self.connect()
        peer.send(request("HOLD", N="1") + request("HOLD", N="2") + request("ECHO", N="3"))
        self.assertEqual(len(self.held.begun), 1)
        self.assertEqual(peer.answers, [])
        self.held.gates[0].callback(Response(Status.OK, data={"N": "1"}))
        self.assertEqual(len(self.held.begun), 2)
        self.held.gates[1].callback(Response(Status.OK, data={"N": "2"}))
        self.assertEqual([answer.data["N"] for answer in peer.answers], ["1", "2", "3"])

    def test_unknown(self) -> None:
        """An unknown command is named; the connection stays."""
        peer = self.connect()
        peer.ask("frobnicate")
        self.assertEqual((peer.last.status, peer.last.info), (400, "Unrecognized command 'FROBNICATE'"))
        peer.ask("ECHO")
        self.assertEqual(peer.last.status, Status.OK)

    def test_quit(self) -> None:
        """QUIT closes without an answer, and what was sent after it is not begun."""
        peer = self.connect()
        peer.send(request("QUIT") + request("HOLD"))
        self.assertEqual(peer.stream, b"")
        self.assertTrue(peer.wire.disconnecting)
        self.assertEqual(self.held.begun, [])

    def test_malformed(self) -> None:
        """Each malformed message is a 400; the tenth in a row is a 405 and the end."""
        peer = self.connect()
        for _ in range(9):
            peer.send(encode_message(b"{"))
        self.assertEqual(peer.codes, [400] * 9)
        self.assertFalse(peer.wire.closed)
        peer.send(encode_message(b"[]") + IDLE)
        self.assertEqual(peer.codes, [400] * 9 + [405])
        self.assertTrue(peer.wire.half_closed)

    def test_malformed_count(self) -> None:
        """A well-formed request starts the count anew, also one that is refused."""
        peer = self.connect()
        for _ in range(3):
            peer.send(encode_message(b"{") * 9 + request("NOSUCH"))
        self.assertEqual(peer.codes, [400] * 30)
        self.assertFalse(peer.wire.closed)

    def test_malformed_no_limit(self) -> None:
        """With 0 it is never the end."""
        self.change("security", max_bad_requests=0)
        peer = self.connect()
        peer.send(encode_message(b"{") * 100)
        self.assertEqual(peer.codes, [400] * 100)

    def test_empty_frame(self) -> None:
        """A frame without payload is a malformed request."""
        peer = self.connect()
        peer.send(b"\x32\x00\x00" + IDLE)
        self.assertEqual(peer.codes, [400, 200])

    def test_fault_of_ours(self) -> None:
        """300 with an incident id; the traceback is in the log under that id, and nothing of it outside."""

        async def perform(asked: Everything, session: Session) -> Outcome:
            raise RuntimeError("SELECT secret FROM /var/lib")

        self.commands(Scripted("BREAK", perform))
        peer = self.connect()
        peer.send(request("BREAK") + IDLE)
        self.assertEqual(peer.codes, [300, 200])
        self.assertRegex(peer.answers[0].info, r"^Internal error, incident [0-9a-f]{16}$")
        self.assertNotIn(b"SELECT", peer.stream)
        self.assertEqual(len(self.logged(RuntimeError)), 1)

    def test_not_an_outcome(self) -> None:
        """A command that answers nonsense is a fault of ours, too; the connection stays."""

        async def perform(asked: Everything, session: Session) -> Outcome:
            return None  # type: ignore[return-value]

        self.commands(Scripted("BREAK", perform))
        peer = self.connect()
        peer.send(request("BREAK") + IDLE)
        self.assertEqual(peer.codes, [300, 200])
        self.assertEqual(len(self.logged(TypeError)), 1)

    def test_not_encodable(self) -> None:
        """So is an answer that is no Unicode, or not what an answer is made of."""
        for data, error in (
            ({"A": "\ud800"}, UnicodeEncodeError),
            ({"A": 5}, TypeError),
            (None, AttributeError),
        ):

            async def perform(asked: Everything, session: Session, data: Any = data) -> Outcome:
                return Response(Status.OK, data=data)

            self.commands(Scripted("BREAK", perform))
            peer = self.connect()
            peer.send(request("BREAK") + IDLE)
            self.assertEqual(peer.codes, [300, 200])
            self.assertEqual(len(self.logged(error)), 1)

    def test_cancelled(self) -> None:
        """What is cancelled because its client is gone is no fault: nothing is logged, nothing answered."""
        waiting: Deferred[None] = Deferred()

        async def perform(asked: Everything, session: Session) -> Outcome:
            await waiting
            return Response(Status.OK)

        self.commands(Scripted("BREAK", perform))
        peer = self.connect()
        peer.send(request("BREAK"))
        peer.lose()
        waiting.cancel()
        self.assertEqual(peer.stream, b"")

    def test_odd_errors(self) -> None:
        """Whatever else a command ends with is answered like every fault, and the next one begins."""
        for error in (CancelledError, GivenUp, asyncio.CancelledError, SystemExit):

            async def perform(
                asked: Everything, session: Session, error: type[BaseException] = error
            ) -> Outcome:
                raise error

            self.commands(Scripted("BREAK", perform))
            peer = self.connect()
            peer.send(request("BREAK") + IDLE)
            self.assertEqual(peer.codes, [300, 200])
            self.assertEqual(len(self.logged(error)), 1)

    def test_disconnected(self) -> None:
        """A running command ends with its session as it was, told that its client is gone.

        Its answer is dropped, no other begins.
        """
        members: list[object] = []
        gone: list[bool] = []

        async def perform(asked: Everything, session: Session) -> Outcome:
            outcome = await self.held.perform(asked, session)
            members.append(session.member)
            gone.append(session.gone)
            return outcome

        self.commands(Scripted("WORK", perform))
        peer = self.member()
        member = peer.session.member
        peer.send(request("WORK") + request("HOLD"))
        self.assertFalse(peer.session.gone)
        peer.lose()
        self.assertEqual(self.fakes.sessions.left, [])
        self.held.gates[0].callback(Response(Status.OK))
        self.assertEqual(members, [member])
        self.assertEqual(gone, [True])
        self.assertEqual(len(self.held.begun), 1)
        self.assertEqual(peer.stream, b"")
        self.assertEqual(self.fakes.sessions.left, [member])
        self.assertIsNone(peer.session.member)

    def test_disconnected_during_login(self) -> None:
        """Who is gone when the login succeeds is not left logged in."""

        async def perform(asked: Everything, session: Session) -> Outcome:
            outcome = await self.held.perform(asked, session)
            session.enter(make_member())
            return outcome

        self.commands(Scripted("ENTER", perform))
        peer = self.connect()
        peer.ask("ENTER")
        peer.lose()
        self.held.gates[0].callback(Response(Status.OK))
        self.assertEqual(len(self.fakes.sessions.left), 1)
        self.assertEqual(self.fakes.sessions.members, [])


class BrokenStreamTests(ConversationTestCase):
    """What breaks the framing ends the connection, after an answer."""

    def test_vectors(self) -> None:
        """Each broken stream is a 400 that says why, and the end."""
        for vector in load("wire.json")["broken_streams"]:
            peer = self.member()
            peer.send(bytes.fromhex(vector["hex"]))
            self.assertEqual(peer.codes, [400], vector["why"])
            self.assertTrue(peer.last.info, vector["why"])
            self.assertTrue(peer.wire.half_closed, vector["why"])
            peer.protocol.dataReceived(IDLE)
            self.assertEqual(peer.codes, [400], vector["why"])
            peer.lose()

    def test_after_requests(self) -> None:
        """What came before it is answered first."""
        peer = self.connect()
        peer.send(request("ECHO", N="1") + b"\x00\x00\x00")
        self.assertEqual(peer.codes, [200, 400])

    def test_lingers(self) -> None:
        """The answer reaches a peer that is still sending: we read on until it closes, or its time is up."""
        peer = self.connect()
        peer.send(multipart(1_000_000))
        self.assertEqual(peer.codes, [414])
        self.assertTrue(peer.wire.half_closed)
        self.assertFalse(peer.wire.disconnecting)
        self.assertTrue(peer.wire.reading)
        peer.send(b"x" * 1_000_000)
        self.assertEqual(peer.refused_bytes, b"")
        self.wait(CLOSE_SECONDS - 1)
        self.assertFalse(peer.wire.aborted)
        self.wait(1)
        self.assertTrue(peer.wire.aborted)

    def test_lets_go(self) -> None:
        """What had come of a message is let go of when the connection is closed, not when it has ended."""
        peer = self.member()
        peer.send(multipart(1_000_000, 65532))
        self.assertEqual(peer.protocol._decoder.buffered, 65532)
        peer.protocol.finish()
        self.assertEqual(peer.protocol._decoder.buffered, 0)

    def test_limit_before_login(self) -> None:
        """65532 bytes before login, in one frame or more."""
        peer = self.connect()
        empty = len(Request("ECHO", {"A": ""}).to_bytes())
        peer.ask("ECHO", A="x" * (65532 - empty))
        self.assertEqual(peer.codes, [200])
        peer.ask("ECHO", A="x" * (65533 - empty))
        self.assertEqual(peer.codes, [200, 414])

    def test_no_limit_before_login(self) -> None:
        """With 0 it is the limit of who is logged in."""
        self.change("network", max_request_size=0)
        peer = self.connect()
        peer.ask("ECHO", A="x" * 100_000)
        peer.send(multipart(26_000_001))
        self.assertEqual(peer.codes, [200, 414])

    def test_limit_logged_in(self) -> None:
        """26,000,000 bytes for who is logged in."""
        peer = self.member()
        peer.ask("ECHO", A="x" * 100_000)
        peer.send(multipart(26_000_000, 65532))
        self.assertEqual(peer.codes, [200])
        other = self.member()
        other.send(multipart(26_000_001))
        self.assertEqual(other.codes, [414])


class LedgerTests(ConversationTestCase):
    """What multipart messages may hold until they are answered."""

    def fill(self, peer: Peer, megabytes: int) -> None:
        """Send the beginning of a message."""
        peer.send(multipart(26_000_000, *[65532] * (megabytes * MIB // 65532)))

    def test_workspace(self) -> None:
        """32 MiB for one workspace: the connection that goes over it hears 303 and is closed."""
        member = make_member()
        peers = [self.connect(f"192.0.2.{n}") for n in (1, 2)]
        for peer in peers:
            peer.session.enter(make_member(member.workspace))
        self.fill(peers[0], 16)
        self.fill(peers[1], 17)
        self.assertEqual(peers[1].codes, [303])
        self.assertTrue(peers[1].wire.closed)
        self.assertEqual(peers[0].codes, [])

    def test_source(self) -> None:
        """64 MiB for one address; what a connection held is free again when it ends."""
        peers = [self.member() for _ in range(4)]
        for peer in peers[:3]:
            self.fill(peer, 20)
        self.fill(peers[3], 5)
        self.assertEqual(peers[3].codes, [303])
        peers[0].lose()
        late = self.member()
        self.fill(late, 20)
        self.assertEqual(late.codes, [])

    def test_all(self) -> None:
        """``network.max_buffered`` in all; a single frame is not counted, an answered message no more."""
        self.change("network", max_buffered=1, max_request_size=2_000_000)
        first = self.connect("192.0.2.1")
        whole = request("ECHO", A="x" * 1_000_000)
        first.send(whole[:-1])
        second = self.connect("192.0.2.2")
        second.ask("ECHO", A="x" * 60_000)
        first.send(whole[-1:])
        second.send(whole)
        self.assertEqual((first.codes, second.codes), ([200], [200, 200]))
        first.send(whole[:-1])
        second.send(whole)
        self.assertEqual(second.codes, [200, 200, 303])
        self.assertEqual(first.codes, [200])

    def test_until_answered(self) -> None:
        """A whole message counts while its command runs, for that has it; also when its sender is gone."""
        peers = [self.member() for _ in range(3)]
        peers[0].ask("HOLD", A="x" * 25_000_000)
        peers[1].ask("HOLD", A="x" * 25_000_000)
        peers[1].lose()
        self.fill(peers[2], 20)
        self.assertEqual(peers[2].codes, [303])
        for gate in self.held.gates:
            gate.callback(Response(Status.OK))
        self.assertEqual(peers[0].codes, [200])
        self.assertEqual(self.factory.ledger.held, 0)

    def test_released_to_whom_it_was_taken_from(self) -> None:
        """Who logs out by a message of many frames leaves nothing behind in the workspace's account."""
        member = make_member()
        for _ in range(2):
            peer = self.connect()
            peer.session.enter(make_member(member.workspace))
            peer.ask("LOGOUT", A="x" * 20_000_000)
            self.assertEqual(peer.codes, [200])

    def test_released_at_once(self) -> None:
        """Who was sent away holds nothing while the answer is on its way."""
        self.change("network", max_buffered=1, max_request_size=2_000_000)
        peer = self.connect()
        peer.send(multipart(2_000_000, *[65532] * 20))
        self.assertEqual(peer.codes, [303])
        other = self.connect()
        other.send(multipart(1_000_000, *[65532] * 15))
        self.assertEqual(other.codes, [])


class BackPressureTests(ConversationTestCase):
    """Peers that send too fast or read too slowly."""

    def test_read_ahead(self) -> None:
        """While a request is answered, a bounded amount of what follows is read."""
        peer = self.connect()
        peer.ask("HOLD")
        requests = [request("ECHO", N=str(n)) for n in range(10_000)]
        peer.send(b"".join(requests))
        self.assertFalse(peer.wire.reading)
        taken = sum(map(len, requests)) - len(peer.refused_bytes)
        self.assertLess(taken, READ_AHEAD + 65536)
        self.held.gates[0].callback(Response(Status.OK))
        self.assertTrue(peer.wire.reading)
        peer.send(b"")
        self.assertEqual(len(peer.answers), 10_001)

    def test_never_reads(self) -> None:
        """Once a peer has 64 KiB to take, no further request begins; what is kept for it is bounded."""
        peer = self.connect()
        peer.wire.is_slow = True
        peer.send(b"".join(request("ECHO", N=str(n), A="x" * 100) for n in range(10_000)))
        answered = len(peer.answers)
        self.assertLess(peer.wire.most_waiting, 65536 + 1000)
        self.assertFalse(peer.wire.reading)
        self.wait(59)
        self.assertFalse(peer.wire.aborted)
        self.assertEqual(len(peer.answers), answered)
        self.wait(2)
        self.assertTrue(peer.wire.aborted)

    def test_reads_again(self) -> None:
        """A peer that takes its answers in time gets all of them."""
        peer = self.connect()
        peer.wire.is_slow = True
        peer.send(b"".join(request("ECHO", N=str(n), A="x" * 100) for n in range(3000)))
        while peer.wire.producer_paused:
            self.wait(50)
            peer.wire.take()
            peer.run_pending_calls()
            peer.send(b"")
        self.assertEqual([answer.data["N"] for answer in peer.answers], [str(n) for n in range(3000)])
        self.assertFalse(peer.wire.closed)

    def test_long_answer(self) -> None:
        """A long answer goes out frame by frame, at the pace at which the peer takes it."""

        async def perform(asked: Everything, session: Session) -> Outcome:
            return Response(Status.OK, data={"A": "x" * 1_000_000})

        self.commands(Scripted("LONG", perform))
        peer = self.connect()
        peer.wire.is_slow = True
        peer.send(request("LONG") + request("ECHO", N="2"))
        while peer.wire.producer_paused:
            self.wait(50)
            peer.wire.take()
        self.assertEqual([len(a.data.get("A", "")) for a in peer.answers], [1_000_000, 0])
        self.assertLessEqual(peer.wire.most_waiting, 2 * 65545)

    def test_long_answer_lost(self) -> None:
        """If the peer goes away meanwhile, the rest is dropped without a word."""

        async def perform(asked: Everything, session: Session) -> Outcome:
            return Response(Status.OK, data={"A": "x" * 1_000_000})

        self.commands(Scripted("LONG", perform))
        peer = self.member()
        peer.wire.is_slow = True
        peer.ask("LONG")
        written = len(peer.stream)
        peer.lose()
        self.assertEqual(len(peer.stream), written)
        self.assertEqual(self.fakes.sessions.members, [])

    def test_stopped_producer(self) -> None:
        """A transport that takes no more gets no more."""
        peer = self.connect()
        peer.protocol.stopProducing()
        peer.ask("ECHO")
        self.assertEqual(peer.stream, b"")


class TimeoutTests(ConversationTestCase):
    """Silence."""

    def test_not_logged_in(self) -> None:
        """120 seconds before login; each request begins them anew."""
        peer = self.connect()
        self.wait(119)
        peer.ask("ECHO")
        self.wait(119)
        self.assertFalse(peer.wire.closed)
        self.wait(1)
        self.assertTrue(peer.wire.disconnecting)
        self.assertEqual(peer.codes, [200])

    def test_logged_in(self) -> None:
        """1800 seconds for who is logged in."""
        peer = self.member()
        self.wait(1799)
        self.assertFalse(peer.wire.closed)
        self.wait(1)
        self.assertTrue(peer.wire.disconnecting)

    def test_never(self) -> None:
        """0 is no limit."""
        self.change("network", idle_timeout=0, login_timeout=0)
        peers = [self.member(), self.connect()]
        self.wait(10_000)
        self.assertEqual([peer.wire.closed for peer in peers], [False, False])

    def test_half_a_frame(self) -> None:
        """60 seconds for the rest of a frame, also of who is logged in and whatever trickles in."""
        for sent in (1, 2, 5):
            peer = self.member()
            peer.send(IDLE[:sent])
            self.wait(59)
            self.assertFalse(peer.wire.closed)
            peer.send(IDLE[sent : sent + 1])
            self.wait(1)
            self.assertTrue(peer.wire.closed)

    def test_half_a_message(self) -> None:
        """60 seconds for the next frame of a message."""
        peer = self.member()
        peer.send(multipart(200_000, 1000))
        self.wait(60)
        self.assertTrue(peer.wire.closed)

    def test_slow_message(self) -> None:
        """A message of which one full frame after the other comes may take as long as it likes."""
        peer = self.member()
        for frame in split_message(Request("ECHO", {"A": "x" * 500_000}).to_bytes()):
            self.wait(50)
            peer.send(frame)
        self.assertEqual(peer.codes, [200])

    def test_dripped_message(self) -> None:
        """Tiny parts are no progress: such a message has its time in all."""
        peer = self.member()
        peer.send(b"\x33\x00\x043000")
        for _ in range(6):
            self.wait(9)
            self.assertFalse(peer.wire.closed)
            peer.send(b"\x34\x00\x01x")
        self.wait(6)
        self.assertTrue(peer.wire.closed)

    def test_running_command(self) -> None:
        """A command of ours may take its time, whatever its client sends meanwhile."""
        peer = self.connect()
        peer.send(request("HOLD") + IDLE[:3])
        self.wait(5000)
        self.assertFalse(peer.wire.closed)
        self.held.gates[0].callback(Response(Status.OK))
        self.wait(59)
        self.assertFalse(peer.wire.closed)
        self.wait(1)
        self.assertTrue(peer.wire.closed)

    def test_does_not_take_the_end(self) -> None:
        """Who does not let the connection close is cut off."""
        peer = self.connect()
        self.wait(120)
        self.assertTrue(peer.wire.disconnecting)
        self.assertFalse(peer.wire.aborted)
        self.wait(CLOSE_SECONDS)
        self.assertTrue(peer.wire.aborted)


class StopTests(ConversationTestCase):
    """The server stops."""

    def test_nobody(self) -> None:
        """Without connections it is done at once."""
        self.successResultOf(ensureDeferred(self.factory.drain()))
        self.factory.stopFactory()

    def test_idle_ones(self) -> None:
        """Idle connections are closed; it is done when they are gone."""
        peers = [self.connect(), self.member()]
        done = ensureDeferred(self.factory.drain())
        self.assertEqual([peer.wire.disconnecting for peer in peers], [True, True])
        self.factory.stopFactory()
        for peer in peers:
            self.assertNoResult(done)
            peer.lose()
        self.successResultOf(done)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_running_command(self) -> None:
        """A running command is answered before its connection closes, and no other begins."""
        peer = self.connect()
        peer.send(request("HOLD", N="1") + request("HOLD", N="2"))
        done = ensureDeferred(self.factory.drain())
        self.assertFalse(peer.wire.closed)
        self.held.gates[0].callback(Response(Status.OK))
        self.assertEqual(peer.codes, [200])
        self.assertTrue(peer.wire.disconnecting)
        self.assertEqual(len(self.held.begun), 1)
        peer.lose()
        self.successResultOf(done)

    def test_too_slow(self) -> None:
        """Who takes longer than that is cut off."""
        peer = self.connect()
        peer.ask("HOLD")
        done = ensureDeferred(self.factory.drain())
        self.wait(SHUTDOWN_SECONDS)
        self.assertTrue(peer.wire.aborted)
        peer.lose()
        self.successResultOf(done)


class AnyBytesTests(ConversationTestCase):
    """Whatever comes, in whatever pieces."""

    @settings(max_examples=150, deadline=None)
    @given(
        st.lists(
            st.one_of(
                st.binary(max_size=300),
                st.binary(max_size=100).map(lambda data: b"\x32\x00%c" % len(data) + data),
                st.sampled_from([IDLE, request("QUIT"), request("ECHO", A="b"), multipart(70_000, 3)]),
            ),
            max_size=8,
        ),
        st.data(),
    )
    def test_any_bytes(self, parts: list[bytes], data: st.DataObject) -> None:
        """Nothing escapes, and the stream ends in whole answers, a close, or a wait for more."""
        self.setUp()
        peer = self.connect()
        stream = b"".join(parts)
        cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
        for begin, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
            peer.send(stream[begin:end])
        for answer in peer.answers:
            self.assertIn(answer.status, {200, 400, 405, 414})
        self.wait(120)
        self.assertTrue(peer.wire.closed)
        peer.lose()
        self.assertEqual(self.factory.limits.count, 0)


class HangupTests(ConversationTestCase):
    """Answers after which the server closes."""

    def test_outcome(self) -> None:
        """A command may answer and close."""

        async def perform(asked: Everything, session: Session) -> Outcome:
            return Hangup(Response(Status.TERMINATED))

        self.commands(Scripted("END", perform))
        peer = self.connect()
        peer.send(request("END") + IDLE)
        self.assertEqual(peer.codes, [405])
        self.assertTrue(peer.wire.half_closed)

    def test_error(self) -> None:
        """So may an error."""

        async def perform(asked: Everything, session: Session) -> Outcome:
            raise QuotaExceeded(close=True)

        self.commands(Scripted("END", perform))
        peer = self.connect()
        peer.send(request("END") + IDLE)
        self.assertEqual(peer.codes, [409])
        self.assertTrue(peer.wire.closed)

    def test_too_late(self) -> None:
        """A last answer to somebody who has gone is dropped."""
        peer = self.connect()
        peer.ask("HOLD")
        peer.lose()
        self.held.gates[0].callback(Hangup(Response(Status.TERMINATED)))
        self.assertEqual(peer.stream, b"")
