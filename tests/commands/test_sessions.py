"""CANCEL, IDLE, LOGOUT, QUIT (spec 04, *Session*)."""

from datetime import UTC, datetime

from mensagod.sessions.login import Stage
from mensagod.storage import updates
from tests.conversations import DOMAIN, ConversationTestCase, make_member


class IdleTests(ConversationTestCase):
    """IDLE keeps the connection, and counts."""

    def setUp(self) -> None:
        """The database counts 4 records, the last of them number 9."""
        super().setUp()
        self.fakes.database.answers[updates.count_since] = (4, 9)

    def test_plain(self) -> None:
        """200, for anybody."""
        for peer in (self.connect(), self.member()):
            peer.ask("IDLE")
            self.assertEqual((peer.codes, dict(peer.last.data)), ([200], {}))

    def test_count(self) -> None:
        """With CountUpdates, how many records there are since; what was counted is told."""
        peer = self.member()
        member = peer.session.member
        peer.ask("IDLE", CountUpdates=str(int(datetime(2024, 3, 1, tzinfo=UTC).timestamp())))
        self.assertEqual((peer.codes, dict(peer.last.data)), ([200], {"UpdateCount": "4"}))
        if member is not None:
            self.assertEqual((member.seen, member.stale), (9, False))
            self.assertEqual(self.fakes.database.asked, [(updates.count_since, member.workspace, 1709251200)])

    def test_refused(self) -> None:
        """CountUpdates needs a login, and a time."""
        peer = self.connect()
        peer.ask("IDLE", CountUpdates="0")
        self.assertEqual(peer.codes, [401])
        peer = self.member()
        peer.ask("IDLE", CountUpdates="yesterday")
        self.assertEqual(peer.codes, [400])
        self.assertEqual(self.fakes.database.asked, [])


class StateTests(ConversationTestCase):
    """What remains after each of them."""

    def test_cancel(self) -> None:
        """CANCEL takes back a login on its way, not one that was finished."""
        peer = self.connect()
        session = peer.session
        session.advance(session.login.name(make_member().workspace, DOMAIN))
        peer.ask("CANCEL")
        self.assertEqual((peer.codes, session.login.stage), ([200], Stage.FRESH))
        peer = self.member()
        peer.ask("CANCEL")
        self.assertEqual(peer.codes, [200])
        self.assertIsNotNone(peer.session.member)

    def test_logout(self) -> None:
        """LOGOUT is answered 200, also where nobody is logged in; the connection stays."""
        for peer in (self.connect(), self.member()):
            peer.ask("LOGOUT")
            self.assertEqual(peer.codes, [200])
            self.assertIsNone(peer.session.member)
            self.assertFalse(peer.wire.closed)

    def test_quit(self) -> None:
        """QUIT is not answered at all."""
        peer = self.member()
        peer.ask("QUIT")
        self.assertEqual(peer.stream, b"")
        self.assertTrue(peer.wire.disconnecting)
