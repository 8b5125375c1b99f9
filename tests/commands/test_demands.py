"""What commands demand of a session before their fields are looked at (spec 04)."""

from datetime import UTC, datetime, timedelta

from twisted.internet.defer import Deferred
from zope.interface import implementer
from zope.interface.verify import verifyObject

from mensagod.commands.demands import AtStage, Guarded
from mensagod.commands.interfaces import IDemand
from mensagod.errors import AuthenticationFailure, BadRequest, CommandError, NotFound, Unauthorized
from mensagod.sessions.login import Event, Stage
from mensagod.sessions.outcomes import Outcome
from mensagod.sessions.session import Session
from mensagod.status import Status
from mensagod.storage import failures
from mensagod.wire.messages import Response
from tests.conversations import (
    DOMAIN,
    ConversationTestCase,
    Everything,
    Scripted,
    Second,
    answer_ok,
    make_member,
    request,
)
from tests.databases import DatabaseTestCase

LATER = datetime(2030, 1, 1, tzinfo=UTC)


class StageTests(ConversationTestCase):
    """A command that belongs to one stage of a login."""

    def test_stages(self) -> None:
        """It runs at its stage and at no other."""
        self.commands(*(Scripted(stage.name, answer_ok, (AtStage(stage),)) for stage in Stage))
        session = (peer := self.connect()).session
        logins = [session.login, session.login.name(make_member().workspace, DOMAIN)]
        logins.append(logins[-1].after(Event.PASSWORD_RIGHT))
        for login in logins:
            session.advance(login)
            for stage in Stage:
                peer.ask(stage.name)
                expected = Status.OK if stage is login.stage else Status.BAD_REQUEST
                self.assertEqual(peer.last.status, expected)

    def test_interface(self) -> None:
        """What we have are demands."""
        for demand in (AtStage(Stage.FRESH), Guarded("password")):
            self.assertTrue(verifyObject(IDemand, demand))


class GuardedTests(ConversationTestCase):
    """A command that counts failures; the database says what the test says."""

    def setUp(self) -> None:
        """Nobody is locked out."""
        super().setUp()
        self.answers = self.fakes.database.answers
        self.answers[failures.find_lock] = None
        self.answers[failures.note_failure] = None
        self.answers[failures.clear] = True
        self.commands(Scripted("TRY", self.perform, (Guarded("password"),)))
        self.fault: CommandError | None = None

    async def perform(self, asked: Everything, session: Session) -> Outcome:
        if self.fault is not None:
            raise self.fault
        return Response(Status.OK)

    def ran(self) -> list[str]:
        """Give the names of what ran in the database."""
        return [interaction.__name__ for interaction, *_ in self.fakes.database.asked]

    def test_success(self) -> None:
        """A success forgets the failures before it."""
        peer = self.connect()
        peer.ask("TRY")
        self.assertEqual((peer.codes, self.ran()), ([200], ["find_lock", "clear"]))

    def test_failures(self) -> None:
        """A failure is counted, of the kind and for the source, by the limits of the configuration."""
        self.change("security", max_failures=7, lockout_delay_min=20)
        for fault, code in ((Unauthorized(), 401), (AuthenticationFailure(), 402)):
            self.fakes.database.asked.clear()
            self.fault = fault
            peer = self.connect()
            peer.ask("TRY")
            self.assertEqual((peer.codes, self.ran()), ([code], ["find_lock", "note_failure"]))
            _, limit, source = self.fakes.database.asked[-1]
            window = timedelta(minutes=20)
            self.assertEqual(limit, failures.Limit("password", 7, window, window))
            self.assertEqual(source, "192.0.2.1")

    def test_other_refusals(self) -> None:
        """What is no failure neither counts nor forgets."""
        for fault in (NotFound(), BadRequest()):
            self.fakes.database.asked.clear()
            self.fault = fault
            self.connect().ask("TRY")
            self.assertEqual(self.ran(), ["find_lock"])

    def test_last_failure(self) -> None:
        """The failure that locks out is answered 405 with the time, and the connection closes."""
        self.fault = Unauthorized()
        self.answers[failures.note_failure] = LATER
        peer = self.connect()
        peer.ask("TRY")
        self.assertEqual(peer.codes, [405])
        self.assertEqual(peer.last.data, {"Lock-Time": "2030-01-01T00:00:00Z"})
        self.assertTrue(peer.wire.half_closed)

    def test_locked_out(self) -> None:
        """Who is locked out hears 407 with the time; the command does not run."""
        self.answers[failures.find_lock] = failures.Lockout(LATER, is_aged=False)
        self.fault = RuntimeError()  # type: ignore[assignment]
        peer = self.connect()
        peer.send(request("TRY") + request("ECHO"))
        self.assertEqual(peer.codes, [407, 200])
        self.assertEqual(peer.answers[0].data, {"Lock-Time": "2030-01-01T00:00:00Z"})
        self.assertEqual(self.ran(), ["find_lock"])

    def test_locked_out_from_memory(self) -> None:
        """For a second the database is not asked again; then it is, and the try restarts the lockout."""
        later = LATER + timedelta(minutes=1)
        self.answers[failures.find_lock] = failures.Lockout(LATER, is_aged=True)
        self.answers[failures.restart_lock] = later
        for seconds, ran in ((0.0, ["find_lock", "restart_lock"]), (0.9, []), (0.1, ["find_lock"])):
            self.clock.advance(seconds)
            self.fakes.database.asked.clear()
            peer = self.connect()
            peer.ask("TRY")
            self.assertEqual((peer.codes, self.ran()), ([407], ran))
            self.assertEqual(peer.last.data, {"Lock-Time": "2030-01-01T00:01:00Z"})
            self.answers[failures.find_lock] = failures.Lockout(later, is_aged=False)

    def test_restarted_by_another(self) -> None:
        """If another process has just restarted the lockout, the time that was read is told."""
        self.answers[failures.find_lock] = failures.Lockout(LATER, is_aged=True)
        self.answers[failures.restart_lock] = None
        peer = self.connect()
        peer.ask("TRY")
        self.assertEqual(peer.last.data, {"Lock-Time": "2030-01-01T00:00:00Z"})

    def test_several_steps(self) -> None:
        """A command of several steps is one try, which counts when it ends; given up it does not count."""

        async def perform(asked: Everything, session: Session) -> Outcome:
            again = await session.again(Response(Status.CONTINUE), Second)
            if again.second != "right":
                raise Unauthorized
            return Response(Status.OK)

        self.commands(Scripted("PROVE", perform, (Guarded("device"),)))
        for second, code, last in (("right", 200, "clear"), ("wrong", 401, "note_failure")):
            peer = self.connect()
            peer.send(request("PROVE") + request("PROVE", Second=second))
            self.assertEqual((peer.codes, self.ran()[-1]), ([100, code], last))
        self.fakes.database.asked.clear()
        peer = self.connect()
        peer.send(request("PROVE") + request("CANCEL"))
        self.assertEqual((peer.codes, self.ran()), ([100, 200], ["find_lock"]))


@implementer(IDemand)
class Noted:
    """A demand that notes what it is told, and may refuse."""

    def __init__(self, notes: list[str], name: str, refuses: bool = False, mends: bool = False):
        self.notes = notes
        self.name = name
        self.refuses = refuses
        self.mends = mends

    async def require(self, session: Session) -> None:
        self.notes.append(f"{self.name} asked")
        if self.refuses:
            raise NotFound

    async def conclude(self, session: Session, fault: CommandError | None) -> CommandError | None:
        self.notes.append(f"{self.name} told {None if fault is None else int(fault.status)}")
        return Unauthorized() if self.mends else fault


class SeveralTests(ConversationTestCase):
    """Several demands of one command."""

    def ask(self, *demands: Noted) -> list[int]:
        self.commands(Scripted("TRY", answer_ok, demands))
        peer = self.connect()
        peer.ask("TRY")
        return peer.codes

    def test_order(self) -> None:
        """They are asked in order, and told in the opposite one."""
        notes: list[str] = []
        self.assertEqual(self.ask(Noted(notes, "first"), Noted(notes, "second")), [200])
        self.assertEqual(notes, ["first asked", "second asked", "second told None", "first told None"])

    def test_refusal(self) -> None:
        """What refuses is told nothing; those before it are told of its refusal."""
        notes: list[str] = []
        self.assertEqual(self.ask(Noted(notes, "first"), Noted(notes, "second", refuses=True)), [404])
        self.assertEqual(notes, ["first asked", "second asked", "first told 404"])

    def test_another_answer(self) -> None:
        """One may give another answer, which those before it are told."""
        notes: list[str] = []
        self.assertEqual(self.ask(Noted(notes, "first"), Noted(notes, "second", mends=True)), [401])
        self.assertEqual(notes[-1], "first told 401")

    def test_awaited(self) -> None:
        """A demand may take its time."""
        gate: Deferred[None] = Deferred()

        class Slow(Noted):
            async def require(self, session: Session) -> None:
                await gate

        self.assertEqual(self.ask(Slow([], "slow")), [])
        gate.callback(None)


class LimitTests(DatabaseTestCase):
    """The same on a real database."""

    async def test_locks_out_and_clears(self) -> None:
        """Failures up to the limit lock the source out, for this kind only; a success before that clears."""
        limit = Guarded("password").limit(3, 15)
        other = Guarded("device").limit(3, 15)
        run = self.database.run
        for _ in range(2):
            self.assertIsNone(await run(failures.note_failure, limit, "192.0.2.1"))
        self.assertTrue(await run(failures.clear, limit, "192.0.2.1"))
        for _ in range(2):
            self.assertIsNone(await run(failures.note_failure, limit, "192.0.2.1"))
        self.assertIsNotNone(await run(failures.note_failure, limit, "192.0.2.1"))
        self.assertIsNotNone(await run(failures.find_lock, limit, "192.0.2.1"))
        self.assertIsNone(await run(failures.find_lock, limit, "192.0.2.2"))
        self.assertIsNone(await run(failures.find_lock, other, "192.0.2.1"))
