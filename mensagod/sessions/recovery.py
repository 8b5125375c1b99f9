"""Live sessions whose rows may be gone (spec 06, *Running many*, *Database*).

The row is the session, and two things can part them. Others may have taken this process for dead, while it
could not reach the database: the rows are gone then, although nobody ended the sessions, and are made again.
Or the process may have missed events, because it could not read them for as long as they are kept: then a
session that has no row counts as ended.
"""

from collections.abc import Sequence
from typing import Final

from attrs import define, field
from twisted.internet.interfaces import IReactorTime

from mensagod.lifecycle.periodic import Periodic
from mensagod.sessions.live import LiveSession, LiveSessions
from mensagod.sessions.who import Member
from mensagod.sharing.follower import Follower
from mensagod.storage import sessions
from mensagod.storage.events import Ending, Event
from mensagod.storage.sessions import PresentSession

SECONDS: Final = 0.5
"""How soon sessions are looked at when there is a reason, and after how long again if that fails."""

BATCH: Final = 500
"""How many sessions are looked at in one transaction."""

REASON: Final = "The session's workspace or device may no longer log in"


@define(eq=False)
class Recovery:
    """Ends the sessions that others ended, and keeps the rows of all others.

    :ivar follower: tells of the endings; nothing is restored before all that could be read has been.
    """

    clock: IReactorTime
    live: LiveSessions
    follower: Follower
    _rows_lost: bool = field(default=False, init=False)
    _events_missed: bool = field(default=False, init=False)
    _turns: Periodic = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._turns = Periodic(self.clock, SECONDS, self.look, "the rows of sessions cannot be looked at")
        self.follower.watch_endings(self.hear)

    async def start(self) -> None:
        """Begin to look whether there is a reason."""
        self._turns.startService()

    async def stop(self) -> None:
        """Look no more."""
        self._turns.stopService()

    def lose_rows(self) -> None:
        """Take note that the process was taken for dead."""
        self._rows_lost = True

    def hear(self, events: Sequence[Event] | None) -> None:
        """End sessions as events say; ``None`` means that some were missed."""
        if events is None:
            self._events_missed = True
            return
        for event in events:
            if isinstance(event.subject, Ending):
                self.live.end(event.number, event.subject)

    async def look(self) -> None:
        """Look at the rows of all sessions, if there is a reason, and remove those that should be gone.

        :raises mensagod.errors.ServerUnavailable: while the database is away; the reason stays.
        """
        await self.live.remove_kept_rows()
        lost, missed = self._rows_lost, self._events_missed
        if not (lost or missed) or not self.follower.is_current:
            return
        self._rows_lost = self._events_missed = False
        try:
            present = tuple(self.live)
            for first in range(0, len(present), BATCH):
                await self._look_at(present[first : first + BATCH], restores=not missed)
        except BaseException:
            self._rows_lost |= lost
            self._events_missed |= missed
            raise

    async def _look_at(self, present: Sequence[tuple[LiveSession, Member]], *, restores: bool) -> None:
        rows = [
            PresentSession(member.session, member.workspace, member.device, session.host)
            for session, member in present
        ]
        database = self.live.database
        if restores:
            rightful = await database.run(sessions.restore_sessions, self.live.process, rows)
        else:
            rightful = await database.read(sessions.rightful_sessions, rows)
        left = [member.session for session, member in present if (session, member) not in self.live]
        if left:
            # Their rows may have been removed before they were made again.
            self.live.remove_rows(left)
        for session, member in present:
            if member.session not in rightful:
                self.live.end_one(session, member, REASON)
