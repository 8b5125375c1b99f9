"""Servers behind a real pgbouncer in transaction mode (spec 06, *Database*)."""

import warnings
from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred, gatherResults

from mensagod.client.connection import ClientConnection
from mensagod.client.files import download, list_files
from mensagod.client.sending import send
from mensagod.client.updates import get_updates
from mensagod.config import Config
from mensagod.config.choices import Hints
from mensagod.config.tables import ClusterTable
from mensagod.status import Status
from mensagod.values.paths import ServerPath
from tests.delivery.letters import letter
from tests.pooler import PGBOUNCER, Pooler
from tests.serving import DOMAIN, Person
from tests.system.connections import in_thread
from tests.system.test_faults import OwnCluster
from tests.system.test_hints import PROMISED_SECONDS, SLACK_SECONDS, HintsTestCase, now
from tests.waiting import until

POOL_SIZE = 2
CONNECTIONS = 8
FLOOD = 32
"""For each server no more than may wait for their passwords to be checked."""

NOTICED_SECONDS = 10
"""Twice what a database that does not answer is given."""


class PoolerTestCase(HintsTestCase):
    """Two servers, each with more connections to the pooler than it has to PostgreSQL in all."""

    def make_database(self) -> dict[str, Any]:
        self.own = OwnCluster()
        self.addCleanup(self.own.remove)
        self.pooler = Pooler.start(self.own.cluster.directory, POOL_SIZE)
        self.addCleanup(self.pooler.stop)
        return self.pooler.parameters("postgres")

    def direct(self) -> dict[str, Any]:
        return self.own.parameters

    def configure(self, config: Config) -> Config:
        database = evolve(config.database, pool_max=CONNECTIONS)
        cluster = ClusterTable(listen_url=self.way_around())
        return super().configure(evolve(config, database=database, cluster=cluster))

    async def backends(self) -> int:
        """Count the connections of the pooler to PostgreSQL."""
        found = await in_thread(self.pooler.ask, "SHOW SERVERS")
        return len(found)

    async def assert_told(self) -> None:
        """Change something, and have it told at both servers in time."""
        self.assertLess(max(await self.measure(5)), PROMISED_SECONDS + SLACK_SECONDS)

    async def write_first_message(self) -> None:
        """Have two people register; what one sends the other is told of, lists and downloads."""
        admin, _ = await self.admin()
        client, carol = await self.member(admin, "carol")
        other, dave = await self.member(admin, "dave")
        message = letter(self.organization.encryption, carol.address, dave.address, payload=bytes(9000))
        await send(client, message, DOMAIN)
        await self.until_told(other)
        new = ServerPath.new_messages(dave.workspace)
        [name] = await list_files(other, new)
        self.assertEqual(await download(other, new.child(name)), message.encode())
        updates = await get_updates(other, 0)
        self.assertEqual([record.data for record in updates.records], [str(new.child(name))])


class PooledPollTests(PoolerTestCase):
    """With hints that are asked for, nothing goes around the pooler."""

    hints = Hints.POLL

    def configure(self, config: Config) -> Config:
        return evolve(super().configure(config), cluster=ClusterTable(hints=self.hints))

    async def test_conversation(self) -> None:
        """A first message arrives as without a pooler, and other servers tell of changes within a second."""
        await self.write_first_message()
        await self.assert_told()


class PooledPgTests(PoolerTestCase):
    """With notifications on a connection that goes around the pooler."""

    async def test_conversation(self) -> None:
        """A first message arrives as without a pooler, and other servers tell of changes within a second."""
        await self.write_first_message()
        await self.assert_told()

    async def enter_there(self, number: int, person: Person) -> ClientConnection:
        """Log in at one server or the other."""
        service = (self.service, self.other)[number % 2]
        client = await self.client(int(service.listeners.addresses[0].rpartition(":")[2]))
        await self.log_in(client, person)
        return client

    async def test_login_flood(self) -> None:
        """Many log in at once, at both servers: all are let in, and work, over two connections."""
        people = [await self.settle() for _ in range(FLOOD)]
        entering = [Deferred.fromCoroutine(self.enter_there(*one)) for one in enumerate(people)]
        clients = await gatherResults(entering, consumeErrors=True)
        for person, client in zip(people, clients, strict=True):
            await client.request("EXISTS", {"Path": f"/ wsp {person.workspace}"}, Status.OK)
        self.assertLessEqual(await self.backends(), POOL_SIZE)
        self.assertGreater(await self.backends(), 0)

    async def test_goes_and_comes(self) -> None:
        """While PostgreSQL is away the pooler keeps clients waiting: they hear 303, and go on afterwards."""
        path = {"Path": f"/ wsp {self.alice.workspace}"}
        await in_thread(self.own.stop)
        begun = now()
        await self.client_.request("EXISTS", path, Status.SERVER_UNAVAILABLE)
        self.assertLess(now() - begun, NOTICED_SECONDS)
        await until(lambda: not self.service.assembly.database.available)
        await self.client_.request("EXISTS", path, Status.SERVER_UNAVAILABLE)
        await in_thread(self.own.start)
        await until(lambda: self.service.assembly.database.available)
        await self.client_.request("EXISTS", path, Status.OK)
        await self.send()
        await self.until_told(self.near)


if PGBOUNCER is None:
    warnings.warn("there is no pgbouncer here: nothing is tested behind a pooler", stacklevel=1)
    del PooledPollTests, PooledPgTests
