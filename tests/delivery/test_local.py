"""What becomes of messages for our own domains (spec 05, *Local delivery* and *The queue*)."""

from typing import Any

from attrs import evolve

from mensagod.client.control import idle
from mensagod.client.files import download
from mensagod.client.updates import get_updates
from mensagod.config import Config
from mensagod.crypto.sealing import EncryptionPair
from mensagod.delivery import placing
from mensagod.delivery.tags import MessageType
from mensagod.values.identity import SERVER_DEVICE, Domain, MAddress, UserID, WAddress, WorkspaceID
from mensagod.values.paths import FileName, ServerPath
from tests.delivery.letters import STRANGER
from tests.delivery.mail import MailTestCase
from tests.serving import DOMAIN, Person

EXTRA = Domain.from_text("example.net")
ELSEWHERE = Domain.from_text("example.org")


class LocalTestCase(MailTestCase):
    """A server of two domains."""

    def configure(self, config: Config) -> Config:
        return evolve(config, global_=evolve(config.global_, extra_domains=(EXTRA,)))


class DeliveredTests(LocalTestCase):
    """Messages that arrive."""

    async def test_what_arrives(self) -> None:
        """The file has a new name, its usage is counted, one record tells of it, the session is told."""
        client = await self.enter(self.bob)
        text = self.letter()
        before = int(await self.value("SELECT floor(extract(epoch FROM now()))"))
        sent = await self.send()
        self.assertIsNone(await self.outcome(sent))
        (name,) = await self.delivered(self.bob.workspace)
        parsed = FileName.from_text(name)
        self.assertNotEqual(parsed.id, sent.id)
        self.assertGreaterEqual(parsed.time, before)
        path = ServerPath.new_messages(self.bob.workspace).child(name)
        content = await download(client, path)
        self.assertEqual((len(content), len(content)), (parsed.size, len(text.encode())))
        (record,) = (await get_updates(client, 0)).records
        self.assertEqual((record.type, record.data, record.device), ("CREATE", str(path), SERVER_DEVICE))
        self.assertEqual(self.open_stored_files(), [])
        await self.assert_consistent()

    async def test_push(self) -> None:
        """A delivery wakes the recipient's sessions, and the sender's not."""
        client = await self.enter(self.bob)
        await self.outcome(await self.send())
        await idle(client)
        await idle(self.client_)
        self.assertEqual((client.update_count, self.client_.update_count), (1, None))

    async def test_every_form_of_address(self) -> None:
        """ID, name, alias and the ID's text as a name lead to the same mailbox; other domains to others."""
        carol = await self.settle("bob", domain=EXTRA)
        await self.change(
            "INSERT INTO names (domain, user_id, workspace, kind, unicode)"
            " VALUES ('example.net', 'robert', %s, 'alias', '15')",
            self.bob.workspace.uuid,
        )
        for to in (
            self.bob.address,
            MAddress(UserID.from_text("bob"), DOMAIN),
            MAddress(UserID.from_text("robert"), EXTRA),
        ):
            self.assertIsNone(await self.outcome(await self.send(to)))
        self.assertEqual(len(await self.delivered(self.bob.workspace)), 3)
        for to in (carol.address, MAddress(UserID.from_text("bob"), EXTRA)):
            self.assertIsNone(await self.outcome(await self.send(to)))
        self.assertEqual(len(await self.delivered(carol.workspace)), 2)
        await self.assert_consistent()

    async def test_older_receiver_part(self) -> None:
        """The older form of the receiver part is as good."""
        receiver = f'{{"To":"bob/{DOMAIN}","SenderDomain":"{DOMAIN}"}}'
        self.assertIsNone(await self.outcome(await self.send(receiver=receiver)))
        self.assertEqual(len(await self.delivered(self.bob.workspace)), 1)

    async def test_recent_key(self) -> None:
        """What was sealed to a key that was rotated out since is still delivered."""
        old = EncryptionPair.generate()
        server = self.service.server
        server.keys.keyring = evolve(server.keyring, encryption=(*server.keyring.encryption, old))
        self.assertIsNone(await self.outcome(await self.send(receiver_key=old)))

    async def test_reports_of_users(self) -> None:
        """The two kinds of system message that users send arrive."""
        for sub_type in ("abusereport", "supportrequest"):
            name = await self.send(type=MessageType.SYSTEM, sub_type=sub_type)
            self.assertIsNone(await self.outcome(name))

    async def test_to_oneself(self) -> None:
        """A message to oneself is counted once while it moves."""
        size = len(self.letter(self.alice).encode())
        await self.change("UPDATE mailboxes SET quota = %s", size)
        self.assertIsNone(await self.outcome(await self.send(self.alice)))
        self.assertEqual(await self.value("SELECT used FROM mailboxes WHERE quota = used"), size)

    async def test_new_is_made_again(self) -> None:
        """A mailbox whose directory was lost gets it back."""
        new = ServerPath.new_messages(self.bob.workspace)
        await self.change("DELETE FROM folders WHERE path = %s", str(new))
        self.assertIsNone(await self.outcome(await self.send()))
        await self.assert_consistent()


class UndeliverableTests(LocalTestCase):
    """Messages that do not: the queue keeps them, with code and reason, and the log tells."""

    async def prepare(self) -> None:
        await super().prepare()
        self.log = self.captured_log()

    async def assert_outcome(self, code: int, to: Any = None, state: str = "failed", **changes: Any) -> Any:
        name = await self.send(to, **changes)
        row = await self.outcome(name)
        self.assertIsNotNone(row, "it was delivered")
        self.assertEqual((row.state, row.code), (state, code), row.reason)
        self.assertTrue(row.reason)
        self.assertIsNone(row.target)
        (line,) = [line for line in self.log if f"not delivered: {code} {row.reason}" in line]
        self.log.remove(line)
        self.assertIn(str(self.alice.workspace), line)
        self.assertEqual(await self.delivered(self.bob.workspace), [])
        await self.assert_consistent()
        return row

    async def test_unreadable(self) -> None:
        """504: the receiver part does not open, or is none."""
        await self.assert_outcome(504, receiver_key=STRANGER)
        for receiver in ("", "not JSON", "{}", '{"to":5,"senderDom":"example.com"}'):
            await self.assert_outcome(504, receiver=receiver)
        self.assertEqual(self.open_stored_files(), [])

    async def test_malformed(self) -> None:
        """503: the address is malformed, or in another domain, or the sender's domain is not the sender's."""
        await self.assert_outcome(503, receiver=f'{{"to":"a b/{DOMAIN}","senderDom":"{DOMAIN}"}}')
        await self.assert_outcome(503, receiver=f'{{"to":"bob/{DOMAIN}","senderDom":"a..b"}}')
        await self.assert_outcome(503, receiver=f'{{"to":"bob/{EXTRA}","senderDom":"{DOMAIN}"}}')
        await self.assert_outcome(503, receiver=f'{{"to":"bob/{ELSEWHERE}","senderDom":"{DOMAIN}"}}')
        await self.assert_outcome(503, sender_domain=EXTRA)
        await self.assert_outcome(503, sender_domain=ELSEWHERE)

    async def test_no_such_workspace(self) -> None:
        """500: nobody has that name or ID in that domain, or not yet, or no more."""
        await self.assert_outcome(500, WAddress(WorkspaceID.random(), DOMAIN))
        await self.assert_outcome(500, MAddress(UserID.from_text("nobody"), DOMAIN))
        await self.assert_outcome(500, MAddress(UserID.from_text("bob"), EXTRA))
        await self.assert_outcome(500, WAddress(self.bob.workspace, EXTRA))
        # Preregistered, with an alias.
        await self.assert_outcome(500, MAddress(UserID.from_text("admin"), DOMAIN))
        await self.assert_outcome(500, MAddress(UserID.from_text("abuse"), DOMAIN))
        await self.set_status("pending")
        await self.assert_outcome(500)
        await self.assert_outcome(500, MAddress(UserID.from_text("bob"), DOMAIN))
        await self.change(
            "UPDATE workspaces SET status = 'archived', password_hash = NULL WHERE id = %s",
            self.bob.workspace.uuid,
        )
        await self.assert_outcome(500)
        await self.assert_outcome(500, MAddress(UserID.from_text("bob"), DOMAIN))

    async def test_no_mailbox(self) -> None:
        """500: the workspace is being removed."""
        carol = await self.settle("carol")
        await self.change("DELETE FROM mailboxes WHERE workspace = %s", carol.workspace.uuid)
        await self.assert_outcome(500, carol)

    async def test_refused(self) -> None:
        """310: the recipient does not take messages now."""
        for status in ("disabled", "suspended", "unpaid"):
            await self.set_status(status)
            await self.assert_outcome(310)

    async def test_forged_system_message(self) -> None:
        """310: what only servers say, if it got into the queue."""
        delivery = self.service.assembly.delivery
        await delivery.stopService()
        forged = await self.send(type=MessageType.SYSTEM, sub_type="abusereport")
        stored = self.directory / "data" / "out" / str(self.alice.workspace) / forged.text
        stored.write_bytes(stored.read_bytes().replace(b"abusereport", b"devrequest!"))
        delivery.startService()
        row = await self.outcome(forged)
        self.assertEqual((row.state, row.code), ("failed", 310))

    async def test_full(self) -> None:
        """409: no room for this, with what the recipient has in the queue; the last byte may be used."""
        size = len(self.letter().encode())
        await self.change(
            "UPDATE mailboxes SET quota = %s WHERE workspace = %s", size - 1, self.bob.workspace.uuid
        )
        await self.assert_outcome(409)
        await self.change("UPDATE mailboxes SET quota = %s WHERE quota > 0", size)
        self.assertIsNone(await self.outcome(await self.send()))
        await self.change("DELETE FROM queue")
        self.assertEqual((await self.outcome(await self.send())).code, 409)

    async def test_lost_file(self) -> None:
        """300: our own fault is tried again, and the message arrives once it is mended."""
        broken = self.watch_store()

        def lose(path: ServerPath) -> None:
            raise FileNotFoundError(2, "lost")

        broken.before_open = lose
        await self.assert_outcome(300, state="queued")
        broken.before_open = broken.before_write
        await self.again()
        self.assertEqual(len(await self.delivered(self.bob.workspace)), 1)

    async def test_unforeseen_fault(self) -> None:
        """300: whatever goes wrong, with an incident in the log and not a word of it in the report."""
        broken = self.watch_store()

        def fail(path: ServerPath) -> None:
            raise RuntimeError("secret details")

        broken.before_open = fail
        row = await self.assert_outcome(300, state="queued")
        self.assertNotIn("secret", row.reason)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    async def test_moving_fails(self) -> None:
        """300: the name is decided anew for the next try, so that it tells when the message arrived."""
        broken = self.watch_store()

        def fail(path: ServerPath) -> None:
            raise OSError(5, "Input/output error")

        broken.before_move = fail
        self.patch(placing, "time", lambda: 1000)
        await self.assert_outcome(300, state="queued")
        self.patch(placing, "time", lambda: 2000)
        broken.before_move = broken.before_write
        await self.again()
        (name,) = await self.delivered(self.bob.workspace)
        self.assertEqual(FileName.from_text(name).time, 2000)
        self.assertEqual(len(self.flushLoggedErrors(OSError)), 1)
        await self.assert_consistent()

    async def test_moved_but_not_durable(self) -> None:
        """300: what has moved already, as far as one can tell, comes to stand where it is."""
        broken = self.watch_store()

        def fail(path: ServerPath) -> None:
            broken.store.move([(path, ServerPath.new_messages(self.bob.workspace).child(self.aimed()))])
            raise OSError(5, "Input/output error")

        broken.before_move = fail
        row = await self.outcome(await self.send())
        self.assertEqual((row.state, row.code, row.target), ("queued", 300, self.bob.workspace.uuid))
        name = self.aimed()
        broken.before_move = broken.before_write
        await self.again()
        self.assertEqual(await self.delivered(self.bob.workspace), [name])
        self.assertEqual(len(self.flushLoggedErrors(OSError)), 1)
        await self.assert_consistent()

    def aimed(self) -> str:
        """Give the name that the message will have, also in a thread."""
        with self.connect() as connection, connection.cursor() as cursor:
            cursor.execute("SELECT target_name FROM queue")
            ((name,),) = cursor.fetchall()
        return str(name)

    async def test_lost_while_moving(self) -> None:
        """300: a file that is at neither place."""
        broken = self.watch_store()
        broken.before_move = broken.store.remove
        row = await self.outcome(await self.send())
        self.assertEqual((row.state, row.code), ("queued", 300))
        self.assertIn("missing", row.reason)

    async def test_archived_while_moving(self) -> None:
        """500: the workspace went while its file moved; the message is where it was, for its report."""
        connection = self.connect()

        def archive(path: ServerPath) -> None:
            with connection, connection.cursor() as cursor:
                cursor.execute("DELETE FROM mailboxes WHERE workspace = %s", (self.bob.workspace.uuid,))

        self.watch_store().before_move = archive
        await self.assert_outcome(500)

    async def again(self) -> None:
        """Have everything tried at once."""
        await self.change("UPDATE queue SET due = now()")
        self.service.assembly.delivery.wake()
        await self.until("SELECT count(*) = 0 FROM queue")

    async def set_status(self, status: str, person: Person | None = None) -> None:
        await self.change(
            "UPDATE workspaces SET status = %s WHERE id = %s", status, (person or self.bob).workspace.uuid
        )
