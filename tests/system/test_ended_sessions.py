"""Sessions that others end, with two servers on one database (spec 06, *Running many*)."""

from collections import deque
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from mensagod.client.connection import ClientConnection
from mensagod.lifecycle.patience import PatientPart
from mensagod.server.service import MensagoService
from mensagod.sessions.recovery import Recovery
from mensagod.sharing.heartbeat import Heartbeat
from mensagod.status import Status
from mensagod.storage import events, sessions
from mensagod.values.identity import DeviceID
from tests.serving import Person, ServerTestCase
from tests.storage.waiting import until_someone_waits
from tests.waiting import until

PROMISED_SECONDS = 1
SLACK_SECONDS = 2
"""The machine of a test may be busy."""


class EndedSessionsTests(ServerTestCase):
    async def prepare(self) -> None:
        await super().prepare()
        self.other = await self.serve(self.configure(self.base_config()))
        self.alice, self.bob = await self.settle("alice"), await self.settle("bob")
        # Who has just started looks at its sessions once.
        recoveries = [part for service in (self.service, self.other) for part in service.parts.parts]
        await until(lambda: not any(part._events_missed for part in recoveries if isinstance(part, Recovery)))

    async def enter_other(self, person: Person) -> ClientConnection:
        """Log in at the other server."""
        client = await self.client(int(self.other.listeners.addresses[0].rpartition(":")[2]))
        await self.log_in(client, person)
        return client

    async def end(self, person: Person, **which: Any) -> float:
        """End sessions as a third process does; give the time."""
        await self.database.run(sessions.end_sessions, person.workspace, reason="a reason", **which)
        return IReactorTime(reactor).seconds()

    async def assert_served(self, *clients: ClientConnection) -> None:
        for client in clients:
            await client.request("EXISTS", {"Path": "/"}, Status.OK, Status.NOT_FOUND, Status.FORBIDDEN)

    async def assert_ended(self, since: float, *clients: ClientConnection) -> None:
        for client in clients:
            await client.wait_closed()
        self.assertLess(IReactorTime(reactor).seconds() - since, PROMISED_SECONDS + SLACK_SECONDS)

    def heart(self, service: MensagoService) -> Heartbeat:
        found = [
            part.part
            for part in service.parts.parts
            if isinstance(part, PatientPart) and isinstance(part.part, Heartbeat)
        ]
        return found[0]

    async def take_for_dead(self) -> None:
        """Remove the rows of all processes and of their sessions."""
        for table in ("sessions", "processes"):
            await self.change(f"DELETE FROM {table}")

    async def row_of(self, service: MensagoService) -> Any:
        """Give the row of the only session at a server."""
        process = service.assembly.sessions.process
        return await self.value("SELECT id FROM sessions WHERE process = %s", process)

    async def test_all(self) -> None:
        """All sessions of a workspace end, at both servers; others go on, and a new login is let in."""
        first, second = await self.enter(self.alice), await self.enter_other(self.alice)
        bob = await self.enter(self.bob)
        await self.assert_ended(await self.end(self.alice), first, second)
        await self.assert_served(bob, await self.enter(self.alice))
        self.assertEqual(await self.value("SELECT count(*) FROM sessions"), 2)

    async def test_spare(self) -> None:
        """The one that is spared goes on."""
        spared = await self.enter(self.alice)
        spare = await self.row_of(self.service)
        ended = await self.enter_other(self.alice)
        await self.assert_ended(await self.end(self.alice, spare=spare), ended)
        await self.assert_served(spared)

    async def test_device(self) -> None:
        """Another device's sessions go on."""
        client = await self.enter(self.alice)
        await self.end(self.alice, device=DeviceID.random())
        await self.assert_ended(await self.end(self.bob))
        await self.assert_served(client)
        await self.assert_ended(await self.end(self.alice, device=self.alice.device), client)

    async def test_while_it_logs_in(self) -> None:
        """A login that has begun before others end the sessions, and is done after that, is one of these."""
        client = await self.client()
        holder = self.connect()
        with holder.cursor() as cursor:
            cursor.execute(
                "SELECT FROM mailboxes WHERE workspace = %s FOR UPDATE", (self.alice.workspace.uuid,)
            )
        logging_in = Deferred.fromCoroutine(self.log_in(client, self.alice))
        await self.database.read(until_someone_waits)
        since = await self.end(self.alice)
        await until(lambda: self.service.assembly.sessions._endings != deque())
        holder.rollback()
        await logging_in
        await self.assert_ended(since, client)

    async def test_lost_row(self) -> None:
        """A session ends that has no row, because its process was taken for dead."""
        client = await self.enter(self.alice)
        await self.take_for_dead()
        await self.assert_ended(await self.end(self.alice), client)

    async def test_taken_for_dead(self) -> None:
        """A process that was taken for dead has its rows again; sessions that may not go on end."""
        client, blocked = await self.enter(self.alice), await self.enter(self.bob)
        row = await self.value("SELECT id FROM sessions WHERE workspace = %s", self.alice.workspace.uuid)
        await self.take_for_dead()
        await self.change("UPDATE devices SET status = 'blocked' WHERE id = %s", self.bob.device.uuid)
        await self.heart(self.service)._beat()
        await blocked.wait_closed()
        await self.assert_served(client)
        self.assertEqual([found.id for found in await self.rows("SELECT id FROM sessions")], [row])

    async def test_missed(self) -> None:
        """A process that missed events ends the sessions that have no row, and no others."""
        client, lost = await self.enter(self.alice), await self.enter(self.bob)
        await self.change("DELETE FROM sessions WHERE workspace = %s", self.bob.workspace.uuid)

        def skip(txn: Any) -> None:
            sessions.end_sessions(txn, self.alice.workspace, device=DeviceID.random(), reason="forgotten")
            txn.execute("DELETE FROM events")

        await self.database.run(skip)
        await lost.wait_closed()
        await self.assert_served(client)
        self.assertEqual((await self.database.read(events.read_after, 0)).events, ())

    async def test_stop(self) -> None:
        """A server that stops leaves neither its sessions nor itself behind."""
        await self.enter_other(self.alice)
        await self.other.stopService()
        self.assertEqual(await self.value("SELECT count(*) FROM sessions"), 0)
        self.assertEqual(await self.value("SELECT count(*) FROM processes"), 1)
