"""Hints that something changed in a workspace, which wake its sessions in all processes.

(spec 06, *Running many*)

A hint is sent after the commit of a change, and may be lost: then a session finds the change when it looks by
itself (:data:`mensagod.sessions.who.LOOK_SECONDS`). What must not be late goes through the log of events
(:mod:`mensagod.sharing.follower`).

There are two ways for hints. By :class:`mensagod.sharing.pg_hints.PgHints` processes notify each other
through PostgreSQL; by :class:`PollHints` each asks the database. The configuration chooses one
(``cluster.hints``).
"""

from collections.abc import Callable, Mapping
from typing import Final, Protocol

from attrs import define, field
from twisted.internet.interfaces import IReactorTime

from mensagod.lifecycle.parts import Part
from mensagod.lifecycle.periodic import Periodic
from mensagod.storage import hints
from mensagod.storage.interfaces import Interactions
from mensagod.values.identity import WorkspaceID

POLL_SECONDS: Final = 0.8
"""How often a process asks. A change is known within a second, the time for the answer included."""

HintWatcher = Callable[[WorkspaceID | None], None]
"""Called with a workspace where something changed, or with ``None`` if it may be any; must not raise."""


class IHints(Part, Protocol):
    """Tells processes of changes that others made; a part of the server."""

    def send(self, workspace: WorkspaceID) -> None:
        """Tell of a committed change: in this process at once, in others within a second. Never raises."""

    def subscribe(self, watcher: HintWatcher) -> None:
        """Call ``watcher`` in the reactor for every hint from now on."""


@define(eq=False)
class Subscribers:
    """Who wants to hear of hints in this process."""

    _watchers: list[HintWatcher] = field(factory=list, init=False)

    def add(self, watcher: HintWatcher) -> None:
        """Tell ``watcher`` from now on."""
        self._watchers.append(watcher)

    def tell(self, workspace: WorkspaceID | None) -> None:
        """Tell all of them."""
        for watcher in self._watchers:
            watcher(workspace)


@define(eq=False)
class PollHints:
    """Asks the database again and again which of this process's workspaces changed.

    It is one statement, which needs no connection of its own and works through any pooler. What it costs
    grows with the number of sessions.

    :ivar unaware: gives the workspaces to ask for, each with the number of the last update record that its
        sessions know.
    """

    clock: IReactorTime
    database: Interactions
    unaware: Callable[[], Mapping[WorkspaceID, int]]
    _subscribers: Subscribers = field(factory=Subscribers, init=False)
    _asking: Periodic = field(init=False)

    def __attrs_post_init__(self) -> None:
        complaint = "changes that other processes made cannot be asked for"
        self._asking = Periodic(self.clock, POLL_SECONDS, self._ask, complaint)

    def send(self, workspace: WorkspaceID) -> None:
        """Tell this process; the others ask."""
        self._subscribers.tell(workspace)

    def subscribe(self, watcher: HintWatcher) -> None:
        """Tell ``watcher`` of changes from now on."""
        self._subscribers.add(watcher)

    async def start(self) -> None:
        """Begin to ask."""
        self._asking.startService()

    async def stop(self) -> None:
        """Ask no more."""
        if self._asking.running:
            self._asking.stopService()

    async def _ask(self) -> None:
        seen = self.unaware()
        if not seen:
            return
        for workspace in await self.database.read(hints.changed_beyond, seen):
            self._subscribers.tell(workspace)
