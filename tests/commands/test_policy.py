"""What commands demand of a session (spec 04)."""

from attrs import evolve

from mensagod.commands.interfaces import IDemand
from mensagod.commands.policy import Administrator, LoggedIn, LoggedOut, member_of
from mensagod.errors import Forbidden, LoginRequired, StateMismatch
from tests.conversations import ConversationTestCase


class DemandTests(ConversationTestCase):
    """Each demand, for nobody, a member and the administrator."""

    def test_nobody(self) -> None:
        """Before login: 401 where somebody is needed."""
        session = self.connect().session
        self.assertRaises(LoginRequired, LoggedIn().check, session)
        self.assertRaises(LoginRequired, Administrator().check, session)
        self.assertRaises(LoginRequired, member_of, session)
        self.assertIsNone(LoggedOut().check(session))  # type: ignore[func-returns-value]

    def test_member(self) -> None:
        """Logged in: 400 where nobody may be, 403 where the administrator is needed."""
        session = self.member().session
        self.assertIs(member_of(session), session.member)
        self.assertRaises(Forbidden, Administrator().check, session)
        self.assertRaises(StateMismatch, LoggedOut().check, session)
        self.assertIsNone(LoggedIn().check(session))  # type: ignore[func-returns-value]

    def test_administrator(self) -> None:
        """The administrator may do what needs one."""
        session = self.member().session
        session.member = evolve(member_of(session), is_admin=True)
        self.assertIsNone(Administrator().check(session))  # type: ignore[func-returns-value]

    def test_interface(self) -> None:
        """All are demands."""
        for demand in (LoggedIn(), LoggedOut(), Administrator()):
            self.assertTrue(IDemand.providedBy(demand))
