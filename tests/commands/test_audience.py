"""Who may use a command: closed by default (spec 04, first paragraph)."""

from mensagod.commands.audience import Audience, admit, audience_of
from mensagod.errors import CommandError
from mensagod.sessions.session import member_of
from mensagod.sessions.who import Operator, PeerServer, Stranger, Who
from tests.conversations import DOMAIN, ConversationTestCase, make_member

STRANGER, MEMBER, ADMINISTRATOR = Stranger(), make_member(), make_member(is_admin=True)
SERVER, OPERATOR = PeerServer(DOMAIN), Operator()
EVERYBODY: tuple[Who, ...] = (STRANGER, MEMBER, ADMINISTRATOR, SERVER, OPERATOR)


class AudienceTests(ConversationTestCase):
    """Everybody, before every audience."""

    def answers(self, audience: Audience) -> list[int]:
        """Give what each of them hears: 200, or the code of the refusal."""
        codes = []
        for who in EVERYBODY:
            try:
                admit(audience, who)
                codes.append(200)
            except CommandError as refusal:
                codes.append(int(refusal.status))
        return codes

    def test_strangers(self) -> None:
        """What is for strangers only is out of place for everybody else."""
        self.assertEqual(self.answers(Audience.STRANGER), [200, 400, 400, 400, 400])

    def test_members(self) -> None:
        """A stranger hears that a login is needed; the administrator is a member, too."""
        self.assertEqual(self.answers(Audience.MEMBER), [401, 200, 200, 403, 403])

    def test_administrator(self) -> None:
        """A member hears that this is the administrator's."""
        self.assertEqual(self.answers(Audience.ADMINISTRATOR), [401, 403, 200, 403, 403])

    def test_servers(self) -> None:
        """What is between servers is for no client."""
        self.assertEqual(self.answers(Audience.SERVER), [401, 403, 403, 200, 403])

    def test_operator(self) -> None:
        """What is the operator's is nobody else's."""
        self.assertEqual(self.answers(Audience.OPERATOR), [401, 403, 403, 403, 200])

    def test_together(self) -> None:
        """Audiences are added up; everybody is everybody."""
        self.assertEqual(self.answers(Audience.CLIENTS), [200, 200, 200, 403, 403])
        self.assertEqual(self.answers(Audience.EVERYBODY), [200] * 5)

    def test_nobody(self) -> None:
        """An empty audience is for nobody."""
        self.assertNotIn(200, self.answers(Audience(0)))

    def test_kinds(self) -> None:
        """Nobody is of two kinds, but for the administrator."""
        kinds = [audience_of(who) for who in EVERYBODY]
        self.assertEqual(len(set(kinds)), len(EVERYBODY))
        self.assertIn(Audience.MEMBER, audience_of(ADMINISTRATOR))


class LimitTests(ConversationTestCase):
    """Limits of size and silence belong to who somebody is (spec 01)."""

    def test_limits(self) -> None:
        """In bytes and in seconds, for each."""
        config = self.server.config
        limits = [(who.max_message(config), who.idle_timeout(config)) for who in EVERYBODY]
        member = (26_000_000, 1800)
        self.assertEqual(limits, [(65532, 120), member, member, (1_200_000, 1800), (26_000_000, 0)])

    def test_no_limit(self) -> None:
        """Where the configuration has no limit of size, strangers have that of members."""
        self.change("network", max_request_size=0)
        self.assertEqual(STRANGER.max_message(self.server.config), 26_000_000)

    def test_member_of(self) -> None:
        """A command that is for others, too, asks for the member."""
        session = self.member().session
        self.assertIs(member_of(session), session.who)
        session.who = SERVER
        self.assertIsNone(session.member)
        self.assertRaises(CommandError, member_of, session)
