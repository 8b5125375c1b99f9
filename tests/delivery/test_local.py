"""What becomes of messages for our own domains (spec 05, *Local delivery* and *The queue*)."""

from datetime import UTC, datetime, timedelta
from typing import Any

from attrs import evolve

from mensagod.client.control import idle
from mensagod.client.files import download, list_files
from mensagod.client.updates import get_updates
from mensagod.config import Config
from mensagod.contents.keys import ContentKey
from mensagod.crypto.sealing import EncryptionPair
from mensagod.delivery.tags import MessageType
from mensagod.values.identity import SERVER_DEVICE, Domain, MAddress, UserID, WAddress, WorkspaceID
from mensagod.values.paths import FileName, ServerPath
from tests.delivery.letters import STRANGER
from tests.delivery.mail import MailTestCase
from tests.serving import DOMAIN, Person, settle

EXTRA = Domain.from_text("example.net")
ELSEWHERE = Domain.from_text("example.org")


class LocalTestCase(MailTestCase):
    """A server of two domains."""

    def configure(self, config: Config) -> Config:
        return evolve(config, global_=evolve(config.global_, extra_domains=(EXTRA,)))

    async def again(self) -> None:
        """Have everything tried at once, until nothing is left."""
        await self.change("UPDATE queue SET due = now()")
        delivery = self.service.assembly.delivery
        for bucket in delivery.buckets:
            delivery.wake(bucket)
        await self.until("SELECT count(*) = 0 FROM queue")

    async def set_status(self, status: str) -> None:
        """Set Bob's."""
        await self.change("UPDATE workspaces SET status = %s WHERE id = %s", status, self.bob.workspace.uuid)


class DeliveredTests(LocalTestCase):
    """Messages that arrive, at once and through the queue."""

    async def test_what_arrives(self) -> None:
        """The file has a new name, its usage is counted, one record tells of it, the session is told."""
        client = await self.enter(self.bob)
        for send in (self.send, self.send_to_queue):
            text = self.letter()
            before = int(await self.value("SELECT floor(extract(epoch FROM now()))"))
            sent = await send()
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
            await self.assert_consistent()
            await self.change("DELETE FROM files")
            await self.change("DELETE FROM contents")
            await self.change("DELETE FROM updates")
            await self.change("UPDATE mailboxes SET used = 0, files = 0")

    async def test_is_never_queued(self) -> None:
        """What can be delivered now is there when its sender has the answer, and was in no queue."""
        await self.service.assembly.delivery.stopService()
        await self.send()
        self.assertEqual(len(await self.delivered(self.bob.workspace)), 1)
        self.assertEqual(await self.value("SELECT count(*) FROM queue"), 0)
        self.assertEqual(await list_files(self.client_, ServerPath.outgoing(self.alice.workspace)), [])

    async def test_in_the_store(self) -> None:
        """A message that is not small stands in the store, on both ways, and is read from there."""
        client = await self.enter(self.bob)
        self.limit_inline(0)
        for send in (self.send, self.send_to_queue):
            self.assertIsNone(await self.outcome(await send()))
        names = await self.delivered(self.bob.workspace)
        self.assertEqual(len(self.on_disk()), 2)
        for delivered in names:
            path = ServerPath.new_messages(self.bob.workspace).child(delivered)
            self.assertTrue((await download(client, path)).startswith(b"MENSAGO"))
        self.assertEqual(self.open_stored_files(), [])
        await self.assert_consistent()

    async def test_large(self) -> None:
        """So does one that is larger than what stands in a row."""
        inline = self.service.server.config.performance.inline_limit * 1024
        await self.send(payload=bytes(inline))
        self.assertEqual(len(self.on_disk()), 1)
        await self.assert_consistent()

    async def test_push(self) -> None:
        """A delivery wakes the recipient's sessions, and the sender's not."""
        for send in (self.send, self.send_to_queue):
            client = await self.enter(self.bob)
            await self.outcome(await send())
            await idle(client)
            self.assertEqual(client.update_count, 1)
            await idle(self.client_)
            self.assertIsNone(self.client_.update_count)

    async def test_every_form_of_address(self) -> None:
        """ID, name, alias and the ID's text as a name lead to the same mailbox; other domains to others."""
        carol = await self.settle("bob", domain=EXTRA)
        await self.change(
            "INSERT INTO names (domain, user_id, workspace, kind, unicode)"
            " VALUES ('example.net', 'robert', %s, 'alias', '15')",
            self.bob.workspace.uuid,
        )
        for send in (self.send, self.send_to_queue):
            for to in (
                self.bob.address,
                MAddress(UserID.from_text("bob"), DOMAIN),
                MAddress(UserID.from_text("robert"), EXTRA),
            ):
                self.assertIsNone(await self.outcome(await send(to)))
            for to in (carol.address, MAddress(UserID.from_text("bob"), EXTRA)):
                self.assertIsNone(await self.outcome(await send(to)))
        self.assertEqual(len(await self.delivered(self.bob.workspace)), 6)
        self.assertEqual(len(await self.delivered(carol.workspace)), 4)
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
        """A message to oneself is counted once, also while it is on its way."""
        for number, send in enumerate((self.send, self.send_to_queue), 1):
            size = len(self.letter(self.alice).encode())
            await self.change("UPDATE mailboxes SET quota = %s", number * size)
            self.assertIsNone(await self.outcome(await send(self.alice)))
            self.assertEqual(await self.value("SELECT used FROM mailboxes WHERE quota = used"), number * size)

    async def test_waits_for_its_time(self) -> None:
        """A message with a time stands below out until then, and can be listed there; then it arrives."""
        name = await self.send(send_time=datetime.now(UTC) + timedelta(days=1))
        out = ServerPath.outgoing(self.alice.workspace)
        self.assertEqual(await list_files(self.client_, out), [name])
        self.assertEqual(await self.delivered(self.bob.workspace), [])
        await self.again()
        self.assertEqual(await list_files(self.client_, out), [])
        self.assertEqual(len(await self.delivered(self.bob.workspace)), 1)
        await self.assert_consistent()

    async def test_found_later(self) -> None:
        """Who has come since the last try gets what waits for a retry."""
        await self.set_status("suspended")
        await self.service.assembly.delivery.stopService()
        name = await self.send()
        await self.set_status("active")
        self.service.assembly.delivery.startService()
        self.assertIsNone(await self.outcome(name))
        self.assertEqual(len(await self.delivered(self.bob.workspace)), 1)


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
        await self.service.assembly.delivery.stopService()
        forged = await self.send(
            WAddress(WorkspaceID.random(), DOMAIN), type=MessageType.SYSTEM, sub_type="abusereport"
        )
        await self.change(
            "UPDATE queue SET data ="
            " convert_to(replace(convert_from(data, 'UTF8'), 'abusereport', 'devrequest!'), 'UTF8')"
        )
        self.service.assembly.delivery.startService()
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

    async def test_lost_content(self) -> None:
        """300: our own fault is tried again, and the message arrives once it is mended."""
        row = await self.assert_broken(FileNotFoundError(2, "lost"))
        self.assertIn("missing", row.reason)

    async def test_unforeseen_fault(self) -> None:
        """300: whatever goes wrong, with an incident in the log and not a word of it in the report."""
        row = await self.assert_broken(RuntimeError("secret details"))
        self.assertNotIn("secret", row.reason)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    async def assert_broken(self, error: Exception) -> Any:
        """A message that must be read for its recipient, and cannot be, arrives when it can be."""
        self.limit_inline(0)
        broken = self.watch_store()

        def fail(key: ContentKey) -> None:
            raise error

        broken.before_open = fail
        late = Person(WorkspaceID.random(), "late")
        row = await self.assert_outcome(300, late, state="queued")
        self.assertEqual((row.attempts, row.target), (1, None))
        broken.before_open = broken.before_write
        await self.database.run(settle, late, 0)
        await self.again()
        self.assertEqual(len(await self.delivered(late.workspace)), 1)
        self.assertEqual(self.open_stored_files(), [])
        return row
