"""Working the queue of a real server: retries, late workers, several processes (spec 05, *The queue*)."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Any
from uuid import uuid4

from psycopg2.errors import UndefinedTable
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock, deferLater

from mensagod.delivery import service as delivery_service
from mensagod.delivery.database_queue import DatabaseQueue
from mensagod.delivery.service import POLL_SECONDS, DeliveryService
from mensagod.server.service import MensagoService
from mensagod.storage.clocks import CONFIRM_SECONDS
from mensagod.storage.queue import BUCKETS
from mensagod.values.identity import Domain, WAddress, WorkspaceID
from tests.delivery.mail import MailTestCase, is_busy, local_route
from tests.serving import DOMAIN

ELSEWHERE = Domain.from_text("example.org")


class RetryTests(MailTestCase):
    """What may pass is tried again."""

    async def again(self) -> None:
        """Have everything tried at once."""
        await self.change("UPDATE queue SET due = now()")
        delivery = self.service.assembly.delivery
        for bucket in delivery.buckets:
            delivery.wake(bucket)

    async def test_given_up(self) -> None:
        """After the age limit a try that fails is the last, ten minutes after one that failed, too: 502."""
        abroad = await self.send(WAddress(self.bob.workspace, ELSEWHERE))
        await self.outcome(abroad)
        hours = self.service.server.config.federation.max_queue_age
        await self.change("UPDATE queue SET accepted = now() - %s", timedelta(hours=hours, seconds=1))
        await self.again()
        await self.until("SELECT attempts = 2 FROM queue")
        row = await self.outcome(abroad)
        self.assertEqual((row.state, row.code), ("queued", 501))
        self.pass_ten_minutes()
        await self.again()
        await self.until("SELECT state = 'failed' FROM queue")
        row = await self.outcome(abroad)
        self.assertEqual((row.state, row.code), ("failed", 502))
        await self.assert_consistent()

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
        await self.again()
        row = await self.outcome(name)
        self.assertEqual((row.state, row.code), ("queued", 501))

    async def test_unready_server(self) -> None:
        """Without keys nothing is lost: what must be read for its recipient waits."""
        server = self.service.server
        delivery = self.service.assembly.delivery
        await delivery.stopService()
        name = await self.send(WAddress(WorkspaceID.random(), DOMAIN))
        lines = self.captured_log()
        keyring, server.keys.keyring = server.keyring, None
        delivery.startService()
        while not [line for line in lines if "waits for the database" in line]:
            await deferLater(reactor, 0.01)
        self.assertEqual(await self.value("SELECT state FROM queue"), "queued")
        server.keys.keyring = keyring
        self.assertEqual((await self.outcome(name)).code, 500)


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
            queue=DatabaseQueue(self.service.assembly.database, uuid4()),
            routes=[lane.route for lane in delivery.lanes],
            clocks=self.service.assembly.clocks,
        )
        self.patch(self.service.assembly.acceptor, "queued", service.wake)
        return clock, service

    async def working(self) -> tuple[Clock, DeliveryService]:
        """Have a service that runs and has all buckets, and that SEND wakes."""
        clock, service = await self.clocked()
        service.startService()
        while len(service.buckets) < BUCKETS:
            await deferLater(reactor, 0.01)
        clock.advance(0)
        await self.settled(service)
        return clock, service

    async def settled(self, service: DeliveryService) -> None:
        while is_busy(service):
            await deferLater(reactor, 0.01)

    async def test_told(self) -> None:
        """What is queued is delivered at once, and not only at the next look."""
        clock, service = await self.working()
        await self.send_to_queue()
        while await self.value("SELECT count(*) FROM queue"):
            clock.advance(0)
        self.assertEqual(clock.seconds(), 0)
        await self.settled(service)
        await service.stopService()
        self.assertEqual(clock.getDelayedCalls(), [])
        self.assertEqual(await self.value("SELECT count(*) FROM queue_workers"), 0)

    async def test_hand_overs(self) -> None:
        """A small message that is delivered at once is handed to a thread once; one in the queue thrice."""
        clock, service = await self.working()
        steps = self.noted()
        await self.send()
        self.assertEqual(steps, ["accept"])
        self.limit_inline(0)
        await self.send()
        self.assertEqual(steps[1:], ["begin_writing", "_write", "accept"])
        self.limit_inline(8)
        steps.clear()
        await self.send_to_queue()
        for _ in range(2):
            clock.advance(0)
            await self.settled(service)
        self.assertEqual(steps, ["accept", "list_due", "deliver", "list_due"])
        self.assertEqual(len(await self.delivered(self.bob.workspace)), 3)
        await service.stopService()

    def noted(self) -> list[str]:
        """Give a list of the steps of delivery that are handed to threads from now on."""
        steps: list[str] = []
        modules = ("mensagod.storage.queue", "mensagod.storage.contents", "mensagod.delivery")

        def note(work: Callable[..., Any], names: tuple[str, ...]) -> Callable[..., Any]:
            def run(step: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
                if step.__module__.startswith(names):
                    steps.append(step.__name__)
                return work(step, *args, **kwargs)

            return run

        server = self.service.server
        for name in ("run", "write", "read"):
            self.patch(server.database, name, note(getattr(server.database, name), modules))
        self.patch(server.files, "run", note(server.files.run, ("mensagod.operations.contents",)))
        return steps

    async def test_query_that_fails(self) -> None:
        """A query that fails is logged, and the next one is made."""
        clock, service = await self.working()
        await self.change("ALTER TABLE queue RENAME TO elsewhere")
        clock.advance(POLL_SECONDS)
        await self.settled(service)
        self.assertEqual(len(self.flushLoggedErrors(UndefinedTable)), 1)
        await self.change("ALTER TABLE elsewhere RENAME TO queue")
        await self.send_to_queue()
        while await self.value("SELECT count(*) FROM queue"):
            clock.advance(POLL_SECONDS)
        await self.settled(service)
        await service.stopService()


class ManyTests(MailTestCase):
    """Several processes and many messages."""

    async def share(self) -> MensagoService:
        """Start a second process, and wait until the two share the queue."""
        other = await self.serve(self.service.server.config)
        both = (self.service.assembly.delivery, other.assembly.delivery)
        while [len(delivery.buckets) for delivery in both] != [BUCKETS // 2] * 2:
            await deferLater(reactor, 0.02)
        return other

    async def test_two_processes(self) -> None:
        """Two processes share one queue: each message arrives once, in one order."""
        self.patch(delivery_service, "RENEW_SECONDS", 0.2)
        self.service.assembly.delivery.stopService()
        self.service = await self.serve(self.service.server.config)
        other = await self.share()
        people = [self.bob, *[await self.settle() for _ in range(9)]]
        clients = [self.client_, await self.enter(self.alice), await self.enter(self.alice)]
        sent: list[Deferred[Any]] = []
        for number in range(60):
            due = datetime.now(UTC) if number % 2 else None
            text = self.letter(people[number % 10], send_time=due)
            sent.append(clients[number % 3].request("SEND", {"Message": text, "Domain": DOMAIN}))
        for one in sent:
            await one
        await self.until("SELECT count(*) = 0 FROM queue")
        for service in (self.service, other):
            while is_busy(service.assembly.delivery):
                await deferLater(reactor, 0.01)
        for person in people:
            self.assertEqual(len(await self.delivered(person.workspace)), 6)
            rows = await self.rows(
                "SELECT number, time FROM updates WHERE workspace = %s ORDER BY number", person.workspace.uuid
            )
            self.assertEqual([row.number for row in rows], list(range(1, 7)))
            self.assertEqual([row.time for row in rows], sorted(row.time for row in rows))
        await self.assert_consistent()

    async def test_late_worker(self) -> None:
        """A worker that is held up while another process delivers its message doubles nothing."""
        self.limit_inline(0)
        delivery = self.service.assembly.delivery
        await delivery.stopService()
        await self.send_to_queue()
        await self.change("UPDATE queue SET target = NULL")
        gate = self.gate()
        self.watch_store().before_open = gate
        delivery.startService()
        await gate.holds()
        message = (await self.rows("SELECT id FROM queue"))[0].id
        queue = DatabaseQueue(self.database, uuid4())
        route = local_route((await self.serve(self.service.server.config)).assembly.delivery)
        due = await queue.list_due(range(BUCKETS), 9, route.domains, ())
        self.assertEqual([one.id for one in due], [message])
        await route.deliver(due)
        gate.open()
        while is_busy(delivery):
            await deferLater(reactor, 0.01)
        self.assertEqual(len(await self.delivered(self.bob.workspace)), 1)
        await self.assert_consistent()
