"""Parts start in order and stop in the opposite one."""

from attrs import define, field
from psycopg2 import OperationalError
from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from mensagod.errors import ServerUnavailable
from mensagod.lifecycle.parts import Parts, Preparation, ServicePart, stop_each
from mensagod.lifecycle.patience import AWAY_SECONDS, PatientPart


@define(eq=False)
class FakePart:
    """Notes what is done with it.

    :ivar gate: what its start waits for.
    :ivar faults: what its starts raise, one after the other; and what its stop raises.
    """

    name: str
    noted: list[str]
    gate: Deferred[None] | None = None
    faults: list[Exception] = field(factory=list)
    last_fault: Exception | None = None

    async def start(self) -> None:
        self.noted.append(f"start {self.name}")
        if self.gate is not None:
            await self.gate
        if self.faults:
            raise self.faults.pop(0)

    async def stop(self) -> None:
        self.noted.append(f"stop {self.name}")
        if self.last_fault is not None:
            raise self.last_fault


class PartsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.noted: list[str] = []
        self.first, self.second, self.third = (FakePart(name, self.noted) for name in "abc")
        self.parts = Parts((self.first, self.second, self.third))

    def start(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self.parts.start())

    def stop(self) -> None:
        self.successResultOf(Deferred.fromCoroutine(self.parts.stop()))

    def test_order(self) -> None:
        """Each starts when those before it have, and stops when those after it have."""
        self.second.gate = Deferred()
        starting = self.start()
        self.assertEqual(self.noted, ["start a", "start b"])
        self.second.gate.callback(None)
        self.successResultOf(starting)
        self.stop()
        self.assertEqual(self.noted[2:], ["start c", "stop c", "stop b", "stop a"])

    def test_interrupted(self) -> None:
        """A start that is interrupted begins no further part; those that had begun are stopped, once."""
        self.second.gate = Deferred()
        starting = self.start()
        starting.cancel()
        self.failureResultOf(starting, CancelledError)
        self.stop()
        self.stop()
        self.assertEqual(self.noted, ["start a", "start b", "stop b", "stop a"])

    def test_failed(self) -> None:
        """So is one that fails."""
        self.second.faults = [LookupError()]
        self.failureResultOf(self.start(), LookupError)
        self.stop()
        self.assertEqual(self.noted, ["start a", "start b", "stop b", "stop a"])

    def test_stop_that_fails(self) -> None:
        """A part that does not stop keeps no other from it, and is logged."""
        self.third.last_fault = self.second.last_fault = LookupError()
        self.successResultOf(self.start())
        self.stop()
        self.assertEqual(self.noted[3:], ["stop c", "stop b", "stop a"])
        self.assertEqual(len(self.flushLoggedErrors(LookupError)), 2)

    def test_stop_each(self) -> None:
        """What stops may give something to wait for, or nothing."""
        gate: Deferred[None] = Deferred()
        stopping = Deferred.fromCoroutine(stop_each((lambda: gate, lambda: self.noted.append("last"))))
        self.assertEqual(self.noted, [])
        gate.callback(None)
        self.successResultOf(stopping)
        self.assertEqual(self.noted, ["last"])

    def test_service(self) -> None:
        """A service of Twisted's is a part, and is not stopped unless it runs."""

        class Counting(Service):
            stops = 0

            def stopService(self) -> None:
                super().stopService()
                self.stops += 1

        service = Counting()
        part = ServicePart(service)
        self.successResultOf(Deferred.fromCoroutine(part.stop()))
        self.assertEqual(service.stops, 0)
        self.successResultOf(Deferred.fromCoroutine(part.start()))
        self.assertTrue(service.running)
        self.successResultOf(Deferred.fromCoroutine(part.stop()))
        self.assertEqual((bool(service.running), service.stops), (False, 1))

    def test_preparation(self) -> None:
        """Work that is done once is a part; what it raises is raised."""
        part = Preparation(FakePart("work", self.noted, faults=[LookupError()]).start)
        self.failureResultOf(Deferred.fromCoroutine(part.start()), LookupError)
        self.successResultOf(Deferred.fromCoroutine(part.start()))
        self.successResultOf(Deferred.fromCoroutine(part.stop()))
        self.assertEqual(self.noted, ["start work"] * 2)


class PatientPartTests(SynchronousTestCase):
    """The database is away."""

    def setUp(self) -> None:
        self.clock, self.noted = Clock(), list[str]()
        self.part = FakePart("a", self.noted)
        self.away = 0
        self.patient = PatientPart(self.clock, self.note, self.part)

    def note(self) -> None:
        self.away += 1

    def test_tries_again(self) -> None:
        """The start is tried every second until the database is there; the log says once that it is not."""
        self.part.faults = [
            ServerUnavailable("x"),
            OperationalError("could not\nconnect"),
            ServerUnavailable("z"),
        ]
        with capturedLogs() as events:
            starting = Deferred.fromCoroutine(self.patient.start())
            self.assertEqual(self.away, 1)
            self.clock.pump([AWAY_SECONDS] * 2)
            self.assertNoResult(starting)
            self.clock.advance(AWAY_SECONDS)
            self.successResultOf(starting)
        self.assertEqual([formatEvent(event) for event in events], ["the database is away: x"])
        self.assertEqual((self.noted, self.away), (["start a"] * 4, 3))
        self.successResultOf(Deferred.fromCoroutine(self.stop()))
        self.assertEqual(self.noted[-1], "stop a")

    async def stop(self) -> None:
        await self.patient.stop()

    def test_one_line(self) -> None:
        """What the database says is one line in the log."""
        self.part.faults = [OperationalError("could not\nconnect")]
        with capturedLogs() as events:
            Deferred.fromCoroutine(self.patient.start())
        self.assertEqual(
            [formatEvent(event) for event in events], ["the database is away: could not connect"]
        )

    def test_other_faults(self) -> None:
        """What is wrong otherwise ends the start."""
        self.part.faults = [LookupError()]
        self.failureResultOf(Deferred.fromCoroutine(self.patient.start()), LookupError)
        self.assertEqual((self.away, self.clock.getDelayedCalls()), (0, []))

    def test_interrupted(self) -> None:
        """It can be interrupted while it waits."""
        self.part.faults = [ServerUnavailable()]
        starting = Deferred.fromCoroutine(self.patient.start())
        starting.cancel()
        self.failureResultOf(starting, CancelledError)
        self.assertEqual(self.clock.getDelayedCalls(), [])
