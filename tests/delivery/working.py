"""A delivery service in a time that the test makes, over a queue and routes in memory."""

from collections.abc import Callable
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from uuid import UUID

from attrs import evolve
from twisted.internet.task import Clock
from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import provider

from mensagod.config import Config
from mensagod.delivery.interfaces import IRoute
from mensagod.delivery.lanes import STOP_SECONDS
from mensagod.delivery.service import DeliveryService
from mensagod.storage.clocks import ClockAgreement
from tests.delivery.fakes import FakeQueue, FakeRoute, Row
from tests.serving import make_config

STEP_SECONDS = 0.125
"""A number that adds up without rounding, and divides the intervals of the service."""


class WorkingTestCase(SynchronousTestCase):
    """A service over the queue and the routes of the test.

    :ivar route: takes all domains; the only route unless the test starts with others.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.clocks = ClockAgreement(self.clock.seconds, self.now)
        self.queue = FakeQueue(self.clock)
        self.route = FakeRoute(self.queue)
        self.config = make_config(Path("/nowhere"), {"host": "", "dbname": "", "user": ""})
        self.log: list[str] = []

        @provider(ILogObserver)
        def observe(event: LogEvent) -> None:
            # Trial's observer of the old kind came first: it empties the field "message", and keeps the text.
            self.log.append(str(event.get("log_legacy") or formatEvent(event)))

        globalLogPublisher.addObserver(observe)
        self.addCleanup(globalLogPublisher.removeObserver, observe)

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.clock.seconds(), UTC)

    def make(self, *routes: IRoute, queue: FakeQueue | None = None) -> DeliveryService:
        """Make the service of a process.

        :param queue: as that process has it; the queue of the test unless given.
        """
        return DeliveryService(
            reactor=self.clock,
            config=self.configuration,
            queue=queue or self.queue,
            routes=routes or (self.route,),
            clocks=self.clocks,
        )

    def configuration(self) -> Config:
        return self.config

    def start(self, *routes: IRoute) -> DeliveryService:
        """Start a service, stopped after the test."""
        service = self.make(*routes)
        service.startService()
        self.addCleanup(self.stop, service)
        return service

    def stop(self, service: DeliveryService) -> None:
        if service.running:
            service.stopService()
            self.clock.advance(STOP_SECONDS)

    def wake(self, service: DeliveryService, message: UUID) -> None:
        """Tell a service that a message was queued."""
        service.wake(self.row(message).message.bucket)

    def pass_time(self, seconds: float) -> None:
        """Let time pass in small steps, so that everything happens at its own time."""
        end = self.clock.seconds() + seconds
        while (left := end - self.clock.seconds()) > 0:
            self.clock.advance(min(left, STEP_SECONDS))

    def limit(self, workers: int) -> None:
        """Have so many workers in each lane."""
        performance = evolve(self.config.performance, max_delivery_threads=workers)
        self.config = evolve(self.config, performance=performance)

    def row(self, message: UUID) -> Row:
        return self.queue.rows[message]

    def until(self, condition: Callable[[], bool], step: float = 1.0) -> None:
        """Let time pass until something holds."""
        for number in count():
            if condition():
                return
            self.assertLess(number, 10_000, "it never comes to that")
            self.clock.advance(step)
