"""Commands of several steps, as conversations without a database: what is said, in which order (spec 04)."""

import base64
import os
from datetime import UTC, datetime

from mensagod.commands import files, keycards, login
from mensagod.crypto.cryptostring import CryptoString
from mensagod.crypto.sealing import EncryptionPair
from mensagod.sessions.login import Stage
from mensagod.storage import devices, logins, workspaces
from mensagod.storage import files as stored_files
from mensagod.storage.devices import DeviceStatus
from mensagod.storage.keycards import ORGANIZATION, StoredEntry
from mensagod.storage.logins import LoggedIn, NotAdmitted
from mensagod.storage.workspaces import Credentials, Workspace, WorkspaceStatus
from mensagod.values.identity import DeviceID, WorkspaceID
from mensagod.values.paths import ServerPath
from mensagod.wire.messages import Response
from tests.conversations import DOMAIN, ConversationTestCase, Peer

PASSWORD = "a password hash of somebody"
NOW = datetime(2026, 1, 1, tzinfo=UTC)


class LoginTests(ConversationTestCase):
    """LOGIN, PASSWORD, DEVICE."""

    def setUp(self) -> None:
        """The workspace is there, with a password and no device."""
        super().setUp()
        self.commands(login.Login(), login.Password(), login.Device())
        self.change("security", failure_delay_sec=3)
        self.wid, self.device = WorkspaceID.random(), DeviceID.random()
        self.keys = EncryptionPair.generate()
        self.answers = self.fakes.database.answers
        credentials = Credentials(self.server.hasher.hash(PASSWORD), "ARGON2ID", "salt", "m=1")
        self.workspace = Workspace(self.wid, DOMAIN, WorkspaceStatus.ACTIVE, credentials)
        self.answers[workspaces.find_workspace] = lambda _: self.workspace
        self.answers[devices.find_device] = None
        self.answers[devices.has_trusted] = False
        self.answers[logins.log_in] = LoggedIn(False, 7, 3, [])
        self.peer = self.connect()

    def log_in(self, peer: Peer | None = None) -> None:
        """Do the first step."""
        challenge = base64.b85encode(os.urandom(32))
        key = self.fakes.keys.organization.encryption.encryption_key
        (peer or self.peer).ask(
            "LOGIN", Login_Type="PLAIN", Workspace_ID=str(self.wid), Challenge=str(key.seal(challenge))
        )

    def present(self, **more: str) -> Response:
        """Do a step of the third."""
        self.peer.ask("DEVICE", Device_ID=str(self.device), Device_Key=str(self.keys.encryption_key), **more)
        return self.peer.last

    def opened(self, answer: Response) -> str:
        return self.keys.open(CryptoString.from_text(answer.data["Challenge"])).decode()

    def until_device(self) -> None:
        self.log_in()
        self.peer.ask("PASSWORD", Password_Hash=PASSWORD)

    def until_response(self) -> None:
        self.until_device()
        self.present()

    def test_whole(self) -> None:
        """Three steps, and a proof from each side."""
        self.log_in()
        self.assertEqual(self.peer.last.data["Password-Salt"], "salt")
        self.peer.ask("PASSWORD", Password_Hash=PASSWORD)
        self.present(Response=self.opened(self.present()))
        self.assertEqual(self.peer.codes, [100, 100, 100, 200])
        self.assertEqual(self.peer.last.data, {"Is-Admin": "False"})
        member = self.peer.session.member
        self.assertEqual(self.fakes.sessions.members, [member])
        if member is not None:
            self.assertEqual((member.workspace, member.device, member.seen), (self.wid, self.device, 7))
            self.assertEqual(member.directory, ServerPath.workspace_root(self.wid))

    def test_round_trips(self) -> None:
        """A login asks the database five times, and nothing after it has logged in."""
        self.fakes.sessions.updates = AssertionError("nobody asked for updates")
        self.until_device()
        self.present(Response=self.opened(self.present()))
        asked = [interaction for interaction, *_ in self.fakes.database.asked]
        self.assertEqual(
            asked,
            [
                workspaces.find_workspace,
                workspaces.find_workspace,
                devices.find_device,
                devices.has_trusted,
                logins.log_in,
            ],
        )

    def test_out_of_order(self) -> None:
        """What is out of order is a mismatch, and leaves the login where it was."""
        for until, wrong in (
            (lambda: None, ("PASSWORD", "DEVICE")),
            (self.log_in, ("LOGIN", "DEVICE")),
            (self.until_device, ("LOGIN", "PASSWORD")),
        ):
            self.peer = self.connect()
            until()
            before = self.peer.session.login
            for action in wrong:
                self.peer.ask(action)
                self.assertEqual((self.peer.codes[-1], self.peer.last.info), (400, "Session state mismatch"))
            self.assertEqual(self.peer.session.login, before)

    def test_cancel(self) -> None:
        """CANCEL begins anew, from every stage."""
        for until in (self.log_in, self.until_device, self.until_response):
            self.peer = self.connect()
            until()
            self.peer.ask("CANCEL")
            self.assertEqual(self.peer.codes[-1], 200)
            self.assertIs(self.peer.session.login.stage, Stage.FRESH)

    def test_wrong_password(self) -> None:
        """After the delay, 402; the login starts over, and others are not held up."""
        self.log_in()
        self.peer.ask("PASSWORD", Password_Hash="the wrong one of somebody")
        other = self.connect()
        other.ask("ECHO")
        self.assertEqual((self.peer.codes, other.codes), ([100], [200]))
        self.wait(3)
        self.assertEqual(self.peer.codes, [100, 402])
        self.assertIs(self.peer.session.login.stage, Stage.FRESH)

    def test_wrong_response(self) -> None:
        """Another text, another device or another key: 401, and the login starts over."""
        device, keys = self.device, self.keys
        for change in ("text", "device", "key"):
            self.peer, self.device, self.keys = self.connect(), device, keys
            self.until_device()
            text = self.opened(self.present())
            if change == "text":
                text = text[::-1]
            elif change == "device":
                self.device = DeviceID.random()
            else:
                self.keys = EncryptionPair.generate()
            self.present(Response=text)
            self.assertEqual(self.peer.codes, [100, 100, 100, 401], change)
            self.assertIs(self.peer.session.login.stage, Stage.FRESH)
        self.assertEqual(self.fakes.sessions.members, [])

    def test_response_too_late(self) -> None:
        """A minute after the challenge its answer is a mismatch; the device may be presented again."""
        self.until_device()
        text = self.opened(self.present())
        self.wait(60)
        self.present(Response=text)
        self.assertEqual(self.peer.codes, [100, 100, 100, 400])
        self.present(Response=self.opened(self.present()))
        self.assertEqual(self.peer.codes[-1], 200)

    def test_devices(self) -> None:
        """What is said to a device that is known, by its status and key."""
        own = self.keys.public
        other = EncryptionPair.generate().public
        for status, key, code in (
            (DeviceStatus.REGISTERED, own, 100),
            (DeviceStatus.APPROVED, own, 100),
            (DeviceStatus.REGISTERED, other, 401),
            (DeviceStatus.PENDING, own, 101),
            (DeviceStatus.BLOCKED, own, 403),
        ):
            self.answers[devices.find_device] = devices.KnownDevice(self.device, key, status)
            self.peer = self.connect()
            self.until_device()
            self.assertEqual(int(self.present().status), code, status)
        self.assertTrue(self.peer.wire.closed)

    def test_refused_at_the_end(self) -> None:
        """What became of the workspace meanwhile is said instead of 200, and the login starts over."""
        for status, code in (
            (WorkspaceStatus.SUSPENDED, 407),
            (WorkspaceStatus.ARCHIVED, 404),
            (WorkspaceStatus.ACTIVE, 400),
        ):
            self.answers[logins.log_in] = self.refuse(status)
            self.peer = self.connect()
            self.until_device()
            self.present(Response=self.opened(self.present()))
            self.assertEqual(self.peer.codes[-1], code)
            self.assertIs(self.peer.session.login.stage, Stage.FRESH)

    def refuse(self, status: WorkspaceStatus) -> object:
        def log_in(*_: object) -> LoggedIn:
            raise NotAdmitted(status)

        return log_in


class CardTests(ConversationTestCase):
    """GETCARD and its older names."""

    def setUp(self) -> None:
        """The organization has a card of three entries."""
        super().setUp()
        self.commands(keycards.GetCard(), keycards.OrgCard(), keycards.UserCard(), keycards.Transfer())
        self.fakes.resolver.cards[ORGANIZATION] = [
            StoredEntry(number, f"Index:{number}\r\n", "hash", NOW, NOW) for number in (1, 2, 3)
        ]
        self.peer = self.connect()

    def test_two_steps(self) -> None:
        """The size first, then the entries as they were then."""
        self.peer.ask("GETCARD", Start_Index="2")
        offer = self.peer.last
        self.fakes.resolver.cards.clear()
        self.peer.ask("TRANSFER")
        self.assertEqual(self.peer.codes, [104, 200])
        card = self.peer.last.data["Card-Data"]
        self.assertEqual(card.count("BEGIN ENTRY"), 2)
        self.assertEqual(offer.data, {"Item-Count": "2", "Total-Size": str(len(card))})

    def test_older_names(self) -> None:
        """ORGCARD's last answer is 104; it has no Owner, USERCARD must have one."""
        self.peer.ask("ORGCARD", Start_Index="0")
        self.peer.ask("TRANSFER")
        self.peer.ask("ORGCARD", Start_Index="0", Owner="example.com")
        self.peer.ask("USERCARD", Start_Index="0")
        self.assertEqual(self.peer.codes, [104, 104, 400, 400])
        self.assertEqual(
            [answer.info for answer in self.peer.answers[2:]],
            ["ORGCARD has no Owner", "Missing required field Owner"],
        )

    def test_alone(self) -> None:
        """TRANSFER without an offer, and twice for one, is out of place."""
        self.peer.ask("TRANSFER")
        self.peer.ask("GETCARD", Start_Index="1")
        self.peer.ask("TRANSFER")
        self.peer.ask("TRANSFER")
        self.assertEqual(self.peer.codes, [400, 104, 200, 400])

    def test_end_before_start(self) -> None:
        """An end before the start is refused."""
        self.peer.ask("GETCARD", Start_Index="2", End_Index="1")
        self.assertEqual(self.peer.codes, [400])


class ExistsTests(ConversationTestCase):
    """EXISTS, for somebody with a mailbox: the example of the guide."""

    def setUp(self) -> None:
        """The file is there."""
        super().setUp()
        self.commands(files.Exists())
        self.peer = self.member()

    def ask(self, found: bool) -> list[int]:
        self.fakes.database.answers[stored_files.file_exists] = found
        member = self.peer.session.member
        workspace = member.workspace if member is not None else None
        self.peer.ask("EXISTS", Path=f"/ wsp {workspace} 1.2.{workspace}")
        return self.peer.codes

    def test_there(self) -> None:
        """200 if it is."""
        self.assertEqual(self.ask(True), [200])

    def test_gone(self) -> None:
        """404 if not."""
        self.assertEqual(self.ask(False), [404])
