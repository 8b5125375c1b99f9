"""Working the queue of a real server: leases, retries, several processes (spec 05, *The queue*)."""

import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from time import monotonic, time
from typing import Any

from psycopg2.errors import UndefinedTable
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock, deferLater

from mensagod.delivery.cleanup import SWEEP_AGE
from mensagod.delivery.database_queue import DatabaseQueue
from mensagod.delivery.results import Delivered
from mensagod.delivery.service import POLL_SECONDS, RENEW_SECONDS, DeliveryService
from mensagod.storage import queue
from mensagod.storage.clocks import CONFIRM_SECONDS
from mensagod.storage.queue import LeaseLost, Queued
from mensagod.values.identity import SERVER_WORKSPACE, Domain, WAddress, WorkspaceID
from mensagod.values.paths import FileName, ServerPath
from tests.delivery.mail import MailTestCase, is_busy, local_route

ELSEWHERE = Domain.from_text("example.org")


class RetryTests(MailTestCase):
    """What may pass is tried again."""

    async def test_given_up(self) -> None:
        """After the age limit a try that fails is the last, ten minutes after one that failed, too: 502."""
        abroad = await self.send(WAddress(self.bob.workspace, ELSEWHERE))
        await self.outcome(abroad)
        hours = self.service.server.config.federation.max_queue_age
        age = timedelta(hours=hours, seconds=1)
        await self.change("UPDATE queue SET due = now(), accepted = now() - %s", age)
        self.service.assembly.delivery.wake()
        await self.until("SELECT attempts = 2 AND lease IS NULL FROM queue")
        row = await self.outcome(abroad)
        self.assertEqual((row.state, row.code), ("queued", 501))
        self.pass_ten_minutes()
        await self.change("UPDATE queue SET due = now()")
        self.service.assembly.delivery.wake()
        await self.until("SELECT state = 'failed' FROM queue")
        row = await self.outcome(abroad)
        self.assertEqual((row.state, row.code), ("failed", 502))

    def pass_ten_minutes(self) -> None:
        """Have all clocks be ten minutes further."""
        clocks = self.service.assembly.clocks
        clocks.steady = lambda: monotonic() + CONFIRM_SECONDS
        clocks.machine = lambda: datetime.now(UTC) + timedelta(seconds=CONFIRM_SECONDS)
        clocks.note(clocks.machine())

    async def test_held_message_ages_from_its_time(self) -> None:
        """A message that its sender held back is not given up for having waited."""
        due = datetime.now(UTC) + timedelta(days=30)
        name = await self.send(WAddress(self.bob.workspace, ELSEWHERE), send_time=due)
        await self.change("UPDATE queue SET due = now()")
        self.service.assembly.delivery.wake()
        row = await self.outcome(name)
        self.assertEqual((row.state, row.code), ("queued", 501))

    async def test_unready_server(self) -> None:
        """Without keys nothing is lost: the claim runs out."""
        server = self.service.server
        keyring, server.keys.keyring = server.keyring, None
        # SEND itself needs the keys, so that the row is put there by hand.
        name = FileName.make(1, 5)
        path = ServerPath.outgoing(self.alice.workspace).child(name)
        server.store.write(path, b"hello")
        lines = self.captured_log()
        await self.put_row(name)
        server.delivery.wake()
        while not [line for line in lines if "waits for the database" in line]:
            await deferLater(reactor, 0.01)
        self.assertEqual(await self.value("SELECT state FROM queue"), "queued")
        server.keys.keyring = keyring
        await self.change("UPDATE queue SET lease_until = now() - interval '1 second'")
        server.delivery.wake()
        self.assertEqual((await self.outcome(name)).code, 504)

    async def put_row(self, name: FileName) -> None:
        await self.change(
            "INSERT INTO queue (id, sender, device, sender_domain, domain, name, size, state, due)"
            " VALUES (gen_random_uuid(), %s, %s, 'example.com', 'example.com', %s, %s, 'queued', now())",
            self.alice.workspace.uuid,
            self.alice.device.uuid,
            name.text,
            name.size,
        )


class LeaseTests(MailTestCase):
    """Who holds a message, and for how long."""

    async def claimed(self) -> Queued:
        """Have a message in the queue, claimed by nobody who lives."""
        await self.service.assembly.delivery.stopService()
        await self.send()
        (message,) = await self.database.run(queue.claim, 9)
        return message

    async def expire(self) -> None:
        await self.change("UPDATE queue SET lease_until = now() - interval '1 second'")

    async def test_delivery_without_lease(self) -> None:
        """A delivery that goes on after its lease was lost neither doubles nor moves the message."""
        first = await self.claimed()
        await self.expire()
        (second,) = await self.database.run(queue.claim, 9)
        route = local_route(self.service.assembly.delivery)
        results = await route.deliver([first])
        self.assertIsInstance(results[first.id], LeaseLost)
        self.assertEqual(self.on_disk("out"), [first.name.text])
        self.assertEqual(await route.deliver([second]), {second.id: Delivered()})
        self.assertEqual(await self.delivered(self.bob.workspace), self.on_disk("wsp"))
        await self.assert_consistent()

    async def test_taken_over_by_the_same_process(self) -> None:
        """A process that was held up and claims its own message again delivers it once, to one place."""
        gate = self.gate()
        self.watch_store().before_open = gate
        await self.send()
        await gate.holds()
        await self.expire()
        delivery = self.service.assembly.delivery
        delivery.wake()
        await self.until("SELECT count(*) = 0 FROM queue")
        gate.open()
        while is_busy(delivery):
            await deferLater(reactor, 0.01)
        self.assertEqual(len(await self.delivered(self.bob.workspace)), 1)
        await self.assert_consistent()

    async def test_held_up_before_the_move(self) -> None:
        """A worker that is held up before it moves the file finds it moved, and doubles nothing."""
        gate = self.gate()
        self.watch_store().before_move = gate
        await self.send()
        await gate.holds()
        await self.expire()
        other = await self.serve(self.service.server.config)
        await self.until("SELECT count(*) = 0 FROM queue")
        gate.open()
        while is_busy(self.service.assembly.delivery) or is_busy(other.assembly.delivery):
            await deferLater(reactor, 0.01)
        self.assertEqual(len(await self.delivered(self.bob.workspace)), 1)
        await self.assert_consistent()


class ServiceTests(MailTestCase):
    """The service itself, in a time of its own."""

    async def clocked(self) -> tuple[Clock, DeliveryService]:
        """Replace the server's workers by those of a service whose time the test makes."""
        server = self.service.server
        delivery = self.service.assembly.delivery
        await delivery.stopService()
        clock = Clock()
        service = DeliveryService(
            reactor=clock,
            config=lambda: server.config,
            queue=DatabaseQueue(server.database),
            routes=[lane.route for lane in delivery.lanes],
            clocks=self.service.assembly.clocks,
        )
        return clock, service

    async def test_takes_over_from_the_dead(self) -> None:
        """Messages of a dead process are taken at the first look after their lease."""
        clock, service = await self.clocked()
        await self.send()
        await self.database.run(queue.claim, 9)
        service.startService()
        await self.settled(service)
        self.assertEqual(await self.delivered(self.bob.workspace), [])
        await self.change("UPDATE queue SET lease_until = now() - interval '1 second'")
        clock.advance(POLL_SECONDS)
        await self.until("SELECT count(*) = 0 FROM queue")
        self.assertEqual(len(await self.delivered(self.bob.workspace)), 1)
        await self.settled(service)
        await service.stopService()

    async def test_told(self) -> None:
        """What is handed in is delivered at once, and not only at the next look."""
        clock, service = await self.working()
        await self.send()
        clock.advance(0)
        await self.until("SELECT count(*) = 0 FROM queue")
        await self.settled(service)
        await service.stopService()
        self.assertEqual(clock.getDelayedCalls(), [])

    async def test_hand_overs(self) -> None:
        """A message is handed to a thread three times before the sender has the answer, nine times in all."""
        clock, service = await self.working()
        server = self.service.server
        steps: list[str] = []

        def note(work: Callable[..., Any], module: str) -> Callable[..., Any]:
            def run(step: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
                if step.__module__.startswith(module):
                    steps.append(step.__name__)
                return work(step, *args, **kwargs)

            return run

        for name in ("run", "write", "read"):
            for module in ("mensagod.storage.queue", "mensagod.delivery"):
                self.patch(server.database, name, note(getattr(server.database, name), module))
        self.patch(server.files, "run", note(server.files.run, "mensagod"))
        await self.send()
        self.assertEqual(steps, ["reserve", "_write", "accept"])
        clock.advance(0)
        await self.settled(service)
        clock.advance(0)
        await self.settled(service)
        delivery = ["claim", "_read_labels", "aim", "_move_files", "place", "claim"]
        self.assertEqual(steps[3:], delivery)
        self.assertEqual(len(await self.delivered(self.bob.workspace)), 1)
        await service.stopService()

    async def working(self) -> tuple[Clock, DeliveryService]:
        """Have a service that runs, and that SEND wakes."""
        clock, service = await self.clocked()
        server = self.service.server
        self.addCleanup(setattr, server, "delivery", server.delivery)
        server.delivery = service
        service.startService()
        await self.settled(service)
        return clock, service

    async def settled(self, service: DeliveryService) -> None:
        while is_busy(service):
            await deferLater(reactor, 0.01)

    async def test_renews_what_it_works_on(self) -> None:
        """While a delivery lasts its lease is prolonged."""
        clock, service = await self.clocked()
        gate = self.gate()
        self.watch_store().before_move = gate
        await self.send()
        service.startService()
        await gate.holds()
        await self.change("UPDATE queue SET lease_until = now() + interval '1 second'")
        clock.advance(RENEW_SECONDS)
        await self.until("SELECT lease_until > now() + interval '5 seconds' FROM queue")
        # Stopping waits for what runs.
        stopped = service.stopService()
        self.assertFalse(stopped.called)
        gate.open()
        await stopped
        self.assertEqual(len(await self.delivered(self.bob.workspace)), 1)
        self.assertEqual(clock.getDelayedCalls(), [])

    def leave(self, path: ServerPath, age: float) -> None:
        """Put a file on the disk that nobody wrote down, so many seconds old."""
        self.service.server.store.write(path, b"hello")
        written = time() - age
        os.utime(self.directory / "data" / "/".join(path.elements), (written, written))

    async def test_sweeps(self) -> None:
        """A server that starts removes old files that belong to no message, and no others."""
        await self.send(send_time=datetime.now(UTC) + timedelta(days=1))
        await self.change("UPDATE queue SET state = 'failed'")
        known = self.on_disk("out")
        for file in (self.directory / "data" / "out").rglob("*.*"):
            os.utime(file, (1, 1))
        lines = self.captured_log()
        own, other = (ServerPath.outgoing(wid) for wid in (self.alice.workspace, WorkspaceID.random()))
        young, strange = own.child(FileName.make(2, 5)), other.child(FileName.make(3, 5))
        for path, age in (
            (own.child(FileName.make(1, 5)), SWEEP_AGE + 60),
            (ServerPath.outgoing(SERVER_WORKSPACE).child(FileName.make(1, 5)), SWEEP_AGE + 60),
            (young, SWEEP_AGE - 60),
            (strange, SWEEP_AGE + 60),
        ):
            self.leave(path, age)
        await self.serve(self.service.server.config)
        while len([line for line in lines if "belongs to no message" in line]) < 2:
            await deferLater(reactor, 0.01)
        self.assertEqual(self.on_disk("out"), sorted([*known, young.name, strange.name]))

    async def test_turn_that_fails(self) -> None:
        """A claim that fails is logged, and the next one is made."""
        clock, service = await self.clocked()
        await self.change("ALTER TABLE queue RENAME TO elsewhere")
        service.startService()
        await self.settled(service)
        self.assertEqual(len(self.flushLoggedErrors(UndefinedTable)), 1)
        await self.change("ALTER TABLE elsewhere RENAME TO queue")
        await self.settled(service)
        await self.send()
        clock.advance(POLL_SECONDS)
        await self.until("SELECT count(*) = 0 FROM queue")
        await self.settled(service)
        await service.stopService()


class ManyTests(MailTestCase):
    """Several processes and many messages."""

    async def test_two_processes(self) -> None:
        """Two processes share one queue: each message arrives once, in one order."""
        other = await self.serve(self.service.server.config)
        both = (self.service.assembly.delivery, other.assembly.delivery)
        clients = [self.client_, await self.enter(self.alice), await self.enter(self.alice)]
        sent: list[Deferred[Any]] = []
        for number in range(45):
            message = {"Message": self.letter(), "Domain": "example.com"}
            sent.append(clients[number % 3].request("SEND", message))
            both[number % 2].wake()
        for one in sent:
            await one
        await self.until("SELECT count(*) = 0 FROM queue")
        while any(is_busy(service) for service in both):
            await deferLater(reactor, 0.01)
        self.assertEqual(len(await self.delivered(self.bob.workspace)), 45)
        rows = await self.rows("SELECT number, time FROM updates ORDER BY number")
        self.assertEqual([row.number for row in rows], list(range(1, 46)))
        self.assertEqual([row.time for row in rows], sorted(row.time for row in rows))
        await self.assert_consistent()
