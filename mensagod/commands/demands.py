"""What commands demand of a session before they run (spec 04)."""

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
"""The answers that count as failures of whoever had to prove something."""


@implementer(IDemand)
@frozen
class AtStage:
    """The login of a stranger has come as far as :attr:`stage`, and no farther."""

    stage: Stage

    async def require(self, session: Session) -> None:
        """:raises StateMismatch: if it has not."""
        if session.login.stage is not self.stage:
            raise StateMismatch

    async def conclude(self, session: Session, fault: CommandError | None) -> CommandError | None:
        """Leave the answer as it is."""
        return fault


@implementer(IDemand)
@frozen
class Guarded:
    """The client's address is not locked out for failing too often (spec 04, *Failure limits*).

    Each answer of :attr:`failures` counts as one more failure of this kind; the one that reaches
    ``security.max_failures`` is answered 405 with ``Lock-Time`` instead, and the connection closes. Until the
    lockout is over each try is 407. A success forgets the failures.

    :ivar kind: what fails, one of the kinds that the database knows.
    :ivar failures: the answers that count.
    """

    kind: str
    failures: frozenset[Status] = field(default=FAILURES)

    async def require(self, session: Session) -> None:
        """:raises mensagod.operations.lockouts.LockedOut: if the address is locked out."""
        await refuse_locked(session.server, self._limit(session), session.source)

    async def conclude(self, session: Session, fault: CommandError | None) -> CommandError | None:
        """Count a failure, or forget those before a success."""
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
        """Give what is counted for this kind: the failures within so many minutes, which is how long one
        that is too much locks out.
        """
        duration = timedelta(minutes=minutes)
        return Limit(self.kind, most, duration, duration)
