"""What commands demand of a session before they run (spec 04, first paragraph)."""

from attrs import frozen
from zope.interface import implementer

from mensagod.commands.interfaces import IDemand
from mensagod.errors import Forbidden, LoginRequired, StateMismatch
from mensagod.sessions.session import Member, Session


@implementer(IDemand)
@frozen
class LoggedIn:
    """Somebody is logged in."""

    def check(self, session: Session) -> None:
        """:raises LoginRequired: if nobody is."""
        member_of(session)


@implementer(IDemand)
@frozen
class Administrator:
    """The workspace named ``admin`` is logged in."""

    def check(self, session: Session) -> None:
        """:raises LoginRequired, Forbidden: if it is not."""
        if not member_of(session).is_admin:
            raise Forbidden("Only the administrator may do this")


@implementer(IDemand)
@frozen
class LoggedOut:
    """Nobody is logged in."""

    def check(self, session: Session) -> None:
        """:raises StateMismatch: if somebody is."""
        if session.member is not None:
            raise StateMismatch


def member_of(session: Session) -> Member:
    """Give who is logged in.

    :raises LoginRequired: if nobody is.
    """
    if session.member is None:
        raise LoginRequired
    return session.member
