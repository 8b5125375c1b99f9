"""SEND and SENDFAST (spec 04, *Sending*)."""

from datetime import UTC, datetime, timedelta
from errno import EIO

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from mensagod.client.connection import ClientConnection
from mensagod.client.files import download, list_files
from mensagod.contents.keys import ContentKey
from mensagod.delivery.tags import MessageType
from mensagod.operations.limits import Limits
from mensagod.status import Status
from mensagod.storage import contents, submissions
from mensagod.storage.rows import Transaction, one
from mensagod.values.identity import Domain, WAddress
from mensagod.values.paths import ServerPath
from mensagod.wire.messages import Response
from tests.delivery.letters import STRANGER
from tests.delivery.mail import MailTestCase
from tests.serving import DOMAIN
from tests.waiting import until

HANDED_IN = "SELECT cardinality(times) FROM device_sends"
ELSEWHERE = Domain.from_text("example.org")


class SendTestCase(MailTestCase):
    """Messages that stay in the queue: their domain is another's."""

    async def hand_in(
        self, text: str, domain: object = ELSEWHERE, client: ClientConnection | None = None
    ) -> Response:
        return await self.ask(client or self.client_, "SEND", {"Message": text, "Domain": domain})

    def abroad(self, **changes: object) -> str:
        return self.letter(WAddress(self.bob.workspace, ELSEWHERE), **changes)

    def time_limits(self) -> Clock:
        """Have the process remember what limits refuse for a time that the test makes."""
        clock = Clock()
        self.service.server.limits = Limits(clock)
        return clock

    def allow(self, messages: int) -> None:
        """Let a device hand in so many messages within a minute."""
        config = self.service.server.config
        security = evolve(config.security, max_recipients_per_minute=messages)
        self.service.server.config = evolve(config, security=security)

    async def assert_refused(self, text: str, status: Status, domain: object = ELSEWHERE) -> str:
        """A refused message leaves nothing behind."""
        answer = await self.hand_in(text, domain)
        self.assertEqual(answer.status, status, str(answer))
        for table in ("queue", "writings", "submissions"):
            self.assertEqual(await self.value(f"SELECT count(*) FROM {table}"), 0, table)
        await self.assert_consistent()
        return answer.info

    async def assert_stored(self, count: int) -> None:
        self.assertEqual(await self.value("SELECT count(*) FROM queue WHERE state = 'queued'"), count)
        await self.assert_consistent()


class CheckTests(SendTestCase):
    """What may be handed in."""

    async def test_login_and_fields(self) -> None:
        """A login is needed; then each field is checked in its turn."""
        bad = {"Message": "", "Domain": "a..b"}
        client = await self.client()
        for action in ("SEND", "SENDFAST"):
            await self.assert_answer(client, action, bad, Status.UNAUTHORIZED, "Login required")
            good = {"Message": "no envelope", "Domain": "example.org"}
            await self.assert_fields(
                self.client_, action, good, {"Message": (), "Domain": ("a..b", "exa_mple", "a b")}
            )

    async def test_no_envelope(self) -> None:
        """The text must be an envelope, with a payload."""
        good = self.abroad()
        head, _, rest = good.partition("----------\r\n")
        for text in (
            "hello",
            good.replace("MENSAGO", "MENSAGE", 1),
            good.replace("----------", "---------", 1),
            good.replace('"version"', '"revision"', 1),
            good.replace('"receiver"', '"recipient"', 1),
            "x\r\n" * 40_000 + good,
            head,
            f"{head}----------\r\n",
            f"{head}----------\r\nXSALSA20\r\n",
            f"{head}----------\r\nXSALSA20\r\n\r\n",
            f"{head}----------\r\n\r\n{rest}",
        ):
            await self.assert_refused(text, Status.BAD_REQUEST)

    async def test_sender_part(self) -> None:
        """The sender part must open with our key and be the session's own, for the domain named."""
        other = WAddress(self.bob.workspace, DOMAIN)
        elsewhere = WAddress(self.alice.workspace, ELSEWHERE)
        for text in (
            self.abroad(sender_key=STRANGER),
            self.abroad(sender_part="{}"),
            self.abroad(sender_part="not JSON"),
            self.abroad(sender_part=f'{{"from":"{self.alice.address}","recipientDom":"a..b"}}'),
            self.abroad(sender_part=f'{{"from":"alice/{DOMAIN}","recipientDom":"{ELSEWHERE}"}}'),
            self.abroad(sender_part=f'{{"from":"{other}","recipientDom":"{ELSEWHERE}"}}'),
            self.abroad(sender_part=f'{{"from":"{elsewhere}","recipientDom":"{ELSEWHERE}"}}'),
            self.abroad(recipient_domain=DOMAIN),
        ):
            await self.assert_refused(text, Status.BAD_REQUEST)
        await self.assert_refused(self.abroad(), Status.BAD_REQUEST, DOMAIN)

    async def test_older_sender_part(self) -> None:
        """The older form of addresses is as good."""
        part = f'{{"From":"{self.alice.address}","RecipientDomain":"{ELSEWHERE}"}}'
        answer = await self.hand_in(self.abroad(sender_part=part))
        self.assertEqual(answer.status, Status.OK)

    async def test_system_messages(self) -> None:
        """What only servers say is refused; reports of abuse and questions are not."""
        for sub_type in (None, "devrequest", "deliveryfailure", "AbuseReport"):
            text = self.abroad(type=MessageType.SYSTEM, sub_type=sub_type)
            await self.assert_refused(text, Status.BAD_REQUEST)
        for sub_type in ("abusereport", "supportrequest"):
            answer = await self.hand_in(self.abroad(type=MessageType.SYSTEM, sub_type=sub_type))
            self.assertEqual(answer.status, Status.OK)

    async def test_size(self) -> None:
        """An envelope in a request has at most 25,000,000 characters, less where the operator says so."""
        text = self.abroad()
        self.limit_size(1)
        await self.assert_refused(text + "x" * 1024 * 1024, Status.LIMIT_REACHED)
        self.limit_size(0)
        await self.assert_refused(text + "x" * (25_000_001 - len(text)), Status.LIMIT_REACHED)

    def limit_size(self, size: int) -> None:
        server = self.service.server
        performance = evolve(server.config.performance, max_message_size=size)
        server.config = evolve(server.config, performance=performance)


class AcceptanceTests(SendTestCase):
    """What 200 promises."""

    async def test_haste(self) -> None:
        """The note that a content is written does not wait for the disk; the next transaction does."""

        def setting(txn: Transaction, begins: bool) -> str:
            if begins:
                contents.begin_writing(txn, self.alice.workspace)
            txn.execute("SELECT current_setting('synchronous_commit') AS setting")
            return one(lambda row: str(row.setting), txn)

        database = await self.make_service()
        settings = [await database.run(setting, begins) for begins in (False, True, False)]
        self.assertEqual(settings, ["on", "off", "on"])

    async def test_durable(self) -> None:
        """At 200 the message is in the queue, its content as it came."""
        text = f"preamble\n{self.abroad()}".replace("\r\n", "\n")
        answer = await self.hand_in(text)
        self.assertEqual(answer.status, Status.OK)
        (row,) = await self.rows("SELECT * FROM queue")
        self.assertEqual(
            (row.sender, row.device, row.sender_domain, row.domain, row.name, row.time, row.size, row.data),
            (
                self.alice.workspace.uuid,
                self.alice.device.uuid,
                "example.com",
                "example.org",
                answer.data["FileName"],
                int(answer.data["FileName"].split(".")[0]),
                len(text.encode()),
                text.encode(),
            ),
        )
        self.assertEqual((row.destination, row.target, row.send_time), ("example.org", None, None))
        out = ServerPath.outgoing(self.alice.workspace)
        self.assertEqual([str(name) for name in await list_files(self.client_, out)], [row.name])
        await self.assert_stored(1)

    async def test_larger(self) -> None:
        """A content that is larger than the configuration says is on the disk at 200."""
        names = [
            (await self.hand_in(self.abroad(payload=b"x" * size))).data["FileName"] for size in (4000, 8000)
        ]
        sizes = {int(name.split(".")[1]) for name in names}
        rows = await self.rows("SELECT content, size FROM queue WHERE day IS NOT NULL")
        self.assertEqual([row.size for row in rows], [max(sizes)])
        self.assertEqual(self.on_disk(), [str(row.content) for row in rows])
        await self.assert_stored(2)
        self.limit_inline(0)
        await self.hand_in(self.abroad())
        self.assertEqual(len(self.on_disk()), 2)
        self.limit_inline(64)
        await self.hand_in(self.abroad(payload=b"x" * 8000))
        self.assertEqual(len(self.on_disk()), 2)
        await self.assert_stored(4)

    async def test_long(self) -> None:
        """A long message is stored as it came, whatever its characters, with and without a send time."""
        later = datetime.now(UTC) + timedelta(days=7)
        rest = 'é\u20ac\U0001f600"\\\r\n' * 150_000
        for changes in ({}, {"send_time": later}):
            answer = await self.hand_in(self.abroad(**changes) + rest)
            self.assertEqual(answer.status, Status.OK)
            self.assertEqual(len(self.on_disk()), 1)
            (row,) = await self.rows("SELECT content, day FROM queue")
            (part,) = (self.directory / "data" / "content" / f"{row.day:%Y%m%d}").rglob(f"{row.content}.0")
            content = part.read_bytes()
            self.assertTrue(content.endswith(rest.encode()))
            self.assertEqual(b"sendTime" in content[:10_000], False)
            await self.change("DELETE FROM queue")
            part.unlink()

    async def test_older_name(self) -> None:
        """SENDFAST is the same."""
        fields = {"Message": self.abroad(), "Domain": "example.org"}
        answer = await self.assert_answer(self.client_, "SENDFAST", fields, Status.OK)
        self.assertEqual(await self.value("SELECT name FROM queue"), answer.data["FileName"])

    async def test_send_time(self) -> None:
        """A message with a time is held until then, and handed over without it."""
        later = datetime.now(UTC).replace(microsecond=0) + timedelta(days=7)
        name = await self.send(send_time=later)
        (row,) = await self.rows("SELECT * FROM queue")
        self.assertEqual((row.due, row.accepted, row.send_time), (later, later, later))
        self.assertEqual((row.attempts, row.state, row.target), (0, "queued", self.bob.workspace.uuid))
        out = ServerPath.outgoing(self.alice.workspace)
        self.assertEqual(await list_files(self.client_, out), [name])
        self.assertEqual(await self.delivered(self.bob.workspace), [])
        await self.change("UPDATE queue SET due = now()")
        self.service.assembly.delivery.wake(row.bucket)
        self.assertIsNone(await self.outcome(name))
        (delivered,) = await self.delivered(self.bob.workspace)
        client = await self.enter(self.bob)
        path = ServerPath.new_messages(self.bob.workspace).child(delivered)
        content = await download(client, path)
        self.assertNotIn(b"sendtime", content.lower())
        self.assertEqual(len(content), int(delivered.split(".")[1]))
        await self.assert_consistent()

    async def test_past_send_time(self) -> None:
        """A time that has passed holds nothing up."""
        await self.outcome(await self.send(send_time=datetime(2001, 1, 1, tzinfo=UTC)))
        self.assertEqual(len(await self.delivered(self.bob.workspace)), 1)


class DeliveredTests(SendTestCase):
    """Messages to somebody here, who can have them now."""

    async def test_at_once(self) -> None:
        """At 200 the message is in the mailbox, and was never in the queue; its file name is nobody's."""
        text = self.letter()
        answer = await self.hand_in(text, DOMAIN)
        (name,) = await self.delivered(self.bob.workspace)
        self.assertNotEqual(answer.data["FileName"], name)
        self.assertEqual(await self.value("SELECT count(*) FROM queue"), 0)
        out = ServerPath.outgoing(self.alice.workspace)
        self.assertEqual(await list_files(self.client_, out), [])
        client = await self.enter(self.bob)
        path = ServerPath.new_messages(self.bob.workspace).child(name)
        self.assertEqual(await download(client, path), text.encode())
        await self.assert_consistent()

    async def test_larger(self) -> None:
        """So is a larger one, whose content is in the store once."""
        text = self.letter(payload=b"x" * 20_000)
        await self.hand_in(text, DOMAIN)
        row = await self.content_of(self.bob.workspace)
        self.assertEqual((row.data, row.size), (None, len(text.encode())))
        self.assertEqual(self.on_disk(), [str(row.key)])
        client = await self.enter(self.bob)
        (name,) = await self.delivered(self.bob.workspace)
        path = ServerPath.new_messages(self.bob.workspace).child(name)
        self.assertEqual(await download(client, path), text.encode())
        await self.assert_consistent()

    async def test_heard_of(self) -> None:
        """The recipient's session hears of it with its next answer."""
        client = await self.enter(self.bob)
        await self.hand_in(self.letter(), DOMAIN)
        answer = await self.assert_answer(client, "IDLE", {}, Status.OK)
        self.assertEqual(answer.data, {"UpdateCount": "1"})

    async def test_to_oneself(self) -> None:
        """A message to oneself is a message as any other."""
        await self.hand_in(self.letter(self.alice), DOMAIN)
        self.assertEqual(len(await self.delivered(self.alice.workspace)), 1)
        await self.assert_consistent()

    async def test_many_at_once(self) -> None:
        """Each of many that come at once is delivered once."""
        clients = [self.client_, *[await self.enter(self.alice) for _ in range(7)]]
        asked = [
            Deferred.fromCoroutine(self.hand_in(self.letter(to), DOMAIN, client))
            for _ in range(4)
            for client, to in zip(clients, [self.bob, self.alice] * 4, strict=True)
        ]
        self.assertEqual({(await one).status for one in asked}, {Status.OK})
        for person in (self.alice, self.bob):
            self.assertEqual(len(await self.delivered(person.workspace)), 16)
        await self.assert_consistent()


class LimitTests(SendTestCase):
    """Quota, rate and disk."""

    async def test_quota(self) -> None:
        """What is live, what is queued and what is just coming counts; the last byte may be used."""
        text = self.abroad()
        size = len(text.encode())
        alice = self.alice.workspace.uuid
        await self.hand_in(self.letter(self.alice), DOMAIN)
        await self.change("UPDATE submissions SET at = '-infinity'")
        await self.database.run(submissions.forget_old)
        await self.change("UPDATE mailboxes SET quota = used + %s WHERE workspace = %s", size - 1, alice)
        await self.assert_refused(text, Status.QUOTA_INSUFFICIENT)
        await self.change("UPDATE mailboxes SET quota = quota + 1 WHERE workspace = %s", alice)
        answer = await self.hand_in(self.abroad())
        self.assertEqual(answer.status, Status.OK)
        answer = await self.hand_in(self.abroad())
        self.assertEqual(answer.status, Status.QUOTA_INSUFFICIENT)
        self.assertEqual(answer.info, "Workspace quota exceeded")
        await self.assert_stored(1)
        await self.change("DELETE FROM queue")
        await self.change("UPDATE mailboxes SET queued = 0")
        self.assertEqual((await self.hand_in(self.abroad())).status, Status.OK)

    async def test_quota_of_a_local_message(self) -> None:
        """A message that would be delivered at once needs room with its sender all the same."""
        text = self.letter()
        await self.change(
            "UPDATE mailboxes SET quota = %s WHERE workspace = %s",
            *(len(text.encode()) - 1, self.alice.workspace.uuid),
        )
        await self.assert_refused(text, Status.QUOTA_INSUFFICIENT, DOMAIN)
        await self.change("UPDATE mailboxes SET quota = quota + 1 WHERE quota > 0")
        for _ in range(2):
            self.assertEqual((await self.hand_in(self.letter(), DOMAIN)).status, Status.OK)
        self.assertEqual(len(await self.delivered(self.bob.workspace)), 2)

    async def test_quota_of_messages_at_once(self) -> None:
        """However many come at once, no more are taken than there is room for."""
        text = self.abroad()
        await self.change("UPDATE mailboxes SET quota = %s", 3 * len(text.encode()))

        def message() -> dict[str, object]:
            return {"Message": self.abroad(), "Domain": ELSEWHERE}

        asked = [self.client_.request("SEND", message()).addErrback(lambda _: None) for _ in range(4)]
        others = [await self.enter(self.alice) for _ in range(3)]
        asked += [client.request("SEND", message()).addErrback(lambda _: None) for client in others]
        accepted = [answer for answer in [await one for one in asked] if answer is not None]
        self.assertEqual(len(accepted), 3)
        await self.assert_stored(3)

    async def test_quota_of_messages_together(self) -> None:
        """Of messages that are accepted in one transaction as many are taken as there is room for."""
        clients = [self.client_, *[await self.enter(self.alice) for _ in range(3)]]
        texts = [self.abroad() for _ in clients]
        await self.change("UPDATE mailboxes SET quota = %s", 3 * len(texts[0].encode()))
        acceptor = self.service.assembly.acceptor
        # As while other transactions are under way.
        acceptor._running = 2
        asked = [
            Deferred.fromCoroutine(self.hand_in(text, client=client))
            for text, client in zip(texts, clients, strict=True)
        ]
        await until(lambda: len(acceptor._waiting) == len(texts))
        acceptor._running = 0
        acceptor._begin()
        statuses = sorted([(await one).status for one in asked])
        self.assertEqual(statuses, [Status.OK] * 3 + [Status.QUOTA_INSUFFICIENT])
        await self.assert_stored(3)

    async def test_rate(self) -> None:
        """25 messages of a device within any 60 seconds, whatever the sessions; then 414."""
        self.allow(25)
        clock = self.time_limits()
        clients = [self.client_, await self.enter(self.alice), await self.enter(self.alice)]
        asked = [
            Deferred.fromCoroutine(self.hand_in(self.abroad(), client=client))
            for client in clients
            for _ in range(10)
        ]
        statuses = [(await one).status for one in asked]
        self.assertEqual(statuses.count(Status.OK), 25)
        self.assertEqual(statuses.count(Status.LIMIT_REACHED), 5)
        await self.assert_stored(25)
        # One of them leaves the window, so that one more may come.
        clock.advance(61)
        await self.change("UPDATE device_sends SET times[1] = times[1] - interval '61 seconds'")
        statuses = [(await self.hand_in(self.abroad())).status for _ in range(2)]
        self.assertEqual(statuses, [Status.OK, Status.LIMIT_REACHED])
        self.assertEqual(await self.value(HANDED_IN), 25)

    async def test_rate_when_the_clock_was_set_back(self) -> None:
        """Messages of a time that is yet to come keep nobody from sending for longer than a minute."""
        self.allow(2)
        await self.hand_in(self.abroad())
        await self.change(
            "UPDATE device_sends SET slot = 2,"
            " times = ARRAY[now() + interval '1 hour', now() + interval '2 hours']"
        )
        statuses = [(await self.hand_in(self.abroad())).status for _ in range(3)]
        self.assertEqual(statuses, [Status.OK, Status.OK, Status.LIMIT_REACHED])

    async def test_refused_from_memory(self) -> None:
        """Until one more message may come, the database is not asked; without a limit all goes on."""
        self.allow(2)
        clock = self.time_limits()
        statuses = [(await self.hand_in(self.abroad())).status for _ in range(3)]
        self.assertEqual(statuses, [Status.OK, Status.OK, Status.LIMIT_REACHED])
        await self.change("UPDATE device_sends SET times = '{-infinity}'")
        self.assertEqual((await self.hand_in(self.abroad())).status, Status.LIMIT_REACHED)
        clock.advance(59)
        self.assertEqual((await self.hand_in(self.abroad())).status, Status.LIMIT_REACHED)
        self.allow(0)
        self.assertEqual((await self.hand_in(self.abroad())).status, Status.OK)
        self.allow(2)
        clock.advance(2)
        self.assertEqual((await self.hand_in(self.abroad())).status, Status.OK)

    async def test_rate_within_a_quota(self) -> None:
        """A workspace with a quota is counted as well, and what it has no room for is not."""
        self.allow(2)
        await self.change("UPDATE mailboxes SET quota = 1")
        await self.assert_refused(self.abroad(), Status.QUOTA_INSUFFICIENT)
        await self.change("UPDATE mailboxes SET quota = 1000000")
        statuses = [(await self.hand_in(self.abroad())).status for _ in range(3)]
        self.assertEqual(statuses, [Status.OK, Status.OK, Status.LIMIT_REACHED])

    async def test_little_disk(self) -> None:
        """With too little free disk nothing is taken, and nothing of it stays."""
        self.watch_store().free = 4.9
        info = await self.assert_refused(self.abroad(), Status.SERVER_UNAVAILABLE)
        self.assertIn("disk", info)

    async def test_broken_disk(self) -> None:
        """What cannot be written is not accepted, and nothing of it stays."""
        self.limit_inline(0)
        lines = self.captured_log()

        def fail(key: ContentKey) -> None:
            raise OSError(28, "No space left on device")

        self.watch_store().before_write = fail
        await self.assert_refused(self.abroad(), Status.SERVER_UNAVAILABLE)
        self.assertEqual(self.on_disk(), [])
        self.assertTrue([line for line in lines if "No space left" in line])

    async def test_refused_after_it_was_written(self) -> None:
        """What was written and is refused by a limit is removed at once: nobody fills the disk with it."""
        self.limit_inline(0)
        connection = self.connect()

        def interfere(key: ContentKey) -> None:
            with connection, connection.cursor() as cursor:
                cursor.execute("UPDATE mailboxes SET quota = 1")

        self.watch_store().before_write = interfere
        await self.assert_refused(self.abroad(), Status.QUOTA_INSUFFICIENT)
        self.assertEqual(self.on_disk(), [])
        for table in ("garbage", "writings"):
            self.assertEqual(await self.value(f"SELECT count(*) FROM {table}"), 0)

    async def test_refused_and_not_removed(self) -> None:
        """If it cannot be removed, the answer is the same; the log says so, and the cleanup finds it."""
        self.limit_inline(0)
        text = self.abroad()
        self.assertEqual((await self.hand_in(text)).status, Status.OK)
        lines = self.captured_log()

        def fail(key: ContentKey) -> None:
            raise OSError(EIO, "Input/output error")

        self.watch_store().before_remove = fail
        self.assertEqual((await self.hand_in(text)).status, Status.OK)
        self.assertTrue([line for line in lines if "could not be removed" in line])
        self.assertEqual(len(self.on_disk()), 2)
        self.assertEqual(await self.value("SELECT count(*) FROM writings"), 1)

    async def test_refused_before_it_is_written(self) -> None:
        """What has no room is not written at all."""
        self.limit_inline(0)
        await self.change("UPDATE mailboxes SET quota = 1")
        written: list[ContentKey] = []
        self.watch_store().before_write = written.append
        await self.assert_refused(self.abroad(), Status.QUOTA_INSUFFICIENT)
        self.assertEqual(written, [])

    async def test_refused_by_the_rate(self) -> None:
        """What is one too many is removed at once; what was accepted before is known, too, at the limit."""
        self.limit_inline(0)
        self.allow(2)
        text = self.abroad()
        answers = [await self.hand_in(each) for each in (text, self.abroad(), self.abroad(), text)]
        statuses = [Status.OK, Status.OK, Status.LIMIT_REACHED, Status.OK]
        self.assertEqual([answer.status for answer in answers], statuses)
        self.assertEqual(answers[3].data, answers[0].data)
        self.assertEqual(len(self.on_disk()), 2)
        self.assertEqual(await self.value("SELECT count(*) FROM writings"), 0)

    async def test_taken_for_dead(self) -> None:
        """What took so long to write that its writer counted as dead is not accepted, and becomes garbage."""
        self.limit_inline(0)
        connection = self.connect()

        def interfere(key: ContentKey) -> None:
            with connection, connection.cursor() as cursor:
                cursor.execute("DELETE FROM writings")

        self.watch_store().before_write = interfere
        await self.assert_refused(self.abroad(), Status.SERVER_UNAVAILABLE)
        self.assertEqual(len(self.on_disk()), 1)
        await self.assert_answer(self.client_, "IDLE", {}, Status.OK)
