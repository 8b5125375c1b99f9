"""Removal of messages that were never accepted, and of files that belong to no message.

Nobody was promised anything of either. A row is made before its file and says when its writer counts as dead;
so the first kind is found by its row. The second kind exists only because that row is not synced for itself:
a crash of PostgreSQL may take it. Mailboxes have no such files: where a message will stand is committed
before its file moves there, and its row leaves the queue in the transaction that makes the file live.
"""

from contextlib import closing

from twisted.application.service import MultiService
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from mensagod.delivery.interfaces import IQueue
from mensagod.lifecycle.periodic import Periodic
from mensagod.storage.interfaces import IMailboxStore
from mensagod.storage.queue import WRITING_SECONDS
from mensagod.threads.interfaces import Threads

CLEAN_SECONDS = 60
"""How often messages that were never accepted are looked for."""

SWEEP_SECONDS = 3600
"""How often files that belong to no message are looked for."""

SWEEP_AGE = 2 * WRITING_SECONDS
"""The least age of such a file in seconds: a younger one may belong to a message that is just coming."""

SWEEP_LIMIT = 500
"""How many files are looked at together."""


class Cleanup(MultiService):
    """Looks for both again and again, from its start on."""

    _log = Logger(namespace="mensagod.delivery")

    def __init__(self, clock: IReactorTime, queue: IQueue, store: IMailboxStore, threads: Threads):
        super().__init__()
        self._clock = clock
        self._queue = queue
        self._store = store
        self._threads = threads
        self._swept: float | None = None
        periodic = Periodic(clock, CLEAN_SECONDS, self.clean, "unfinished messages cannot be removed")
        periodic.setServiceParent(self)

    async def clean(self) -> None:
        """Remove messages whose writer died before they were accepted; from time to time, sweep ``out``."""
        for message in await self._queue.claim_abandoned():
            await self._threads.run(self._store.remove, message.path)
            await self._queue.withdraw(message)
            self._log.info("unfinished message {message} removed", message=str(message.id))
        now = self._clock.seconds()
        if self._swept is None or now - self._swept >= SWEEP_SECONDS:
            await self._sweep()
            self._swept = now

    async def _sweep(self) -> None:
        """Remove files below ``out`` that belong to no message."""
        with closing(self._store.old_outgoing(SWEEP_AGE, SWEEP_LIMIT)) as batches:
            while self.running and (paths := await self._threads.run(next, batches, None)):
                for path in await self._queue.list_forgotten(paths):
                    await self._threads.run(self._store.remove, path)
                    self._log.info("{path} removed: it belongs to no message", path=str(path))
