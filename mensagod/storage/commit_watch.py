"""Whether commits end: found out by a small write of our own as soon as one takes long.

A statement that commits by itself may take long for many reasons: it waits for a lock, or has much to do. So
that it takes long is only a suspicion. Then a row that nobody else changes is written with its own value, and
if that does not end either, it is commits that hang: the disk, or a synchronous standby that is away. A
question to the server would not do, for it reads well, and knows of no fault.

That write is waited for however long it takes, and the next one follows it, until one ends in good time.
It is not cut off, because the server would not notice, and keep one more session waiting for each.
"""

from collections.abc import Callable
from typing import Any, Final, Protocol

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from mensagod.errors import ServerUnavailable
from mensagod.storage.availability import Availability, Writes
from mensagod.storage.rows import Transaction

SUSPICIOUS: Final = 2.0
"""Seconds after which a commit is suspected to hang."""

PATIENCE: Final = 3.0
"""Seconds that our own write may take; with :data:`SUSPICIOUS` the five of the specification."""


class Trial(Protocol):
    """A write that is under way."""

    def abandon(self) -> object:
        """End it, whatever becomes of it."""


class CommitWatch:
    """Notes in the availability when commits begin to hang, and when they end again.

    :param begin: begins our own write in a thread.
    :param give_up: ends the waiting of all that would commit.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        availability: Availability,
        begin: Callable[[], tuple[Trial, Deferred[None]]],
        give_up: Callable[[], None],
    ):
        self._reactor = reactor
        self._availability = availability
        self._begin = begin
        self._give_up = give_up
        self._trial: Trial | None = None
        self._begun = 0.0

    def look(self, slowest: float) -> None:
        """Take note of how long the slowest commit has been under way."""
        hanging = self._availability.writes is Writes.HANGING
        if self._trial is not None:
            if self._is_late() and not hanging:
                self._availability.note_writes(Writes.HANGING)
                self._give_up()
        elif hanging or slowest >= SUSPICIOUS:
            self._begun = self._reactor.seconds()
            self._trial, ending = self._begin()
            ending.addBoth(self._ended).addErrback(self._log_failure)

    def stop(self) -> None:
        """Give up our own write, if one is under way."""
        if self._trial is not None:
            self._trial.abandon()

    def _is_late(self) -> bool:
        late: bool = self._reactor.seconds() - self._begun >= PATIENCE
        return late

    def _ended(self, result: Failure | None) -> None:
        self._trial = None
        if isinstance(result, Failure) and result.check(ServerUnavailable):
            return
        if self._availability.writes is Writes.HANGING and not self._is_late():
            self._availability.note_writes(Writes.DONE)
        if isinstance(result, Failure):
            # It was refused for a reason of its own, and so at once.
            result.raiseException()

    def _log_failure(self, failure: Failure) -> None:
        self._log.failure("The write that tells whether commits end was refused", failure)


def write_something(txn: Transaction) -> None:
    """Change nothing, in a row that nobody else changes, so that there is something to commit."""
    txn.execute("UPDATE schema_versions SET applied = applied WHERE version = 1")
