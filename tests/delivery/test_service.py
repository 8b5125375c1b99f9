"""Working the queue: leases, retries, several processes (spec 05, *The queue*)."""

import os
from datetime import UTC, datetime, timedelta
from time import time
from typing import Any

from attrs import evolve
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock, deferLater

from mensagod.delivery import service as delivery
from mensagod.delivery.local import Placed
from mensagod.delivery.service import (
    CLEAN_SECONDS,
    PAUSE_SECONDS,
    POLL_SECONDS,
    RENEW_SECONDS,
    SWEEP_AGE,
    SWEEP_SECONDS,
    DeliveryService,
)
from mensagod.storage import queue
from mensagod.storage.queue import LEASE_SECONDS, LeaseLost, Queued
from mensagod.values.identity import SERVER_WORKSPACE, Domain, WAddress, WorkspaceID
from mensagod.values.paths import FileName, ServerPath
from tests.delivery.mail import MailTestCase

ELSEWHERE = Domain.from_text("example.org")


class RetryTests(MailTestCase):
    """What may pass is tried again."""

    async def test_intervals(self) -> None:
        """A foreign domain is tried at the intervals of the configuration, the last repeating."""
        begun = datetime.now(UTC)
        name = await self.send(WAddress(self.bob.workspace, ELSEWHERE))
        for attempts, wait in enumerate((60, 300, 900, 1800, 3600, 3600, 3600), 1):
            await self.until("SELECT attempts = %s FROM queue", attempts)
            row = await self.outcome(name)
            self.assertEqual((row.state, row.code), ("queued", 501))
            self.assertGreaterEqual(row.due, begun + timedelta(seconds=wait * 0.9))
            self.assertLessEqual(row.due, datetime.now(UTC) + timedelta(seconds=wait * 1.1))
            begun = datetime.now(UTC)
            await self.change("UPDATE queue SET due = now()")
            self.service.server.delivery.wake()

    async def test_given_up(self) -> None:
        """After the age limit a try that fails is the last: 502 for the way, else what it was."""
        abroad = await self.send(WAddress(self.bob.workspace, ELSEWHERE))
        await self.outcome(abroad)
        hours = self.service.server.config.federation.max_queue_age
        age = timedelta(hours=hours, seconds=1)
        await self.change("UPDATE queue SET due = now(), accepted = now() - %s", age)
        self.service.server.delivery.wake()
        await self.until("SELECT state = 'failed' FROM queue")
        row = await self.outcome(abroad)
        self.assertEqual((row.state, row.code), ("failed", 502))

    async def test_held_message_ages_from_its_time(self) -> None:
        """A message that its sender held back is not given up for having waited."""
        due = datetime.now(UTC) + timedelta(days=30)
        name = await self.send(WAddress(self.bob.workspace, ELSEWHERE), send_time=due)
        await self.change("UPDATE queue SET due = now()")
        self.service.server.delivery.wake()
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
        await self.service.server.delivery.stopService()
        await self.send()
        (message,) = await self.database.run(queue.claim, 9)
        return message

    async def expire(self) -> None:
        await self.change("UPDATE queue SET lease_until = now() - interval '1 second'")

    async def test_claims_exclude_each_other(self) -> None:
        """What one holds, no other takes; until the lease ends."""
        first = await self.claimed()
        self.assertEqual(await self.database.run(queue.claim, 9), [])
        await self.expire()
        (second,) = await self.database.run(queue.claim, 9)
        self.assertEqual((second.id, second.attempts), (first.id, 2))
        self.assertNotEqual(second.lease, first.lease)

    async def test_clock_set_back(self) -> None:
        """A lease from before the clock was set back, which would last for hours, has ended."""
        first = await self.claimed()
        await self.change("UPDATE queue SET lease_until = lease_until + interval '1 hour'")
        (second,) = await self.database.run(queue.claim, 9)
        self.assertEqual((second.id, second.attempts), (first.id, 2))
        self.assertEqual(await self.database.run(queue.claim, 9), [])

    async def test_renewal(self) -> None:
        """A renewed lease holds on; one that was lost is not renewed."""
        first = await self.claimed()
        await self.expire()
        await self.database.run(queue.renew, [first.lease])
        self.assertEqual(await self.database.run(queue.claim, 9), [])
        await self.expire()
        await self.database.run(queue.claim, 9)
        await self.expire()
        await self.database.run(queue.renew, [first.lease])
        self.assertEqual(len(await self.database.run(queue.claim, 9)), 1)

    async def test_lost_lease_changes_nothing(self) -> None:
        """Whatever a worker wants that lost its lease is not done."""
        first = await self.claimed()
        await self.expire()
        await self.database.run(queue.claim, 9)
        before = await self.rows("SELECT * FROM queue")
        for change in (
            lambda: self.database.run(queue.postpone, first.id, first.lease, seconds=1, code=501, reason="x"),
            lambda: self.database.run(queue.fail, first.id, first.lease, code=501, reason="x"),
            lambda: self.database.run(queue.accept, first.id, first.lease),
        ):
            with self.assertRaises(LeaseLost):
                await change()
        aimed = evolve(first, target=self.bob.workspace, target_name=FileName.make(1, 1))
        self.assertEqual(await self.database.run(queue.aim, [aimed]), set())
        self.assertEqual(await self.database.run(queue.finish, [first]), set())
        await self.database.run(queue.withdraw, first.id, first.lease)
        self.assertEqual(await self.rows("SELECT * FROM queue"), before)

    async def test_delivery_without_lease(self) -> None:
        """A delivery that goes on after its lease was lost neither doubles nor moves the message."""
        first = await self.claimed()
        await self.expire()
        (second,) = await self.database.run(queue.claim, 9)
        server = self.service.server
        outcomes = await server.delivery.local.deliver([first], server.keyring)
        self.assertIsInstance(outcomes[first.id], LeaseLost)
        self.assertEqual(self.on_disk("out"), [first.name.text])
        placed = (await server.delivery.local.deliver([second], server.keyring))[second.id]
        assert isinstance(placed, Placed)
        self.assertEqual(await self.delivered(self.bob.workspace), [placed.path.name])
        await self.assert_consistent()

    async def test_taken_over_by_the_same_process(self) -> None:
        """A process that was held up and claims its own message again delivers it once, to one place."""
        gate = self.gate()
        self.watch_store().before_open = gate
        await self.send()
        await gate.holds()
        await self.expire()
        delivery = self.service.server.delivery
        delivery.wake()
        await self.until("SELECT count(*) = 0 FROM queue")
        gate.open()
        while delivery._running:
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
        while self.service.server.delivery._running or other.server.delivery._running:
            await deferLater(reactor, 0.01)
        self.assertEqual(len(await self.delivered(self.bob.workspace)), 1)
        await self.assert_consistent()


class ServiceTests(MailTestCase):
    """The service itself, in a time of its own."""

    async def clocked(self) -> tuple[Clock, DeliveryService]:
        """Replace the server's workers by those of a service whose time the test makes."""
        server = self.service.server
        await server.delivery.stopService()
        clock = Clock()
        service = DeliveryService(
            reactor=clock,
            config=lambda: server.config,
            keyring=lambda: server.keyring,
            local=server.delivery.local,
            delivered=server.sessions.changed,
        )
        return clock, service

    def test_bounds(self) -> None:
        """What a dead process held goes on within 15 seconds, and leases outlive a missed renewal."""
        self.assertLess(LEASE_SECONDS + POLL_SECONDS, 15)
        self.assertLessEqual(LEASE_SECONDS, 10)
        self.assertLess(2 * RENEW_SECONDS, LEASE_SECONDS)

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

    async def test_busy(self) -> None:
        """While a worker is busy, what is handed in is gathered until that one ends, or for a short time."""
        clock, service = await self.working()
        gate = self.gate()
        self.watch_store().before_move = gate
        service.local = self.service.server.delivery.local
        await self.send()
        clock.advance(0)
        await gate.holds()
        second, third = await self.send(), await self.send()
        clock.advance(PAUSE_SECONDS / 2)
        self.assertFalse(service._claiming)
        clock.advance(PAUSE_SECONDS / 2)
        for name in (second, third):
            self.assertIsNone(await self.outcome(name))
        await self.send()
        gate.open()
        await self.until("SELECT max(attempts) = 0 FROM queue")
        clock.advance(0)
        await self.until("SELECT count(*) = 0 FROM queue")
        await self.settled(service)
        await service.stopService()

    async def test_next(self) -> None:
        """A worker that is done has the next begin at once, and not only at the next look."""
        clock, service = await self.clocked()
        self.limit_workers()
        self.patch(delivery, "BATCH", 1)
        for _ in range(3):
            await self.send()
        service.startService()
        for count in (1, 2, 3):
            await self.settled(service)
            self.assertEqual(len(await self.delivered(self.bob.workspace)), count)
            clock.advance(0)
        await self.settled(service)
        await service.stopService()

    def limit_workers(self) -> None:
        """Have one worker."""
        server = self.service.server
        performance = evolve(server.config.performance, max_delivery_threads=1)
        server.config = evolve(server.config, performance=performance)

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
        while service._claiming or service._running:
            await deferLater(reactor, 0.01)

    async def test_renews_what_it_works_on(self) -> None:
        """While a delivery lasts its lease is prolonged."""
        clock, service = await self.clocked()
        gate = self.gate()
        self.watch_store().before_move = gate
        service.local = self.service.server.delivery.local
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

    async def test_stops_in_time(self) -> None:
        """What does not end in ten seconds is left to whoever takes it over."""
        clock, service = await self.clocked()
        gate = self.gate()
        self.watch_store().before_move = gate
        await self.send()
        service.startService()
        await gate.holds()
        stopped = service.stopService()
        clock.advance(9)
        self.assertFalse(stopped.called)
        clock.advance(1)
        self.assertTrue(stopped.called)
        await stopped
        gate.open()
        await self.settled(service)

    async def test_cleans(self) -> None:
        """Once a minute what was never accepted is removed."""
        clock, service = await self.clocked()
        service.startService()
        await self.settled(service)
        await self.send(send_time=datetime.now(UTC) + timedelta(days=1))
        await self.change("UPDATE queue SET state = 'pending', lease = id, lease_until = '2001-01-01'")
        clock.pump([POLL_SECONDS] * (CLEAN_SECONDS // POLL_SECONDS))
        await self.until("SELECT count(*) = 0 FROM queue")
        self.assertEqual(self.on_disk("out"), [])
        await self.settled(service)
        await service.stopService()

    def leave(self, path: ServerPath, age: float) -> None:
        """Put a file on the disk that nobody wrote down, so many seconds old."""
        self.service.server.store.write(path, b"hello")
        written = time() - age
        os.utime(self.directory / "data" / "/".join(path.elements), (written, written))

    async def swept(self, service: DeliveryService) -> None:
        await self.settled(service)
        while service._swept != service.reactor.seconds():
            await deferLater(reactor, 0.01)

    async def test_sweeps(self) -> None:
        """At the start and once an hour old files that belong to no message are removed, and no others."""
        clock, service = await self.clocked()
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
        await self.change("UPDATE queue SET lease = NULL, lease_until = NULL")
        service.startService()
        await self.swept(service)
        kept = sorted([*known, young.name, strange.name])
        self.assertEqual(self.on_disk("out"), kept)
        self.assertEqual(len([line for line in lines if "belongs to no message" in line]), 2)
        late = own.child(FileName.make(4, 5))
        self.leave(late, SWEEP_AGE + 60)
        clock.pump([CLEAN_SECONDS])
        await self.settled(service)
        self.assertIn(late.name, self.on_disk("out"))
        clock.advance(SWEEP_SECONDS)
        await self.swept(service)
        self.assertEqual(self.on_disk("out"), kept)
        await service.stopService()

    async def test_sweeps_many(self) -> None:
        """However many there are, they are looked at in several goes."""
        self.patch(delivery, "_BATCH", 3)
        _, service = await self.clocked()
        own = ServerPath.outgoing(self.alice.workspace)
        for number in range(10):
            self.leave(own.child(FileName.make(number, 5)), SWEEP_AGE + 60)
        service.startService()
        await self.swept(service)
        self.assertEqual(self.on_disk("out"), [])
        await service.stopService()

    async def test_turn_that_fails(self) -> None:
        """A turn that fails is logged, and the next one is made."""
        clock, service = await self.clocked()
        await self.change("ALTER TABLE queue RENAME TO elsewhere")
        service.startService()
        while len(errors := self.flushLoggedErrors()) < 2:
            self.assertEqual(errors, [])
            await deferLater(reactor, 0.05)
        await self.change("ALTER TABLE elsewhere RENAME TO queue")
        await self.settled(service)
        await self.send()
        clock.advance(POLL_SECONDS)
        await self.until("SELECT count(*) = 0 FROM queue")
        await self.settled(service)
        await service.stopService()

    async def test_few_workers(self) -> None:
        """With one worker everything is delivered, one after the other."""
        server = self.service.server
        self.limit_workers()
        self.patch(delivery, "BATCH", 1)
        busy: list[int] = []
        watched = self.watch_store()
        watched.before_move = lambda path: busy.append(len(server.delivery._running))
        for _ in range(4):
            await self.send()
        await self.until("SELECT count(*) = 0 FROM queue")
        self.assertEqual(busy, [1, 1, 1, 1])
        self.assertEqual(len(await self.delivered(self.bob.workspace)), 4)


class ManyTests(MailTestCase):
    """Several processes and many messages."""

    async def test_two_processes(self) -> None:
        """Two processes share one queue: each message arrives once, in one order."""
        other = await self.serve(self.service.server.config)
        both = (self.service.server.delivery, other.server.delivery)
        clients = [self.client_, await self.enter(self.alice), await self.enter(self.alice)]
        message = {"Message": self.letter(), "Domain": "example.com"}
        sent: list[Deferred[Any]] = []
        for number in range(45):
            sent.append(clients[number % 3].request("SEND", message))
            both[number % 2].wake()
        for one in sent:
            await one
        await self.until("SELECT count(*) = 0 FROM queue")
        while any(service._running for service in both):
            await deferLater(reactor, 0.01)
        self.assertEqual(len(await self.delivered(self.bob.workspace)), 45)
        rows = await self.rows("SELECT number, time FROM updates ORDER BY number")
        self.assertEqual([row.number for row in rows], list(range(1, 46)))
        self.assertEqual([row.time for row in rows], sorted(row.time for row in rows))
        await self.assert_consistent()
