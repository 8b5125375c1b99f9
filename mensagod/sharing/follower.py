"""What other processes changed, noticed within a second (spec 03, *The server's duties*)."""

from collections.abc import Callable
from typing import Final

from twisted.application.service import Service
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from mensagod.errors import ServerUnavailable
from mensagod.storage import changes
from mensagod.storage.database import Database
from mensagod.values.identity import WorkspaceID

INTERVAL: Final = 0.5
"""How often a process asks what others changed, in seconds."""

TRUST: Final = 0.9
"""For how many seconds after it asked it takes what it knows for the truth."""

Watcher = Callable[[frozenset[WorkspaceID] | None], None]
"""Called with whose cards changed, or with ``None`` if that is unknown and so could be all."""


class ChangeWatch(Service):
    """Asks the database, again and again, whose cards changed, and tells who wants to know.

    :ivar generation: grows with each change that is told, so that what was read before can be told from
        what was read after it.
    """

    _log = Logger()

    def __init__(self, reactor: IReactorTime, database: Database):
        self._reactor = reactor
        self._database = database
        self._watchers: list[Watcher] = []
        self._horizon = 0
        self._asked: float | None = None
        self._complained = False
        self._loop = LoopingCall(self._ask_on)
        self._loop.clock = reactor
        self.generation = 0

    @property
    def is_current(self) -> bool:
        """Whether everything is known that others had committed a second ago or earlier."""
        return self._asked is not None and self._reactor.seconds() - self._asked < TRUST

    def watch(self, watcher: Watcher) -> None:
        """Call ``watcher`` in the reactor for every change from now on."""
        self._watchers.append(watcher)

    def startService(self) -> None:
        """Begin to ask."""
        super().startService()
        self._loop.start(INTERVAL).addErrback(self._broken)

    def stopService(self) -> None:
        """Ask no more."""
        super().stopService()
        if self._loop.running:
            self._loop.stop()
        self._asked = None

    def tell(self, owners: frozenset[WorkspaceID] | None) -> None:
        """Tell at once of a change that this process made itself."""
        self.generation += 1
        for watcher in self._watchers:
            watcher(owners)

    async def ask(self) -> None:
        """Ask once.

        :raises ServerUnavailable: while the database is away.
        """
        begun = self._reactor.seconds()
        found = await self._database.read(changes.list_changes, self._horizon)
        missed = self._asked is None or begun - self._asked > changes.KEEP_SECONDS / 2
        self._asked = begun
        if missed or found.horizon < self._horizon:
            self.tell(None)
        elif found.owners:
            self.tell(found.owners)
        self._horizon = found.horizon

    def _ask_on(self) -> Deferred[None]:
        return ensureDeferred(self._ask_quietly())

    async def _ask_quietly(self) -> None:
        try:
            await self.ask()
        except ServerUnavailable:
            return
        except Exception:
            # Twice a second would hide everything else in the log.
            if not self._complained:
                self._log.failure("changes that others made cannot be asked for")
            self._complained = True
        else:
            self._complained = False

    def _broken(self, failure: Failure) -> None:
        self._asked = None
        self._log.failure("changes that others make are no longer noticed", failure)
