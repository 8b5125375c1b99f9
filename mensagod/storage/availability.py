"""Whether the database is there, whether it takes changes, and who wants to hear of it."""

from collections.abc import Callable
from enum import Enum

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger


class Writes(Enum):
    """What becomes of changes in a database that answers."""

    DONE = "they are done"
    REFUSED = "it only reads"
    HANGING = "its commits do not end"


class Availability:
    """What the last contact with the database has shown.

    Logs once when it goes and once when it is back, and the same for its taking changes.

    :ivar since: when it last answered, in the reactor's seconds.
    :ivar writes: what becomes of changes.
    """

    _log = Logger()

    def __init__(self, reactor: IReactorTime):
        self._reactor = reactor
        self._known: bool | None = None
        self._watchers: list[Callable[[bool], None]] = []
        self.since = 0.0
        self.writes = Writes.DONE

    @property
    def is_there(self) -> bool:
        """Whether it answered the last time; false before the first contact."""
        return self._known is True

    @property
    def is_away(self) -> bool:
        """Whether it failed the last time; false before the first contact."""
        return self._known is False

    def watch(self, watcher: Callable[[bool], None]) -> None:
        """Call ``watcher`` with each change, true for *back* and false for *gone*."""
        self._watchers.append(watcher)

    def answered(self) -> None:
        """Note that the database has just answered."""
        self.since = self._reactor.seconds()
        if self._known is not True:
            self._log.info("The database is available", event="database_available")
            self._change(now=True)

    def failed(self, reason: str) -> None:
        """Note that the database cannot be reached."""
        if self._known is not False:
            self._log.warn("The database is away: {reason}", event="database_unavailable", reason=reason)
            self._change(now=False)

    def note_writes(self, writes: Writes) -> None:
        """Note what becomes of changes."""
        if writes is self.writes:
            return
        self.writes = writes
        if writes is Writes.DONE:
            self._log.info("The database takes changes again", event="database_writable")
        else:
            self._log.warn(
                "The database takes no changes: {reason}",
                event=f"database_writes_{writes.name.lower()}",
                reason=writes.value,
            )

    def doubt(self) -> None:
        """Forget when it last answered, so that it is asked soon."""
        self.since = 0.0

    def silent_for(self, seconds: float) -> bool:
        """Tell whether nothing was heard of the database for ``seconds``."""
        return self._reactor.seconds() - self.since >= seconds

    def _change(self, *, now: bool) -> None:
        self._known = now
        for watcher in self._watchers:
            watcher(now)
