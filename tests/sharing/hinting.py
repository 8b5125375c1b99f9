"""Hints in memory, and what all hints must do."""

from collections.abc import Sequence
from typing import TYPE_CHECKING
from uuid import UUID

from mensagod.sharing.hints import HintWatcher, IHints, Subscribers
from mensagod.values.identity import WorkspaceID
from tests.waiting import until

ALICE, BOB = WorkspaceID(UUID(int=1)), WorkspaceID(UUID(int=2))


class MemoryHints:
    """Hints between processes that are none.

    :ivar others: those of the other processes.
    :ivar present: the workspaces that have sessions here.
    """

    def __init__(self) -> None:
        self.others: list[MemoryHints] = []
        self.present: set[WorkspaceID] = set()
        self.is_running = False
        self.subscribers = Subscribers()

    def send(self, workspace: WorkspaceID) -> None:
        self.subscribers.tell(workspace)
        if self.is_running:
            for other in self.others:
                other.receive(workspace)

    def receive(self, workspace: WorkspaceID) -> None:
        if self.is_running and workspace in self.present:
            self.subscribers.tell(workspace)

    def subscribe(self, watcher: HintWatcher) -> None:
        self.subscribers.add(watcher)

    async def start(self) -> None:
        self.is_running = True

    async def stop(self) -> None:
        self.is_running = False


if TYPE_CHECKING:
    from twisted.trial.unittest import TestCase as Base
else:
    Base = object


class HintsContract(Base):
    """The tests that all hints pass: two processes, which are started, and what each has heard."""

    here: IHints
    there: IHints
    heard_here: list[WorkspaceID | None]
    heard_there: list[WorkspaceID | None]

    async def enter_there(self, workspaces: Sequence[WorkspaceID]) -> None:
        """Have sessions of workspaces log in at the other process."""
        raise NotImplementedError

    async def change(self, workspaces: Sequence[WorkspaceID]) -> None:
        """Change workspaces, and commit."""
        raise NotImplementedError

    async def hint(self, *workspaces: WorkspaceID) -> None:
        """Change workspaces, and tell of it."""
        await self.change(workspaces)
        for workspace in workspaces:
            self.here.send(workspace)

    async def test_here(self) -> None:
        """Who sends hears it at once, with or without sessions elsewhere."""
        self.here.send(ALICE)
        self.assertEqual(self.heard_here, [ALICE])

    async def test_there(self) -> None:
        """It is heard at the other process as well, and again."""
        await self.enter_there([ALICE])
        for _ in range(2):
            await self.hint(ALICE)
            await until(lambda: self.heard_there != [])
            self.assertEqual(set(self.heard_there), {ALICE})
            self.heard_there.clear()

    async def test_nobody_there(self) -> None:
        """What no session of the other process is concerned with is not heard there."""
        await self.enter_there([BOB])
        await self.hint(ALICE, BOB)
        await until(lambda: self.heard_there != [])
        self.assertEqual(set(self.heard_there), {BOB})

    async def test_many(self) -> None:
        """However many change at once, all are heard."""
        many = [WorkspaceID(UUID(int=number)) for number in range(1, 450)]
        await self.enter_there(many)
        await self.hint(*many)
        self.assertEqual(self.heard_here, many)
        await until(lambda: set(self.heard_there) == {*many})

    async def test_stopped(self) -> None:
        """Who has stopped hears no more, and tells no others; stopping again does no harm."""
        await self.enter_there([ALICE, BOB])
        await self.there.stop()
        await self.hint(ALICE)
        await self.here.stop()
        self.assertEqual(self.heard_there, [])
        await self.there.start()
        await until(lambda: self.is_ready(self.there))
        self.heard_there.clear()
        self.heard_here.clear()
        self.here.send(BOB)
        await self.here.stop()
        await self.there.stop()
        self.assertNotIn(BOB, self.heard_there)
        self.assertEqual(self.heard_here, [BOB])

    def is_ready(self, hints: IHints) -> bool:
        """Tell whether hints that were started can be heard."""
        return True
