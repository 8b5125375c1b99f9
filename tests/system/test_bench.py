"""The benchmarks of messages against a real server: their users, senders and recipients."""

from typing import Any

from attrs import evolve
from twisted.internet.threads import deferToThread

from bench import people
from bench.mailboxes import wait_delivered
from bench.messages import open_post
from bench.wire import WrongAnswer
from mensagod.config import Config
from tests.serving import ADMIN, CODE, ServerTestCase

SECONDS = 0.05
"""How long a round sends here."""


class BenchTests(ServerTestCase):
    """Rounds with two senders."""

    def configure(self, config: Config) -> Config:
        return evolve(config, security=evolve(config.security, registration_delay_min=0))

    async def prepare(self) -> None:
        await super().prepare()
        self.patch(people, "SENDERS", 2)
        self.patch(people, "DOWNLOAD_SIZE", 70_000)
        key = str(self.organization.encryption.public)
        made = {"admin": str(ADMIN), "code": CODE, "organization_key": key}
        self.made: dict[str, Any] = await deferToThread(people.settle, self.port, made)

    async def post(self, senders: int, mailboxes: int) -> Any:
        """Open the connections of senders and recipients, closed after the test."""
        post = await deferToThread(open_post, 1627, senders, mailboxes, self.made, [self.port])
        for connection in (*post.senders, *(mailbox.connection for mailbox in post.mailboxes)):
            self.addCleanup(connection.close)
        return post

    async def test_people(self) -> None:
        """As many receive as send, and there is a file to download."""
        self.assertEqual([len(self.made[kind]) for kind in ("senders", "recipients")], [2, 2])
        self.assertGreater(self.made["download_size"], 69_000)

    async def test_deliver(self) -> None:
        """All messages of a round are delivered before it is over; the next round counts its own ones."""
        for senders, mailboxes in ((2, 2), (2, 1), (1, 1)):
            post = await self.post(senders, mailboxes)
            for _ in range(2):
                accepted, delivered, number = await deferToThread(post.deliver, SECONDS)
                self.assertGreaterEqual(number, senders)
                self.assertGreater(accepted, 0)
                self.assertGreater(delivered, 0)

    async def test_push(self) -> None:
        """The recipient is told of each message."""
        post = await self.post(1, 1)
        median, worst, number = await deferToThread(post.push, SECONDS)
        self.assertGreaterEqual(number, 1)
        self.assertTrue(0 < median <= worst)

    async def test_watch(self) -> None:
        """Each message is found in its mailbox and told by its content, in every round."""
        post = await self.post(2, 1)
        for _ in range(2):
            _, _, number = await deferToThread(post.watch, SECONDS)
            self.assertEqual(len(post.answered), number)
            self.assertEqual(len({path for _, path, _ in post.seen}), number)

    async def test_one_too_many(self) -> None:
        """A message that is delivered twice is noticed."""
        post = await self.post(1, 1)
        _, _, number = await deferToThread(post.deliver, SECONDS)
        with self.assertRaises(WrongAnswer):
            await deferToThread(wait_delivered, post.mailboxes, [number - 1])
