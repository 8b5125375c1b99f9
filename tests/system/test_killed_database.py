"""Messages handed in while PostgreSQL is killed (spec 04, *Sending*)."""

import os
import signal
from collections import Counter
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater

from mensagod.client.connection import ClientConnection
from mensagod.postgres.cluster import Cluster
from mensagod.postgres.embedded import EmbeddedPostgres
from mensagod.process.accounts import service_account
from mensagod.status import Status
from mensagod.storage import schema
from mensagod.storage.connections import connect
from mensagod.storage.migrations import migrate
from tests.delivery.mail import MailTestCase
from tests.directories import scratch_of
from tests.waiting import until


class KilledDatabaseTests(MailTestCase):
    """A server with a PostgreSQL of its own."""

    async def _set_up(self) -> None:
        self.cluster = scratch_of(self, "killed") / "postgresql"
        account = service_account("nobody") if os.geteuid() == 0 else None
        postgres = EmbeddedPostgres(reactor, Cluster(self.cluster, account=account))
        self.addCleanup(postgres.stop)
        self.own = await postgres.start()
        connection = connect(self.own)
        migrate(connection, schema.DIRECTORY)
        connection.close()
        await super()._set_up()

    def make_database(self) -> dict[str, Any]:
        return self.own

    def postmaster(self) -> int | None:
        """Give the process of the database that runs or starts; ``None`` while there is none."""
        try:
            return int((self.cluster / "data" / "postmaster.pid").read_text().split()[0])
        except (FileNotFoundError, IndexError):
            return None

    async def kill(self) -> None:
        """Kill the database, and wait for the next one: what it had started may answer for a moment more."""
        killed = self.postmaster()
        assert killed is not None
        os.kill(killed, signal.SIGKILL)
        await until(lambda: self.postmaster() not in {None, killed})

    async def hand_in(self, client: ClientConnection) -> None:
        """Hand in messages until told to stop, each until it is accepted, and note the answers."""
        while self.busy:
            fields = {"Message": self.letter(), "Domain": "example.com"}
            while (answer := await self.ask(client, "SEND", fields)).status is not Status.OK:
                self.answers[answer.status] += 1
                await deferLater(reactor, 0.05)
            self.answers[Status.OK] += 1

    async def test_killed(self) -> None:
        """SEND answers 200 or 303, and each message, repeated until it got a 200, arrives once."""
        self.busy, self.answers = True, Counter[Status]()
        clients = [self.client_, *[await self.enter(self.alice) for _ in range(5)]]
        senders = gatherResults([Deferred.fromCoroutine(self.hand_in(client)) for client in clients])
        for _ in range(2):
            await deferLater(reactor, 0.4)
            await self.kill()
            before = self.answers[Status.OK]
            while self.answers[Status.OK] < before + 30:
                await deferLater(reactor, 0.05)
        self.busy = False
        await senders
        self.assertEqual(set(self.answers), {Status.OK, Status.SERVER_UNAVAILABLE})
        await until(lambda: self.database.available)
        await self.until("SELECT count(*) = 0 FROM queue")
        self.assertEqual(len(await self.delivered(self.bob.workspace)), self.answers[Status.OK])
        await self.assert_consistent()
        self.assertEqual(self.flushLoggedErrors(), [])
