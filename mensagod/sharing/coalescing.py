"""Hints that are sent together: few at rest go at once, many under load go in few batches."""

import math
from collections.abc import Awaitable, Callable, Collection
from typing import Final

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from mensagod.lifecycle.periodic import Periodic
from mensagod.values.identity import WorkspaceID

IDLE_SECONDS: Final = 0.01
"""How long a hint waits for others at rest."""

BUSY_SECONDS: Final = 0.1
"""How long it waits under load."""

PAUSE: Final = 2
"""How many times as long as the last wait a pause is that counts as rest."""

FEW: Final = 3
"""A batch of fewer hints is no load, but a conversation whose next message somebody waits for."""

CONVERSATION_SECONDS: Final = 0.03
"""How long a hint waits in a conversation."""

MOST_WAITING: Final = 10_000
"""How many workspaces wait at most; what comes beyond that is lost."""


@define(eq=False)
class Coalescer:
    """Collects workspaces, and sends them in batches, one batch at a time.

    The first workspace of a batch waits for others. It waits twice as long as that of the batch before, up to
    a limit, if there was no pause between them; the limit is lower if the batch before had few hints.

    :ivar send: sends one batch; what it raises is logged, and the batch is lost.
    """

    clock: IReactorTime
    send: Callable[[Collection[WorkspaceID]], Awaitable[None]]
    _waiting: set[WorkspaceID] = field(factory=set, init=False)
    _timer: IDelayedCall | None = field(default=None, init=False)
    _under_way: Deferred[None] | None = field(default=None, init=False)
    _wait: float = field(default=IDLE_SECONDS, init=False)
    _departed: float = field(default=-math.inf, init=False)
    _hints: int = field(default=0, init=False)
    _hints_before: int = field(default=0, init=False)
    _sending: Periodic = field(init=False)

    def __attrs_post_init__(self) -> None:
        # For what it makes of failures; when a batch goes is decided here.
        self._sending = Periodic(self.clock, BUSY_SECONDS, self._send_waiting, "hints cannot be sent")

    def add(self, workspace: WorkspaceID) -> None:
        """Send a workspace with the next batch."""
        self._hints += 1
        if len(self._waiting) < MOST_WAITING:
            self._waiting.add(workspace)
        self._plan()

    async def flush(self) -> None:
        """Send what waits, and return when it is sent; for one caller at a time."""
        while self._timer is not None or self._under_way is not None:
            if self._timer is not None:
                self._timer.cancel()
                self._depart()
            if self._under_way is not None:
                await self._under_way

    def _plan(self) -> None:
        if self._timer is None and self._under_way is None and self._waiting:
            is_rest = self.clock.seconds() - self._departed >= PAUSE * self._wait
            longest = CONVERSATION_SECONDS if self._hints_before < FEW else BUSY_SECONDS
            self._wait = IDLE_SECONDS if is_rest else min(2 * self._wait, longest)
            self._timer = self.clock.callLater(self._wait, self._depart)

    def _depart(self) -> None:
        self._timer = None
        self._departed = self.clock.seconds()
        self._hints_before, self._hints = self._hints, 0
        self._under_way = under_way = Deferred[None]()
        Deferred.fromCoroutine(self._sending.run()).addCallback(self._arrive, under_way)

    def _arrive(self, _: None, under_way: Deferred[None]) -> None:
        self._under_way = None
        self._plan()
        under_way.callback(None)

    async def _send_waiting(self) -> None:
        batch, self._waiting = self._waiting, set()
        await self.send(batch)
