"""Who is logged in at a process, and who of them goes on (spec 06, *Running many*)."""

from collections.abc import Callable, Collection, Sequence
from typing import Any, cast
from uuid import UUID

from attrs import define, evolve, field
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mensagod.errors import ServerUnavailable
from mensagod.sessions.live import REMEMBERED, LiveSessions
from mensagod.sessions.recovery import BATCH, REASON, SECONDS, Recovery
from mensagod.sessions.who import Member
from mensagod.sharing.follower import INTERVAL, Follower
from mensagod.storage import sessions as rows
from mensagod.storage.database import Database
from mensagod.storage.events import CardChange, Ending
from mensagod.storage.sessions import PresentSession
from mensagod.values.identity import DeviceID, WorkspaceID
from tests.conversations import make_member
from tests.sharing.logs import MemoryEventLog

ALICE, BOB = WorkspaceID(UUID(int=1)), WorkspaceID(UUID(int=2))
PHONE, LAPTOP = DeviceID(UUID(int=3)), DeviceID(UUID(int=4))


@define(eq=False)
class FakeSession:
    """A session that notes why it was ended."""

    member: Member | None
    host: str = "192.0.2.1"
    reasons: list[str] = field(factory=list)

    def end(self, reason: str) -> None:
        self.reasons.append(reason)


def log_in(workspace: WorkspaceID, device: DeviceID = PHONE, last_event: int = 0) -> FakeSession:
    """Give a session that has logged in."""
    member = make_member(workspace)
    member.device = device
    member.last_event = last_event
    return FakeSession(member)


class RowTable:
    """A database with the rows of sessions.

    :ivar refused: sessions whose workspace or device may not log in any more.
    :ivar before: called before anything is done.
    """

    def __init__(self) -> None:
        self.rows: set[UUID] = set()
        self.refused: set[UUID] = set()
        self.asked: list[int] = []
        self.is_away = False
        self.before: Callable[[], None] = lambda: None

    def run(self, interaction: Callable[..., Any], *args: Any) -> Deferred[Any]:
        self.before()
        if self.is_away:
            return Deferred.fromCoroutine(self._fail())
        if interaction is rows.remove_sessions:
            self._remove(*args)
            return succeed(None)
        assert interaction is rows.restore_sessions
        return succeed(self._restore(*args))

    def read(self, interaction: Callable[..., Any], present: Sequence[PresentSession]) -> Deferred[Any]:
        self.before()
        assert interaction is rows.rightful_sessions
        self.asked.append(len(present))
        return succeed(frozenset({session.id for session in present} & self.rows - self.refused))

    async def _fail(self) -> None:
        raise ServerUnavailable

    def _remove(self, sessions: Collection[rows.SessionKey]) -> None:
        self.rows.difference_update(session for _, session in sessions)

    def _restore(self, process: UUID, present: Sequence[PresentSession]) -> frozenset[UUID]:
        self.asked.append(len(present))
        restored = {session.id for session in present} - self.refused
        self.rows |= restored
        return frozenset(restored)


class LiveTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.table = RowTable()
        self.live = LiveSessions(cast(Database, self.table))

    def enter(self, *sessions: FakeSession) -> None:
        """Take sessions in as a login does, which makes their rows first."""
        for session in sessions:
            assert session.member is not None
            self.table.rows.add(session.member.session)
            self.live.enter(session)

    def leave(self, session: FakeSession) -> None:
        self.live.leave(session)
        session.member = None


class LiveSessionsTests(LiveTestCase):
    def test_changed(self) -> None:
        """All who are logged in to a workspace have to look after a change, nobody else."""
        members = [log_in(ALICE), log_in(ALICE, LAPTOP), log_in(BOB)]
        self.enter(*members)
        self.live.wake(ALICE)
        self.live.wake(WorkspaceID.random())
        self.assertEqual([bool(one.member and one.member.stale) for one in members], [True, True, False])

    def test_any_changed(self) -> None:
        """All have to look where it is not known who has to."""
        members = [log_in(ALICE), log_in(BOB)]
        self.enter(*members)
        self.live.wake(None)
        self.assertEqual([bool(one.member and one.member.stale) for one in members], [True, True])

    def test_unaware(self) -> None:
        """Who has to look already need not be asked for; of the others the one who knows least counts."""
        members = [log_in(ALICE), log_in(ALICE), log_in(ALICE, LAPTOP), log_in(BOB)]
        self.assertEqual(self.live.unaware(), {})
        self.enter(*members)
        for seen, session in enumerate(members, 5):
            assert session.member is not None
            session.member.seen = seen
        self.live.wake(BOB)
        self.assertEqual(self.live.unaware(), {ALICE: 5})
        assert members[0].member is not None
        members[0].member.stale = True
        self.assertEqual(self.live.unaware(), {ALICE: 6})
        self.live.wake(ALICE)
        self.assertEqual(self.live.unaware(), {})

    def test_leave(self) -> None:
        """Who leaves is gone, here and in the database; leaving twice does no harm, nor without a login."""
        session, other = log_in(ALICE), log_in(ALICE)
        self.enter(session, other)
        member = session.member
        self.leave(session)
        session.member = member
        self.leave(session)
        self.leave(FakeSession(None))
        self.assertEqual([one for one, _ in self.live], [other])
        self.assertEqual(self.table.rows, {other.member.session if other.member else None})

    def test_nobody(self) -> None:
        """A session is taken in once somebody is logged in."""
        self.assertRaises(ValueError, self.live.enter, FakeSession(None))

    def test_row_that_stays(self) -> None:
        """That a row cannot be removed while the database is away is no news; other faults are."""
        session, other = log_in(ALICE), log_in(ALICE)
        self.enter(session, other)
        self.table.is_away = True
        self.leave(session)
        self.table.is_away = False
        self.patch(self.table, "run", lambda *_: Deferred.fromCoroutine(self.fail_later()))
        self.leave(other)
        self.assertEqual(len(self.flushLoggedErrors(LookupError)), 1)

    async def fail_later(self) -> None:
        raise LookupError

    def test_end(self) -> None:
        """An ending ends the sessions that it names, once, and others not at all."""
        phone, laptop, bob = log_in(ALICE), log_in(ALICE, LAPTOP), log_in(BOB)
        self.enter(phone, laptop, bob)
        self.live.end(1, Ending(ALICE, PHONE, None, "one"))
        self.live.end(2, Ending(ALICE, None, None, "all"))
        self.assertEqual((phone.reasons, laptop.reasons, bob.reasons), (["one"], ["all"], []))
        self.assertEqual([one for one, _ in self.live], [bob])
        self.live.end(3, Ending(BOB, None, bob.member.session if bob.member else None, "others"))
        self.assertEqual(bob.reasons, [])

    def test_later_login(self) -> None:
        """Who logged in after the event that ended sessions goes on."""
        before, after = log_in(ALICE, last_event=6), log_in(ALICE, last_event=7)
        self.enter(before, after)
        self.live.end(7, Ending(ALICE, None, None, "why"))
        self.assertEqual((before.reasons, after.reasons), (["why"], []))

    def test_login_on_its_way(self) -> None:
        """A login is ended whose answer from the database comes after the event that ended it."""
        self.live.end(7, Ending(ALICE, None, None, "why"))
        self.live.end(8, Ending(ALICE, None, None, "again"))
        before, after = log_in(ALICE, last_event=6), log_in(ALICE, last_event=8)
        self.enter(before, after)
        self.assertEqual((before.reasons, after.reasons), (["why"], []))
        self.assertEqual([one for one, _ in self.live], [after])

    def test_remembered(self) -> None:
        """The number of endings that are remembered for these is bounded."""
        for number in range(REMEMBERED + 1):
            self.live.end(number + 1, Ending(ALICE if number == 0 else BOB, None, None, "why"))
        self.enter(session := log_in(ALICE))
        self.assertEqual(session.reasons, [])

    @settings(max_examples=200, deadline=None)
    @given(
        st.sampled_from([ALICE, BOB]),
        st.sampled_from([None, PHONE, LAPTOP]),
        st.sampled_from([None, 0, 1, 2, 3]),
        st.integers(0, 4),
        st.booleans(),
    )
    def test_any_ending(
        self, workspace: WorkspaceID, device: DeviceID | None, spare: int | None, number: int, early: bool
    ) -> None:
        """Whatever is ended, it ends what it says, whether it is heard of before a login or after it."""
        live = LiveSessions(cast(Database, self.table))
        found = [
            log_in(wid, did, event)
            for wid, did, event in ((ALICE, PHONE, 1), (ALICE, LAPTOP, 2), (BOB, PHONE, 3), (BOB, LAPTOP, 0))
        ]
        members = [session.member for session in found if session.member is not None]
        ending = Ending(workspace, device, None if spare is None else members[spare].session, "why")
        if early:
            live.end(number, ending)
        for session in found:
            live.enter(session)
        if not early:
            live.end(number, ending)
        for index, (session, member) in enumerate(zip(found, members, strict=True)):
            ends = (
                member.workspace == workspace
                and (device is None or member.device == device)
                and index != spare
                and member.last_event < number
            )
            self.assertEqual(session.reasons, ["why"] if ends else [])


class RecoveryTests(LiveTestCase):
    """Sessions and their rows, by the clock."""

    def setUp(self) -> None:
        super().setUp()
        self.clock, self.log = Clock(), MemoryEventLog()
        self.follower = Follower(self.clock, self.log)
        self.recovery = Recovery(self.clock, self.live, self.follower)
        self.follower.startService()
        self.addCleanup(self.follower.stopService)
        self.successResultOf(Deferred.fromCoroutine(self.recovery.start()))
        self.addCleanup(lambda: self.successResultOf(Deferred.fromCoroutine(self.recovery.stop())))
        self.turn()
        self.table.asked.clear()

    def turn(self) -> None:
        """Let half a second pass, in which everything is looked at once."""
        self.clock.advance(max(INTERVAL, SECONDS))

    def row(self, session: FakeSession) -> UUID:
        assert session.member is not None
        return session.member.session

    def test_events(self) -> None:
        """Sessions that others ended end within a second."""
        phone, laptop = log_in(ALICE), log_in(ALICE, LAPTOP)
        self.enter(phone, laptop)
        self.log.add(CardChange(ALICE))
        self.log.add(Ending(ALICE, PHONE, None, "one"))
        self.turn()
        self.log.add(Ending(ALICE, None, None, "all"))
        self.turn()
        self.assertEqual((phone.reasons, laptop.reasons), (["one"], ["all"]))
        self.assertEqual(self.table.asked, [])

    def test_quiet(self) -> None:
        """Without a reason nothing is looked at."""
        self.enter(log_in(ALICE))
        self.table.rows.clear()
        for _ in range(10):
            self.turn()
        self.assertEqual(self.table.asked, [])

    def test_taken_for_dead(self) -> None:
        """Who may still log in gets the row again and hears nothing; others end."""
        stays, ends = log_in(ALICE), log_in(BOB)
        self.enter(stays, ends)
        self.table.rows.clear()
        self.table.refused.add(self.row(ends))
        self.recovery.lose_rows()
        self.turn()
        self.assertEqual((stays.reasons, ends.reasons), ([], [REASON]))
        self.assertEqual(self.table.rows, {self.row(stays)})
        self.turn()
        self.assertEqual(self.table.asked, [2])

    def test_ended_while_dead(self) -> None:
        """A session that was ended while its process counted as dead, so without a row, ends too."""
        session = log_in(ALICE)
        self.enter(session)
        self.table.rows.clear()
        self.log.fault = ServerUnavailable()
        self.clock.pump([10] * 10)
        self.log.add(Ending(ALICE, None, None, "why"))
        self.recovery.lose_rows()
        self.turn()
        self.assertEqual(self.table.asked, [])
        self.log.fault = None
        self.turn()
        self.turn()
        self.assertEqual(session.reasons, ["why"])
        self.leave(session)
        self.assertEqual(self.table.rows, set())

    def test_missed(self) -> None:
        """Where events were missed a session without a row counts as ended, and no row is made again."""
        stays, ends = log_in(ALICE), log_in(BOB)
        self.enter(stays, ends)
        self.table.rows.remove(self.row(ends))
        for lose in (lambda: None, self.recovery.lose_rows):
            self.log.last += 1
            lose()
            self.turn()
            self.turn()
            self.assertEqual((stays.reasons, ends.reasons), ([], [REASON]))
        self.assertEqual(self.table.rows, {self.row(stays)})

    def test_away(self) -> None:
        """While the database is away the reason stays."""
        session = log_in(ALICE)
        self.enter(session)
        self.table.rows.clear()
        self.table.is_away = True
        self.recovery.lose_rows()
        self.turn()
        self.assertEqual(self.table.rows, set())
        self.table.is_away = False
        self.turn()
        self.assertEqual(self.table.rows, {self.row(session)})
        self.assertEqual(session.reasons, [])

    def test_left_while_away(self) -> None:
        """The rows of sessions that leave while the database is away go once it is there again."""
        left, stays = log_in(ALICE), log_in(BOB)
        self.enter(left, stays)
        self.table.is_away = True
        self.leave(left)
        self.turn()
        self.assertEqual(len(self.table.rows), 2)
        self.table.is_away = False
        self.turn()
        self.assertEqual(self.table.rows, {self.row(stays)})
        # Once is enough.
        self.table.before = lambda: self.fail("nothing is left to do")
        self.turn()

    def test_left_meanwhile(self) -> None:
        """A session that leaves while its row is made again leaves no row, and is not ended."""
        session = log_in(ALICE)
        self.enter(session)
        gate: Deferred[None] = Deferred()
        run = self.table.run

        def run_late(interaction: Callable[..., Any], *args: Any) -> Deferred[Any]:
            if interaction is rows.restore_sessions:
                return gate.addCallback(lambda _: run(interaction, *args))
            return run(interaction, *args)

        self.patch(self.table, "run", run_late)
        self.recovery.lose_rows()
        self.turn()
        self.leave(session)
        gate.callback(None)
        self.assertEqual((self.table.rows, session.reasons), (set(), []))

    def test_logged_in_again_meanwhile(self) -> None:
        """A connection that is another member's by then is not ended for the one before."""
        session = log_in(ALICE)
        self.enter(session)
        self.table.refused.add(self.row(session))

        def log_in_again() -> None:
            self.table.before = lambda: None
            member = session.member
            assert member is not None
            self.leave(session)
            session.member = evolve(member, session=UUID(int=9))
            self.enter(session)

        self.table.before = log_in_again
        self.recovery.lose_rows()
        self.turn()
        self.assertEqual(session.reasons, [])
        self.assertEqual([member.session for _, member in self.live], [UUID(int=9)])

    def test_many(self) -> None:
        """Many sessions are looked at some at a time."""
        self.enter(*(log_in(WorkspaceID.random()) for _ in range(BATCH + 1)))
        self.recovery.lose_rows()
        self.turn()
        self.assertEqual(self.table.asked, [BATCH, 1])

    def test_fault(self) -> None:
        """A fault of ours is logged once, and what is to be done is tried again."""
        session = log_in(ALICE)
        self.enter(session)
        self.table.rows.clear()

        def fail() -> None:
            raise LookupError

        self.table.before = fail
        self.recovery.lose_rows()
        for _ in range(3):
            self.turn()
        self.assertEqual(len(self.flushLoggedErrors(LookupError)), 1)
        self.table.before = lambda: None
        self.turn()
        self.assertEqual(self.table.rows, {self.row(session)})
