"""The commands: what goes out, what comes back (spec 04)."""

from mensagod.client import accounts, control, files, lookups, sending, updates
from mensagod.client.devices import DeviceCredentials
from mensagod.client.errors import RequestRefused, UnexpectedAnswer
from mensagod.client.passwords import Argon2Cost, hash_password
from mensagod.crypto.cryptostring import CryptoString
from mensagod.crypto.sealing import EncryptionPair
from mensagod.errors import BadValue
from mensagod.requests.passwords import NewPassword
from mensagod.status import Status
from mensagod.values.identity import DeviceID, Domain, MAddress, RandomID, UserID, WorkspaceID
from mensagod.values.paths import FileName, ServerPath
from mensagod.wire.messages import Response
from tests.client.scripted import ClientTestCase, ok, reply

WID = WorkspaceID.from_text("22222222-2222-2222-2222-222222222222")
DOMAIN = Domain.from_text("example.com")
NAME = f"1700000000.5.{WID}"
NEW = ServerPath.new_messages(WID)


class CommandTestCase(ClientTestCase):
    """Looks at what the server was asked."""

    def assert_asked(self, action: str, **fields: object) -> None:
        """The last request was this."""
        last = self.server.requests[-1]
        expected = {name.replace("_", "-"): str(value) for name, value in fields.items()}
        self.assertEqual((last.action, last.data), (action, expected))


class ControlTests(CommandTestCase):
    """Commands about the connection."""

    def test_cancel(self) -> None:
        """CANCEL has no fields."""
        self.run_(control.cancel(self.open(ok())))
        self.assert_asked("CANCEL")

    def test_idle(self) -> None:
        """IDLE counts updates if asked to."""
        connection = self.open(ok(), ok(UpdateCount="0"), ok())
        self.assertIsNone(self.run_(control.idle(connection)))
        self.assertEqual(self.run_(control.idle(connection, 0)), 0)
        self.assert_asked("IDLE", CountUpdates=0)
        self.failure(control.idle(connection, 0), UnexpectedAnswer)

    def test_log_out(self) -> None:
        """After LOGOUT the news of the workspace are gone."""
        connection = self.open(ok(), reply(Status.UNAUTHORIZED))
        connection.update_count = 4
        self.run_(control.log_out(connection))
        self.assertIsNone(connection.update_count)
        self.failure(control.log_out(connection), RequestRefused)


class AccountTests(CommandTestCase):
    """Getting an account."""

    def test_preregister(self) -> None:
        """The server may choose everything."""
        connection = self.open(ok(Workspace_ID=str(WID), Domain="example.com", Reg_Code="a-b-c"))
        found = self.run_(accounts.preregister(connection))
        expected = accounts.Preregistration(accounts.Account(WID, DOMAIN, None), "a-b-c")
        self.assertEqual(found, expected)
        self.assert_asked("PREREG")

    def test_preregister_name(self) -> None:
        """The administrator may choose, too."""
        user = UserID.from_text("csimons")
        answer = ok(Workspace_ID=str(WID), Domain="example.com", Reg_Code="abc", User_ID="csimons")
        connection = self.open(answer, reply(Status.RESOURCE_EXISTS, Field="User-ID"))
        found = self.run_(accounts.preregister(connection, WID, user, DOMAIN))
        self.assertEqual(found.account.user_id, user)
        self.assert_asked("PREREG", Workspace_ID=WID, User_ID="csimons", Domain="example.com")
        error = self.failure(accounts.preregister(connection, WID, user, DOMAIN), RequestRefused)
        self.assertEqual(error.response.data, {"Field": "User-ID"})

    def test_register_with_code(self) -> None:
        """The account is taken by either ID; without a user ID the workspace ID stands in its field."""
        answer = reply(Status.REGISTERED, Workspace_ID=str(WID), User_ID=str(WID), Domain="example.com")
        connection = self.open(answer, answer, ok())
        keys = EncryptionPair.generate()
        device = DeviceCredentials(DeviceID.random(), keys, CryptoString("XSALSA20", "info"))
        arguments = ("a-b-c", "a hash of another kind", device)
        found = self.run_(accounts.register_with_code(connection, WID, *arguments))
        self.assertEqual(str(found.address), f"{WID}/example.com")
        self.assertIsNone(found.user_id)
        shared = {
            "Reg_Code": "a-b-c",
            "Password_Hash": "a hash of another kind",
            "Device_ID": device.id,
            "Device_Key": keys.public,
            "Device_Info": device.info,
        }
        self.assert_asked("REGCODE", Workspace_ID=WID, **shared)
        user = UserID.from_text("csimons")
        self.run_(accounts.register_with_code(connection, user, *arguments, domain=DOMAIN))
        self.assert_asked("REGCODE", User_ID="csimons", Domain="example.com", **shared)
        self.failure(accounts.register_with_code(connection, WID, *arguments), RequestRefused)


class PasswordTests(CommandTestCase):
    """The server gets a hash."""

    CHEAP = Argon2Cost(memory=8, iterations=1, parallelism=1)

    def test_hash(self) -> None:
        """The hash is Argon2id in its encoded form, the same for the same salt only."""
        salt = b"0123456789abcdef"
        found = hash_password("secret", salt, self.CHEAP)
        self.assertTrue(found.startswith("$argon2id$v=19$m=8,t=1,p=1$MDEyMzQ1Njc4OWFiY2RlZg$"))
        self.assertEqual(found, hash_password("secret", salt, self.CHEAP))
        self.assertNotEqual(found, hash_password("Secret", salt, self.CHEAP))
        self.assertNotEqual(hash_password("x", cost=self.CHEAP), hash_password("x", cost=self.CHEAP))

    def test_length(self) -> None:
        """A hash under the usual parameters is one that the server takes."""
        self.assertIn(
            len(hash_password("secret", cost=Argon2Cost(parallelism=1, iterations=1))), range(16, 129)
        )

    def test_fields(self) -> None:
        """What another device needs to make the same hash is read from it."""
        found = hash_password("secret", b"0123456789abcdef", self.CHEAP)
        self.assertEqual(
            NewPassword.from_hash(found).to_data(),
            {
                "Password-Hash": found,
                "Password-Algorithm": "ARGON2ID",
                "Password-Salt": "MDEyMzQ1Njc4OWFiY2RlZg",
                "Password-Parameters": "m=8,t=1,p=1",
            },
        )
        self.assertEqual(NewPassword.from_hash("opaque").to_data(), {"Password-Hash": "opaque"})


class LookupTests(CommandTestCase):
    """Finding out who somebody is."""

    def test_get_workspace_id(self) -> None:
        """A user ID leads to a workspace."""
        connection = self.open(ok(Workspace_ID=str(WID)), reply(Status.NOT_FOUND), ok(Workspace_ID="x"))
        user = UserID.from_text("csimons")
        self.assertEqual(self.run_(lookups.get_workspace_id(connection, user)), WID)
        self.assert_asked("GETWID", User_ID="csimons")
        self.failure(lookups.get_workspace_id(connection, user, DOMAIN), RequestRefused)
        self.assert_asked("GETWID", User_ID="csimons", Domain="example.com")
        self.failure(lookups.get_workspace_id(connection, user), UnexpectedAnswer)

    CARD = "".join(
        f"----- BEGIN ENTRY -----\r\nType:User\r\nIndex:{number}\r\n----- END ENTRY -----\r\n"
        for number in (1, 2)
    )

    def card(self, status: Status = Status.OK, card: str = CARD) -> tuple[Response, Response]:
        """Give the two answers."""
        size = str(len(card))
        first = reply(Status.TRANSFER, Item_Count="2", Total_Size=size)
        return first, reply(status, Item_Count="2", Total_Size=size, Card_Data=card)

    def test_get_card(self) -> None:
        """The entries are what stands between the lines that frame them."""
        connection = self.open(*self.card())
        found = self.run_(lookups.get_card(connection))
        self.assertEqual(found, ["Type:User\r\nIndex:1\r\n", "Type:User\r\nIndex:2\r\n"])
        self.assert_asked("TRANSFER")
        self.assertEqual(self.server.requests[0].data, {"Start-Index": "1"})

    def test_get_card_of(self) -> None:
        """Owner and indexes are sent; servers that say 104 twice, or end lines by LF, are understood."""
        connection = self.open(*self.card(Status.TRANSFER, self.CARD.replace("\r\n", "\n")))
        owner = MAddress.from_text("csimons/example.com")
        self.assertEqual(len(self.run_(lookups.get_card(connection, owner, 0, 4))), 2)
        expected = {"Owner": "csimons/example.com", "Start-Index": "0", "End-Index": "4"}
        self.assertEqual(self.server.requests[0].data, expected)

    def test_name_like_a_mark(self) -> None:
        """A name that looks like the end of an entry does not end it."""
        text = "Type:User\r\nName:----- END ENTRY -----\r\nIndex:1\r\n"
        card = f"----- BEGIN ENTRY -----\r\n{text}----- END ENTRY -----\r\n"
        self.assertEqual(self.run_(lookups.get_card(self.open(*self.card(card=card * 2)))), [text, text])

    def test_no_card(self) -> None:
        """A refusal ends the command at either step; an answer without a card is none."""
        self.failure(lookups.get_card(self.open(reply(Status.NOT_FOUND))), RequestRefused)
        first, _ = self.card()
        self.failure(lookups.get_card(self.open(first, reply(Status.BAD_REQUEST))), RequestRefused)
        self.failure(lookups.get_card(self.open(first, ok())), UnexpectedAnswer)


class FileTests(CommandTestCase):
    """Directories and files."""

    def test_list(self) -> None:
        """Names come as values; an empty directory has no field for them."""
        connection = self.open(
            ok(FileCount="2", Files=f"{NAME},{NAME}"), ok(FileCount="0"), ok(FileCount="1", Files="../x")
        )
        name = FileName.from_text(NAME)
        self.assertEqual(self.run_(files.list_files(connection, NEW, 0)), [name, name])
        self.assert_asked("LIST", Path=NEW)
        self.assertEqual(self.run_(files.list_files(connection)), [])
        self.assert_asked("LIST")
        self.failure(files.list_files(connection), UnexpectedAnswer)

    def test_select(self) -> None:
        """A directory becomes the current one, or there is none."""
        connection = self.open(ok(), reply(Status.NOT_FOUND))
        self.run_(files.select(connection, NEW))
        self.assert_asked("SELECT", Path=NEW)
        self.failure(files.select(connection, NEW), RequestRefused)

    def test_exists(self) -> None:
        """404 is an answer, too; another refusal is none."""
        connection = self.open(ok(), reply(Status.NOT_FOUND), reply(Status.FORBIDDEN))
        self.assertTrue(self.run_(files.exists(connection, NEW)))
        self.assertFalse(self.run_(files.exists(connection, NEW)))
        self.failure(files.exists(connection, NEW), RequestRefused)


class UpdateTests(CommandTestCase):
    """What others changed."""

    LINE = f"{WID},MKDIR,/ wsp {WID} new:XSALSA20:abc,1700000000,{WID}"

    def test_get_updates(self) -> None:
        """Records come as values, in order."""
        connection = self.open(ok(UpdateCount="1", Update0=self.LINE, Remaining="7"), ok(UpdateCount="0"))
        found = self.run_(updates.get_updates(connection, 0, RandomID(WID.uuid)))
        self.assert_asked("GETUPDATES", Time=0, Since=WID)
        self.assertEqual(found.remaining, 7)
        record = found.records[0]
        self.assertEqual((record.type, record.data), ("MKDIR", f"/ wsp {WID} new:XSALSA20:abc"))
        self.assertEqual(
            (record.time, record.id, record.device), (1700000000, RandomID(WID.uuid), DeviceID(WID.uuid))
        )
        self.assertEqual(self.run_(updates.get_updates(connection, 5)), updates.Updates([], None))
        self.assertIsNone(connection.update_count)

    def test_absurd_answers(self) -> None:
        """A count without the records, or records that are none."""
        for answer in (
            ok(),
            ok(UpdateCount="2000000000"),
            ok(UpdateCount="1", Update0="x"),
            ok(UpdateCount="x"),
        ):
            self.failure(updates.get_updates(self.open(answer), 0), UnexpectedAnswer)

    def test_malformed_records(self) -> None:
        """Each part of a record is checked."""
        for old, new in ((",", ";"), ("1700000000", "now"), ("2222", "")):
            self.assertRaises(BadValue, updates.UpdateRecord.from_text, self.LINE.replace(old, new))


class SendTests(CommandTestCase):
    """Giving a message to the server."""

    def test_send(self) -> None:
        """The name of the queued file comes back; a long message goes through."""
        connection = self.open(ok(FileName=NAME), reply(Status.QUOTA_INSUFFICIENT), ok())
        message = "x" * 200_000
        self.assertEqual(str(self.run_(sending.send(connection, message, DOMAIN))), NAME)
        self.assert_asked("SEND", Message=message, Domain=DOMAIN)
        self.failure(sending.send(connection, message, DOMAIN), RequestRefused)
        self.failure(sending.send(connection, message, DOMAIN), UnexpectedAnswer)
