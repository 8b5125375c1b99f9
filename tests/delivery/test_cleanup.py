"""Messages that were never accepted, and files that belong to no message, in a time that the test makes."""

import os
from pathlib import Path
from time import time

from twisted.internet.task import Clock
from twisted.python.filepath import FilePath
from twisted.trial.unittest import SynchronousTestCase

from mensagod.delivery import cleanup
from mensagod.delivery.cleanup import CLEAN_SECONDS, SWEEP_AGE, SWEEP_SECONDS, Cleanup
from mensagod.storage.queue import WRITING_SECONDS
from mensagod.storage.store import MailboxStore
from mensagod.values.identity import SERVER_WORKSPACE, WorkspaceID
from mensagod.values.paths import FileName, ServerPath
from tests.delivery.fakes import AWAY, FakeQueue, InlineThreads


class CleanupTestCase(SynchronousTestCase):
    """A queue in memory, and a store on the disk."""

    def setUp(self) -> None:
        self.directory = Path(self.mktemp())
        self.directory.mkdir()
        self.store = MailboxStore(FilePath(str(self.directory)))
        self.clock = Clock()
        self.queue = FakeQueue(self.clock)
        self.workspace = WorkspaceID.random()
        self.queue.workspaces.add(self.workspace)

    def start(self) -> Cleanup:
        service = Cleanup(self.clock, self.queue, self.store, InlineThreads())
        service.startService()
        self.addCleanup(service.stopService)
        return service

    def leave(self, age: float, workspace: WorkspaceID | None = None) -> ServerPath:
        """Put a file on the disk that is so many seconds old."""
        path = ServerPath.outgoing(workspace or self.workspace).child(FileName.make(1, 5))
        self.write(path, age)
        return path

    def write(self, path: ServerPath, age: float) -> None:
        self.store.write(path, b"hello")
        written = time() - age
        os.utime(self.directory.joinpath(*path.elements), (written, written))

    @property
    def names(self) -> set[str]:
        """The names of all files on the disk."""
        return {path.name for path in self.directory.rglob("*") if path.is_file()}


class UnfinishedTests(CleanupTestCase):
    """Messages whose writer died."""

    def test_removed(self) -> None:
        """Once a minute rows and files are removed whose writer has had its time, and no others."""
        message = self.queue.put_pending(WRITING_SECONDS)
        self.write(self.queue.rows[message].message.path, 0)
        self.start()
        self.clock.pump([CLEAN_SECONDS] * (WRITING_SECONDS // CLEAN_SECONDS))
        self.assertEqual((len(self.queue.rows), len(self.names)), (1, 1))
        self.clock.advance(CLEAN_SECONDS)
        self.assertEqual((len(self.queue.rows), len(self.names)), (0, 0))

    def test_file_is_gone(self) -> None:
        """A message whose file was never made is removed as well."""
        self.queue.put_pending(-1)
        self.start()
        self.assertEqual(self.queue.rows, {})

    def test_file_stays(self) -> None:
        """As long as its file cannot be removed a message stays; that is logged once."""
        message = self.queue.put_pending(-1)
        name = self.queue.rows[message].message.name.text
        (self.directory / "out" / str(self.queue.rows[message].message.sender) / name).mkdir(parents=True)
        self.start()
        self.clock.pump([WRITING_SECONDS + CLEAN_SECONDS] * 2)
        self.assertEqual(list(self.queue.rows), [message])
        self.assertEqual(len(self.flushLoggedErrors(OSError)), 1)

    def test_away(self) -> None:
        """While the queue is away nothing is removed."""
        self.queue.put_pending(-1)
        self.queue.fault = AWAY
        self.start()
        self.queue.fault = None
        self.assertEqual(len(self.queue.rows), 1)
        self.clock.advance(CLEAN_SECONDS)
        self.assertEqual(self.queue.rows, {})


class ForgottenTests(CleanupTestCase):
    """Files that no row names."""

    def test_at_the_start(self) -> None:
        """Old ones are removed; young ones, named ones and those of strangers stay."""
        message = self.queue.put()
        named = self.queue.rows[message].message.path
        self.write(named, SWEEP_AGE + 60)
        young = self.leave(SWEEP_AGE - 60)
        strange = self.leave(SWEEP_AGE + 60, WorkspaceID.random())
        for workspace in (self.workspace, SERVER_WORKSPACE):
            self.leave(SWEEP_AGE + 60, workspace)
        self.assertEqual(len(self.names), 5)
        self.start()
        self.assertEqual(self.names, {named.name, young.name, strange.name})

    def test_hourly(self) -> None:
        """They are looked for once an hour."""
        self.start()
        self.leave(SWEEP_AGE + 60)
        self.clock.pump([CLEAN_SECONDS] * (SWEEP_SECONDS // CLEAN_SECONDS - 1))
        self.assertEqual(len(self.names), 1)
        self.clock.advance(CLEAN_SECONDS)
        self.assertEqual(self.names, set())

    def test_many(self) -> None:
        """However many there are, they are looked at in several goes."""
        self.patch(cleanup, "SWEEP_LIMIT", 3)
        for _ in range(10):
            self.leave(SWEEP_AGE + 60)
        self.start()
        self.assertEqual(self.names, set())

    def test_tried_again_soon(self) -> None:
        """A look that failed is made again after a minute, not an hour."""
        self.leave(SWEEP_AGE + 60)
        self.queue.fault = AWAY
        self.start()
        self.queue.fault = None
        self.clock.advance(CLEAN_SECONDS)
        self.assertEqual(self.names, set())

    def test_ends_with_the_service(self) -> None:
        """A service that stops looks at no further files."""
        self.patch(cleanup, "SWEEP_LIMIT", 1)
        for _ in range(3):
            self.leave(SWEEP_AGE + 60)
        list_forgotten = self.queue.list_forgotten

        async def list_and_stop(files: list[ServerPath]) -> object:
            await service.stopService()
            return await list_forgotten(files)

        self.patch(self.queue, "list_forgotten", list_and_stop)
        service = Cleanup(self.clock, self.queue, self.store, InlineThreads())
        service.startService()
        self.assertEqual(len(self.names), 2)
