"""Sessions: commands of several steps, members, updates (spec 01, *Multi-step commands*; spec 04)."""

import errno
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, cast

from attrs import define, field
from twisted.internet.defer import CancelledError, Deferred, FirstError, gatherResults
from twisted.logger import capturedLogs, formatEvent
from zope.interface import implementer

from mensagod.commands.interfaces import IDemand
from mensagod.errors import BadRequest, CommandError, LoginRequired, ServerUnavailable
from mensagod.sessions.exchange import NEXT_REQUEST_SECONDS, GivenUp
from mensagod.sessions.login import Stage
from mensagod.sessions.outcomes import Outcome
from mensagod.sessions.session import Session
from mensagod.status import Status
from mensagod.storage.strangers import Stranger, stranger_asking
from mensagod.wire.frames import encode_message
from mensagod.wire.messages import LongResponse, Request, Response
from mensagod.wire.raw_data import ISink
from tests.conversations import (
    DOMAIN,
    ConversationTestCase,
    Everything,
    Scripted,
    Second,
    make_member,
    request,
)


@implementer(ISink)
class NoSink:
    """Takes nothing, for nothing comes."""

    async def write(self, data: bytes) -> None:
        raise AssertionError("nothing was to come")


@define(eq=False)
class TwoSteps:
    """A command of two steps, which notes how each performance of it ended.

    :ivar gate: what its cleaning up waits for.
    """

    ends: list[str] = field(factory=list)
    gate: Deferred[None] | None = None

    async def perform(self, asked: Everything, session: Session) -> Outcome:
        if asked.data.get("Second"):
            raise BadRequest("there was no first step")
        end = "given up"
        try:
            again = await session.again(Response(Status.CONTINUE), Second)
            end = "done"
            return Response(Status.OK, data={"Second": again.second})
        finally:
            self.ends.append(end)
            if self.gate is not None:
                await self.gate


class StrangerTests(ConversationTestCase):
    def test_counted(self) -> None:
        """What a command asks of the database counts as a stranger's until somebody is logged in."""
        gate: Deferred[None] = Deferred()
        seen: list[Stranger | None] = []

        async def perform(asked: Everything, session: Session) -> Outcome:
            seen.append(stranger_asking())
            await gate
            seen.append(stranger_asking())
            return Response(Status.OK)

        self.commands(Scripted("LOOK", perform))
        stranger, member = self.connect(), self.member()
        stranger.send(request("LOOK"))
        member.send(request("LOOK"))
        gate.callback(None)
        expected = Stranger(stranger.session.source)
        self.assertEqual(seen, [expected, None, expected, None])
        self.assertIsNone(stranger_asking())
        stranger.session.enter(make_member())
        stranger.send(request("LOOK"))
        self.assertEqual(seen[4:], [None, None])


class StepTests(ConversationTestCase):
    """Commands of two steps."""

    def setUp(self) -> None:
        """STEP waits for a second request with the field Second."""
        super().setUp()
        self.steps = TwoSteps()
        self.commands(Scripted("STEP", self.steps.perform))
        self.peer = self.connect()
        self.peer.ask("STEP")

    def test_goes_on(self) -> None:
        """The same command with the expected fields goes on, just once."""
        self.peer.send(request("step", Second="1") + request("STEP", Second="1"))
        self.assertEqual(self.peer.codes, [100, 200, 400])
        self.assertEqual(self.peer.answers[1].data, {"Second": "1"})
        self.wait(NEXT_REQUEST_SECONDS)
        self.assertEqual(self.steps.ends, ["done"])

    def test_cancel(self) -> None:
        """CANCEL gives the step up, with 200, and a login on its way with it."""
        session = self.peer.session
        session.advance(session.login.name(make_member().workspace, DOMAIN))
        self.peer.send(request("CANCEL") + request("STEP", Second="1"))
        self.assertEqual(self.peer.codes, [100, 200, 400])
        self.assertEqual(self.steps.ends, ["given up"])
        self.assertIs(session.login.stage, Stage.FRESH)

    def test_quit(self) -> None:
        """QUIT always closes."""
        self.peer.ask("QUIT")
        self.assertTrue(self.peer.wire.disconnecting)
        self.assertEqual(self.steps.ends, ["given up"])

    def test_another(self) -> None:
        """Any other command is refused, not run, and gives the step up; the one after it is free again."""
        for action in ("HOLD", "NOSUCH", "LOGOUT"):
            self.steps.ends.clear()
            peer = self.member()
            peer.send(request("STEP") + request(action) + request("ECHO"))
            self.assertEqual(peer.codes, [100, 400, 200])
            self.assertEqual(peer.answers[1].info, "Session state mismatch")
            self.assertEqual(self.steps.ends, ["given up"])
            self.assertIsNotNone(peer.session.member)
        self.assertEqual(self.held.begun, [])

    def test_without_fields(self) -> None:
        """So is the same command without the expected fields, or with an empty one."""
        for fields in ({}, {"Second": ""}, {"Other": "1"}):
            peer = self.connect()
            peer.send(request("STEP") + request("STEP", **fields))
            self.assertEqual(peer.codes, [100, 400])
            self.assertEqual(peer.last.info, "Session state mismatch")

    def test_malformed(self) -> None:
        """What is no request at all leaves the step as it is."""
        self.peer.send(b"\x32\x00\x01{" + request("STEP", Second="1"))
        self.assertEqual(self.peer.codes, [100, 400, 200])

    def test_late(self) -> None:
        """After a minute the step is forgotten without a word; a late second request is a 400."""
        self.wait(NEXT_REQUEST_SECONDS - 1)
        self.assertEqual(self.steps.ends, [])
        self.wait(1)
        self.assertEqual(self.steps.ends, ["given up"])
        self.assertEqual(self.peer.codes, [100])
        self.peer.ask("STEP", Second="1")
        self.assertEqual(self.peer.codes, [100, 400])

    def test_lost(self) -> None:
        """A lost connection gives it up, and leaves no timer."""
        calls = len(self.clock.getDelayedCalls())
        self.peer.lose()
        self.assertEqual(self.steps.ends, ["given up"])
        self.assertEqual(len(self.clock.getDelayedCalls()), calls - 1)

    def test_lost_meanwhile(self) -> None:
        """So does one that is lost while the first step is still at work."""

        async def perform(asked: Everything, session: Session) -> Outcome:
            await self.held.perform(asked, session)
            return await self.steps.perform(asked, session)

        self.commands(Scripted("SLOW", perform))
        peer = self.connect()
        peer.ask("SLOW")
        peer.lose()
        self.held.gates[0].callback(Response(Status.OK))
        self.assertEqual(self.steps.ends, ["given up"])

    def test_slow_first_step(self) -> None:
        """A first step that had to wait for something of its own goes on in the same way."""

        async def perform(asked: Everything, session: Session) -> Outcome:
            await self.held.perform(asked, session)
            again = await session.again(Response(Status.CONTINUE), Second)
            await self.held.perform(asked, session)
            return Response(Status.OK, data={"Second": again.second})

        self.commands(Scripted("SLOW", perform))
        peer = self.connect()
        peer.send(request("SLOW") + request("SLOW", Second="1") + request("ECHO"))
        self.held.gates[0].callback(Response(Status.OK))
        self.assertEqual(peer.codes, [100])
        self.held.gates[1].callback(Response(Status.OK))
        self.assertEqual(peer.codes, [100, 200, 200])

    def test_late_clean_up(self) -> None:
        """What was given up may clean up for a while: it never meets the command that came after it."""
        gate: Deferred[None] = Deferred()
        self.steps.gate = gate
        self.peer.send(request("CANCEL") + request("STEP"))
        self.assertEqual((self.peer.codes, self.steps.ends), ([100, 200, 100], ["given up"]))
        self.steps.gate = None
        gate.callback(None)
        self.assertEqual(self.peer.codes, [100, 200, 100])
        self.peer.ask("STEP", Second="2")
        self.assertEqual(self.peer.codes, [100, 200, 100, 200])
        self.assertEqual(self.steps.ends, ["given up", "done"])

    def test_asks_after_the_end(self) -> None:
        """A command that goes on asking after it was given up is told so again; the client hears nothing."""
        refusals: list[str] = []

        async def perform(asked: Everything, session: Session) -> Outcome:
            for ask in (
                lambda: session.again(Response(Status.CONTINUE), Second),
                lambda: session.again(Response(Status.CONTINUE), Second),
                lambda: session.receive(Response(Status.CONTINUE), 1, NoSink()),
            ):
                try:
                    await ask()
                except GivenUp as end:
                    refusals.append(type(end).__name__)
            return Response(Status.OK)

        self.commands(Scripted("STUBBORN", perform))
        peer = self.connect()
        peer.send(request("STUBBORN") + request("CANCEL"))
        self.assertEqual((peer.codes, refusals), ([100, 200], ["GivenUp"] * 3))

    def test_fault_after_the_end(self) -> None:
        """What goes wrong in a command that was given up is logged as a fault of ours, and not answered."""

        async def perform(asked: Everything, session: Session) -> Outcome:
            try:
                await session.again(Response(Status.CONTINUE), Second)
            finally:
                raise RuntimeError("cannot clean up")

        self.commands(Scripted("BREAK", perform))
        peer = self.connect()
        peer.send(request("BREAK") + request("CANCEL"))
        self.assertEqual(peer.codes, [100, 200])
        self.assertEqual(len(self.logged(RuntimeError)), 1)

    def test_outside_of_a_command(self) -> None:
        """Only the command whose step is running can reach the client."""
        asking = Deferred.fromCoroutine(self.peer.session.again(Response(Status.CONTINUE), Second))
        self.failureResultOf(asking, RuntimeError)

    def assert_faulty(self, perform: Callable[[Session], Awaitable[object]], *codes: int) -> None:
        """Have a faulty command performed; the client's next commands are answered as if nothing had been."""

        async def scripted(asked: Everything, session: Session) -> Outcome:
            await perform(session)
            return Response(Status.OK)

        self.commands(Scripted("FAULTY", scripted))
        peer = self.connect()
        timers = self.clock.getDelayedCalls()
        for action, answers in (("FAULTY", codes), ("IDLE", (200,)), ("FAULTY", codes)):
            before = len(peer.codes)
            peer.ask(action)
            self.assertEqual(tuple(peer.codes[before:]), answers)
        self.clock.advance(NEXT_REQUEST_SECONDS)
        self.assertEqual(len(self.clock.getDelayedCalls()), len(timers))

    def test_faulty_waits(self) -> None:
        """A wait that cannot begin is a fault of its command, and none of the next."""
        good = Response(Status.CONTINUE)
        waits: list[Callable[[Session], Awaitable[object]]] = [
            lambda session: session.again(cast(Any, None), Second),
            lambda session: session.again(Response(Status.CONTINUE, data={"N": cast(Any, 5)}), Second),
            lambda session: session.again(good, cast(Any, str)),
            lambda session: session.receive(cast(Any, "now"), 5, NoSink()),
            lambda session: session.receive(good, -5, NoSink()),
            lambda session: session.receive(good, cast(Any, "5"), NoSink()),
            lambda session: session.send(cast(Any, None), -1),
        ]
        for wait in waits:
            self.assert_faulty(wait, 300)
            self.assertEqual(len(self.flushLoggedErrors(TypeError, ValueError)), 2)

    def test_two_waits(self) -> None:
        """A command waits for one request at a time."""

        async def wait(session: Session) -> None:
            both = [Deferred.fromCoroutine(session.again(Response(Status.CONTINUE), Second)) for _ in "12"]
            await gatherResults(both, consumeErrors=True)

        self.assert_faulty(wait, 300)
        self.assertEqual(len(self.flushLoggedErrors(FirstError)), 2)

    def test_unheard_wait(self) -> None:
        """A wait ends with its command, whether or not that heard of it."""

        async def wait(session: Session) -> None:
            Deferred.fromCoroutine(session.again(Response(Status.CONTINUE), Second))

        self.assert_faulty(wait, 200)

    def test_not_a_deferred(self) -> None:
        """A command that waits for something that Twisted does not know is a fault of ours: the end."""

        class Foreign:
            def __await__(self) -> Any:
                yield "a future of another framework"

        async def perform(asked: Everything, session: Session) -> Outcome:
            await Foreign()
            return Response(Status.OK)

        self.commands(Scripted("FOREIGN", perform))
        peer = self.connect()
        peer.send(request("FOREIGN") + request("ECHO"))
        self.assertEqual(len(self.logged(TypeError)), 1)
        self.assertEqual(peer.codes, [300, 200])


class MemberTests(ConversationTestCase):
    """Who is logged in."""

    def test_logout(self) -> None:
        """LOGOUT leaves a session as after connecting; twice is as good."""
        peer = self.member()
        member = peer.session.member
        peer.send(request("LOGOUT") + request("LOGOUT"))
        self.assertEqual(peer.codes, [200, 200])
        self.assertIsNone(peer.session.member)
        self.assertEqual(self.fakes.sessions.left, [member])

    def test_limits_follow(self) -> None:
        """The limits of size and silence are those of the state."""
        session = self.connect().session
        self.assertEqual((session.max_message, session.idle_timeout), (65532, 120))
        session.enter(make_member())
        self.assertEqual((session.max_message, session.idle_timeout), (26_000_000, 1800))
        session.leave()
        self.assertEqual((session.max_message, session.idle_timeout), (65532, 120))

    def test_demands(self) -> None:
        """What a command demands is checked before it runs."""

        demand = Demand()
        self.commands(Scripted("PRIVATE", self.held.perform, (demand,)))
        peer = self.connect()
        peer.ask("PRIVATE")
        self.assertEqual(peer.codes, [401])
        self.assertEqual(self.held.begun, [])


@implementer(IDemand)
class Demand:
    """A demand that nobody meets."""

    async def require(self, session: Session) -> None:
        raise LoginRequired

    async def conclude(self, session: Session, fault: CommandError | None) -> CommandError | None:
        raise AssertionError("nobody met it")


class EndTests(ConversationTestCase):
    """Somebody else ends the session."""

    def test_idle(self) -> None:
        """Its connection closes at once, without a word, and what comes then is not looked at."""
        peer = self.member()
        peer.session.end("a reason")
        self.assertTrue(peer.wire.disconnecting)
        peer.protocol.dataReceived(request("HOLD"))
        self.assertEqual((peer.stream, self.held.begun), (b"", []))
        peer.lose()
        self.assertEqual((len(self.fakes.sessions.left), self.fakes.sessions.members), (1, []))

    def test_busy(self) -> None:
        """A running command is answered; those behind it are not begun."""
        peer = self.member()
        peer.send(request("HOLD") + request("ECHO"))
        peer.session.end("a reason")
        self.assertFalse(peer.wire.closed)
        self.held.gates[0].callback(Response(Status.OK, "done"))
        self.assertEqual(
            ([answer.info for answer in peer.answers], peer.wire.disconnecting), (["done"], True)
        )

    def test_pending_step(self) -> None:
        """A step that is waited for comes to nothing."""
        steps = TwoSteps()
        self.commands(Scripted("STEP", steps.perform))
        peer = self.member()
        peer.ask("STEP")
        peer.session.end("a reason")
        self.assertTrue(peer.wire.disconnecting)
        peer.lose()
        self.assertEqual(steps.ends, ["given up"])

    def test_gone(self) -> None:
        """One that has gone by itself is not touched."""
        peer = self.member()
        peer.lose()
        peer.session.end("a reason")
        self.assertEqual(peer.stream, b"")


class UpdateCountTests(ConversationTestCase):
    """What others changed is told with the next 200."""

    def ask(self, count: int | BaseException, *, stale: bool = True, action: str = "ECHO") -> dict[str, str]:
        """Ask as a member of whom the database says ``count``; give the fields of the answer."""
        peer = self.member()
        member = peer.session.member
        if member is not None:
            member.stale = stale
        self.fakes.sessions.updates = count
        peer.ask(action)
        return dict(peer.last.data)

    def test_told(self) -> None:
        """With how much it is."""
        self.assertEqual(self.ask(3), {"UpdateCount": "3"})

    def test_long_answer(self) -> None:
        """Also in an answer that is read while it is sent."""

        async def pieces() -> AsyncIterator[str]:
            yield "x" * 5
            yield "y" * 5

        async def perform(asked: Everything, session: Session) -> Outcome:
            return LongResponse(Response(Status.OK), "Long", 10, pieces())

        self.commands(Scripted("LONG", perform))
        self.assertEqual(self.ask(3, action="LONG"), {"UpdateCount": "3", "Long": "xxxxxyyyyy"})
        self.assertEqual(self.ask(0, action="LONG"), {"Long": "xxxxxyyyyy"})

    def test_nothing(self) -> None:
        """Unless it is nothing, or nobody said that there is any."""
        self.assertEqual(self.ask(0), {})
        self.assertEqual(self.ask(3, stale=False), {})

    def test_lost_hint(self) -> None:
        """Who heard of nothing looks nevertheless, every 30 seconds."""
        peer = self.member()
        self.fakes.sessions.updates = 3
        told = []
        for seconds in (29, 1, 29, 1, 60):
            self.clock.advance(seconds)
            peer.ask("ECHO")
            told.append("UpdateCount" in peer.last.data)
        self.assertEqual(told, [False, True, False, True, True])

    def test_only_ok(self) -> None:
        """Not with another status."""
        self.assertEqual(self.ask(3, action="NOSUCH"), {})

    def test_database_away(self) -> None:
        """An answer is not spoiled because the database has gone since."""
        self.assertEqual(self.ask(ServerUnavailable()), {})

    def test_fault_of_ours(self) -> None:
        """Nor by a fault of ours."""
        self.assertEqual(self.ask(RuntimeError("broken")), {})
        self.assertEqual(len(self.logged(RuntimeError)), 1)

    def test_own_count(self) -> None:
        """An answer with a count of its own keeps it."""
        peer = self.member()
        if peer.session.member is not None:
            peer.session.member.stale = True
        self.fakes.sessions.updates = 3
        peer.send(encode_message(Request("ECHO", {"UpdateCount": "7"}).to_bytes()))
        self.assertEqual(peer.last.data, {"UpdateCount": "7"})

    def test_cancelled(self) -> None:
        """A cancellation meanwhile ends the connection like any other."""
        peer = self.member()
        if peer.session.member is not None:
            peer.session.member.stale = True
        self.fakes.sessions.updates = CancelledError()
        peer.ask("ECHO")
        self.assertEqual((peer.stream, peer.wire.aborted), (b"", True))


class ExhaustedTests(ConversationTestCase):
    """No more files can be opened."""

    def ask(self, number: int) -> list[int]:
        """Ask for what fails with this number, and for something else."""

        async def perform(asked: Everything, session: Session) -> Outcome:
            raise OSError(number, "no")

        self.commands(Scripted("OPEN", perform))
        peer = self.connect()
        peer.send(request("OPEN") + request("ECHO"))
        return peer.codes

    def test_unavailable(self) -> None:
        """It is 303 for any command, the session goes on, and the log has a line instead of a traceback."""
        for number in (errno.EMFILE, errno.ENFILE):
            with capturedLogs() as events:
                self.assertEqual(self.ask(number), [303, 200])
            lines = [formatEvent(event) for event in events]
            self.assertEqual(lines.count("OPEN: no more files can be opened"), 1)
        self.assertEqual(self.logged(OSError), [])

    def test_others(self) -> None:
        """What else the system refuses is a fault of ours."""
        self.assertEqual(self.ask(errno.EIO), [300, 200])
        self.assertEqual(len(self.logged(OSError)), 1)
