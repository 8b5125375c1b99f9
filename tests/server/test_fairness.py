"""Fairness: requests are read and begun in turns, large ones in pieces (spec 01, *Timeouts and limits*)."""

from functools import partial

from mensagod.commands.registry import CommandRegistry
from mensagod.server import protocol
from mensagod.server.protocol import READ_AHEAD
from mensagod.server.turns import ROUND_SECONDS, TURN_SECONDS
from mensagod.sessions.outcomes import Outcome
from mensagod.sessions.session import Session
from mensagod.status import Status
from mensagod.wire.frames import encode_message
from mensagod.wire.large_requests import LargeRequest
from mensagod.wire.messages import Request, Response
from tests.conversations import ConversationTestCase, Everything, Peer, Scripted, make_member, request


class FairnessTests(ConversationTestCase):
    """Requests are read in turns, and large ones in pieces."""

    def setUp(self) -> None:
        super().setUp()
        self.change("network", max_request_size=0)
        # An hour later: a source whose clients have worked just now would wait.
        self.clock.advance(3600)

    def step(self, seconds: float) -> None:
        """Have every piece of a large request take some time, which nothing else does."""
        clock = self.clock

        class Slow(LargeRequest):
            def read_on(self) -> Request | None:
                clock.rightNow += seconds
                return super().read_on()

        self.patch(protocol, "LargeRequest", Slow)

    def give_turns(self) -> None:
        """Run one iteration of the reactor: a clock would also make the calls that are made meanwhile."""
        calls = [call for call in self.clock.calls if call.getTime() <= self.clock.seconds()]
        for call in calls:
            self.clock.calls.remove(call)
            call.called = 1
            call.func(*call.args, **call.kw)

    def large(self, **fields: str) -> bytes:
        return request("ECHO", A="x" * 300_000, **fields)

    def receive(self, peer: Peer, data: bytes) -> None:
        """Have a connection receive bytes in pieces, and do nothing else."""
        for begin in range(0, len(data), 65536):
            peer.protocol.dataReceived(data[begin : begin + 65536])

    def test_large_request(self) -> None:
        """While a large request is read, other requests are answered; then its command begins."""
        self.step(TURN_SECONDS)
        large, other = self.connect("192.0.2.1"), self.connect("192.0.2.2")
        self.receive(large, self.large(B="1"))
        for number in range(1, 4):
            self.give_turns()
            self.receive(other, request("ECHO"))
            self.assertEqual((len(other.answers), large.answers), (number, []))
        large.run_pending_calls()
        self.assertEqual(large.last.data, {"B": "1"})

    def test_order(self) -> None:
        """The next request of the same connection is answered after a large one."""
        self.step(TURN_SECONDS)
        peer = self.connect()
        self.receive(peer, self.large(N="1") + request("ECHO", N="2"))
        self.assertEqual(peer.answers, [])
        peer.run_pending_calls()
        self.assertEqual([answer.data["N"] for answer in peer.answers], ["1", "2"])

    def test_small_is_not_cut(self) -> None:
        """A request that is not large is read at once."""
        self.step(3600)
        peer = self.connect()
        self.receive(peer, request("ECHO", A="x" * 60_000))
        self.assertEqual(peer.codes, [200])

    def test_malformed(self) -> None:
        """A large request that is malformed is answered like a small one, and counts."""
        self.change("security", max_bad_requests=2)
        self.step(TURN_SECONDS)
        peer = self.connect()
        bad = encode_message(b'{"Action":"ECHO","Data":{"A":"%b\n"}}' % (b"x" * 300_000))
        peer.send(bad + bad)
        self.assertEqual(peer.codes, [400, 405])
        self.assertTrue(peer.wire.half_closed)

    def test_lost(self) -> None:
        """A client that has gone is not worked for, and its memory is accounted for no longer."""
        self.step(TURN_SECONDS)
        peer = self.connect()
        self.receive(peer, self.large())
        self.assertGreater(self.factory.ledger.held, 0)
        peer.lose()
        self.assertEqual(self.factory.ledger.held, 0)
        self.assertEqual([call for call in self.clock.calls if call.getTime() <= self.clock.seconds()], [])

    def test_reading_waits(self) -> None:
        """A connection whose requests wait for their turn is not read beyond what is kept in advance."""
        self.step(TURN_SECONDS)
        peer = self.connect()
        self.receive(peer, self.large())
        self.assertTrue(peer.wire.reading)
        self.receive(peer, request("ECHO") * (READ_AHEAD // len(request("ECHO")) + 1))
        self.assertFalse(peer.wire.reading)
        peer.run_pending_calls()
        self.assertTrue(peer.wire.reading)

    def test_end_of_turn(self) -> None:
        """A turn ends by time as well as by the number of requests."""
        asked: list[Everything] = []

        async def slow(fields: Everything, session: Session) -> Outcome:
            asked.append(fields)
            self.clock.rightNow += TURN_SECONDS
            return Response(Status.OK)

        self.installed.registry = CommandRegistry.of([Scripted("SLOW", slow)])
        self.receive(self.connect(), request("SLOW") * 3)
        self.assertEqual(len(asked), 1)

    def test_members_first(self) -> None:
        """A member comes before strangers of the same address."""
        self.step(2 * ROUND_SECONDS)
        busy, stranger, member = (self.connect("192.0.2.1") for _ in range(3))
        member.session.enter(make_member())
        self.receive(busy, self.large())
        order: list[str] = []
        for peer, name in ((stranger, "stranger"), (member, "member")):
            self.patch(peer.protocol, "take_turn", partial(order.append, name))
        self.receive(stranger, request("ECHO"))
        self.receive(member, request("ECHO"))
        busy.run_pending_calls()
        self.assertEqual(order, ["member", "stranger"])
