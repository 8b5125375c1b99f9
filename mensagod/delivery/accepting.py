"""Accepting messages: those that are submitted at the same moment are accepted in one transaction.

A transaction with its commit costs about the same for one message as for many. So while one is under way,
messages that come meanwhile wait for the next, which takes all of them; only if many wait, a second one
begins beside the first. A message that comes while no transaction is under way does not wait.

The transaction waits for a locked mailbox only a moment. If that was in vain, the same messages are accepted
without waiting, and those for locked mailboxes go into the queue, as does everything that cannot be delivered
at once. For a while then no transaction waits, so that a mailbox that stays locked does not slow others down.
If something else is locked, each message is accepted alone.
"""

import math
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from attrs import define, field, frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from mensagod.delivery import placing
from mensagod.delivery.placing import Accepted, Submission
from mensagod.errors import ServerUnavailable
from mensagod.storage.attempts import Locked
from mensagod.storage.interfaces import Interactions
from mensagod.storage.submissions import Submitted
from mensagod.values.identity import WorkspaceID

MOST: Final = 64
"""How many messages one transaction accepts at most."""

MANY: Final = 8
"""How many messages must wait for a second transaction to begin beside the first."""

HASTE_SECONDS: Final = 1.0
"""How long no transaction waits for locked mailboxes after one has waited in vain."""


@frozen(eq=False)
class _Waiting:
    message: Submission
    answer: Deferred[Accepted]


@define(eq=False)
class Acceptor:
    """Accepts messages of clients, and delivers them at once where that is possible.

    :ivar clock: gives the time.
    :ivar rate: gives how many messages a device may submit within 60 seconds; 0 is no limit.
    :ivar delivered: called with the workspace of each message that was delivered; must not raise.
    :ivar queued: called with the bucket of each message that was queued; must not raise.
    """

    clock: IReactorTime
    database: Interactions
    rate: Callable[[], int]
    delivered: Callable[[WorkspaceID], None]
    queued: Callable[[int], None]
    _waiting: deque[_Waiting] = field(factory=deque, init=False)
    _running: int = field(default=0, init=False)
    _is_beginning: bool = field(default=False, init=False)
    _waited_in_vain: float = field(default=-math.inf, init=False)

    _log = Logger(namespace="mensagod.delivery")

    async def accept(self, message: Submission) -> Accepted:
        """Accept a message; when this returns, it is durable, and delivered or in the queue.

        Its content is used only if the result says that the message is new.

        :raises mensagod.errors.CommandError: if it is refused; nothing is kept of it then.
        :raises mensagod.errors.ServerUnavailable: if nobody knows, so its content must stay where it is.
        """
        answer: Deferred[Accepted] = Deferred()
        self._waiting.append(_Waiting(message, answer))
        self._begin()
        return await answer

    def _begin(self) -> None:
        """Begin transactions while there is room and messages wait."""
        if self._is_beginning:
            # One that has failed at once answers its clients, who may have further messages: the loop that
            # began it goes on with these, so that the stack does not grow with every one.
            return
        self._is_beginning = True
        try:
            while self._waiting and self._has_room:
                self._running += 1
                Deferred.fromCoroutine(self._run(self._take())).addErrback(self._failed)
        finally:
            self._is_beginning = False

    @property
    def _has_room(self) -> bool:
        return not self._running or (self._running == 1 and len(self._waiting) >= MANY)

    def _take(self) -> list[_Waiting]:
        """Take the messages for one transaction; those that are the same message go one after the other."""
        taken: dict[Submitted, _Waiting] = {}
        left = []
        while self._waiting and len(taken) < MOST:
            waiting = self._waiting.popleft()
            if waiting.message.submitted in taken:
                left.append(waiting)
            else:
                taken[waiting.message.submitted] = waiting
        self._waiting.extendleft(reversed(left))
        return list(taken.values())

    async def _run(self, batch: Sequence[_Waiting]) -> None:
        try:
            await self._accept(batch, wait=not 0 <= self._seconds_since_vain_wait < HASTE_SECONDS)
        finally:
            self._running -= 1
            self._begin()

    @property
    def _seconds_since_vain_wait(self) -> float:
        return self.clock.seconds() - self._waited_in_vain

    async def _accept(self, batch: Sequence[_Waiting], *, wait: bool) -> None:
        """Accept messages, and answer each of them."""
        messages = [waiting.message for waiting in batch]
        try:
            results = await self.database.run(placing.accept, messages, self.rate(), wait=wait)
        except Exception as error:
            await self._accept_otherwise(batch, error, wait=wait)
            return
        for waiting in batch:
            result = results[waiting.message.id]
            if isinstance(result, Exception):
                waiting.answer.errback(result)
            else:
                self._tell(waiting.message, result)
                waiting.answer.callback(result)

    async def _accept_otherwise(self, batch: Sequence[_Waiting], error: Exception, *, wait: bool) -> None:
        """Accept messages in another way, because a transaction for all of them has failed."""
        if isinstance(error, Locked) and wait:
            self._waited_in_vain = self.clock.seconds()
            await self._accept(batch, wait=False)
        elif len(batch) > 1 and (isinstance(error, Locked) or not isinstance(error, ServerUnavailable)):
            # At least one message is at fault; alone, the others pass.
            for waiting in batch:
                await self._accept([waiting], wait=wait)
        else:
            for waiting in batch:
                waiting.answer.errback(error)

    def _tell(self, message: Submission, accepted: Accepted) -> None:
        if accepted.delivered is not None:
            self._log.info("message {message} delivered", message=str(message.id))
            self.delivered(accepted.delivered)
        elif accepted.bucket is not None:
            self.queued(accepted.bucket)

    def _failed(self, failure: Failure) -> None:
        """Log what only a fault of ours can cause."""
        self._log.failure("messages could not be accepted", failure)
