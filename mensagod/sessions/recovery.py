"""Recovery of live sessions whose rows may have been removed (spec 06, *Running many*, *Database*).

Each live session has a row in the table ``sessions``. There are two reasons to compare them:

* Other processes took this one for dead while it could not reach the database, and removed its rows. Nobody
  ended the sessions, so their rows are inserted again.
* The process missed events, because it could not read them before they were deleted. An event may have ended
a
  session, so a session without a row counts as ended.
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
"""How often to check whether there is a reason for a comparison, in seconds; also the delay of a retry."""

BATCH: Final = 500
"""How many sessions are compared in one transaction."""

REASON: Final = "The session's workspace or device may no longer log in"


@define(eq=False)
class Recovery:
    """Ends the live sessions that other processes ended, and restores the rows of the others.

    :ivar follower: passes on the events that end sessions; rows are restored only while it is up to date.
    """

    clock: IReactorTime
    live: LiveSessions
    follower: Follower
    _rows_lost: bool = field(default=False, init=False)
    _events_missed: bool = field(default=False, init=False)
    _periodic: Periodic = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._periodic = Periodic(
            self.clock, SECONDS, self.look, "the rows of the sessions cannot be checked"
        )
        self.follower.watch_endings(self.hear)

    async def start(self) -> None:
        """Begin to check for a reason to compare."""
        self._periodic.startService()

    async def stop(self) -> None:
        """Stop checking."""
        self._periodic.stopService()

    def lose_rows(self) -> None:
        """Note that other processes may have removed the rows of this one."""
        self._rows_lost = True

    def hear(self, events: Sequence[Event] | None) -> None:
        """End the sessions that ``events`` name; ``None`` means that some events were missed."""
        if events is None:
            self._events_missed = True
            return
        for event in events:
            if isinstance(event.subject, Ending):
                self.live.end(event.number, event.subject)

    async def look(self) -> None:
        """Remove rows that could not be removed; compare all live sessions with theirs, if there is a reason.

        :raises mensagod.errors.ServerUnavailable: while the database is unavailable; a later call tries
            again.
        """
        await self.live.remove_kept_rows()
        lost, missed = self._rows_lost, self._events_missed
        if not (lost or missed) or not self.follower.is_current:
            return
        self._rows_lost = self._events_missed = False
        try:
            present = tuple(self.live)
            for first in range(0, len(present), BATCH):
                await self._compare(present[first : first + BATCH], restores=not missed)
        except BaseException:
            self._rows_lost |= lost
            self._events_missed |= missed
            raise

    async def _compare(self, present: Sequence[tuple[LiveSession, Member]], *, restores: bool) -> None:
        rows = [
            PresentSession(member.session, member.workspace, member.device, session.host)
            for session, member in present
        ]
        database = self.live.database
        if restores:
            rightful = await database.run(sessions.restore_sessions, self.live.process, rows)
        else:
            rightful = await database.read(sessions.rightful_sessions, rows)
        left = [member.row for session, member in present if (session, member) not in self.live]
        if left:
            # A session that left meanwhile may have removed its row before it was restored here.
            self.live.remove_rows(left)
        for session, member in present:
            if member.session not in rightful:
                self.live.end_one(session, member, REASON)
