"""Demands: conditions that a session must meet before a command is performed (spec 04)."""

from datetime import timedelta
from typing import Final

from attrs import field, frozen
from zope.interface import implementer

from mensagod.commands.interfaces import IDemand
from mensagod.errors import CommandError, StateMismatch, Terminated
from mensagod.operations.lockouts import clear_failures, count_failure, refuse_locked
from mensagod.sessions.login import Stage
from mensagod.sessions.session import Session
from mensagod.status import Status
from mensagod.storage.failures import Limit

FAILURES: Final = frozenset({Status.UNAUTHORIZED, Status.AUTHENTICATION_FAILURE})
"""The answers that count as failed authentication."""


@implementer(IDemand)
@frozen
class AtStage:
    """The client's login is at :attr:`stage`."""

    stage: Stage

    async def require(self, session: Session) -> None:
        """:raises StateMismatch: if it is at another stage."""
        if session.login.stage is not self.stage:
            raise StateMismatch

    async def conclude(self, session: Session, fault: CommandError | None) -> CommandError | None:
        """Do not change the answer."""
        return fault


@implementer(IDemand)
@frozen
class Guarded:
    """The client's source is not locked out after too many failures (spec 04, *Failure limits*).

    Each answer in :attr:`failures` counts as a failure. The one that reaches ``security.max_failures`` is
    answered 405 with ``Lock-Time`` instead, and the connection closes. Until the lockout ends each attempt is
    answered 407. A success clears the failures.

    :ivar kind: the kind of failure, one of those that the database accepts.
    :ivar failures: the statuses that count as failures.
    """

    kind: str
    failures: frozenset[Status] = field(default=FAILURES)

    async def require(self, session: Session) -> None:
        """:raises mensagod.operations.lockouts.LockedOut: if the source is locked out."""
        await refuse_locked(session.server, self._limit(session), session.source)

    async def conclude(self, session: Session, fault: CommandError | None) -> CommandError | None:
        """Count a failure, or clear the failures after a success."""
        server, limit = session.server, self._limit(session)
        if fault is None:
            await clear_failures(server, limit, session.source)
        elif fault.status in self.failures:
            try:
                await count_failure(server, limit, session.source)
            except Terminated as lockout:
                return lockout
        return fault

    def _limit(self, session: Session) -> Limit:
        security = session.server.config.security
        return self.limit(security.max_failures, security.lockout_delay_min)

    def limit(self, most: int, minutes: int) -> Limit:
        """Give the limit for this kind of failure.

        :param most: the number of failures that locks a source out.
        :param minutes: the time in which they are counted, and the length of the lockout.
        """
        duration = timedelta(minutes=minutes)
        return Limit(self.kind, most, duration, duration)
