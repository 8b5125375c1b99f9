"""Hints wake the sessions of other processes (spec 06, *Running many*)."""

from collections.abc import Callable, Collection
from typing import Any
from uuid import UUID

import psycopg2
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReadDescriptor
from twisted.internet.task import Clock
from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface import provider
from zope.interface.verify import verifyObject

from mensagod.errors import ServerUnavailable
from mensagod.sharing.coalescing import (
    BUSY_SECONDS,
    CONVERSATION_SECONDS,
    IDLE_SECONDS,
    MOST_WAITING,
    PAUSE,
    Coalescer,
)
from mensagod.sharing.hints import POLL_SECONDS, PollHints
from mensagod.sharing.listening import ListeningConnection
from mensagod.sharing.pg_hints import (
    ECHO_SECONDS,
    FIRST_WAIT,
    LONGEST_WAIT,
    LOOK_SECONDS,
    STATEMENT_SECONDS,
    PgHints,
)
from mensagod.storage import hints
from mensagod.values.identity import WorkspaceID
from tests.conversations import FakeDatabase, FakeWorkers
from tests.sharing.hinting import ALICE, BOB, HintsContract, MemoryHints


class MemoryHintsTests(HintsContract, TestCase):
    """The hints of these tests are like the real ones."""

    async def _set_up(self) -> None:
        self.here, self.there = MemoryHints(), MemoryHints()
        self.here.others.append(self.there)
        self.memory = self.there
        self.heard_here, self.heard_there = [], []
        self.here.subscribe(self.heard_here.append)
        self.there.subscribe(self.heard_there.append)
        await self.here.start()
        await self.there.start()

    def setUp(self) -> Deferred[None]:  # type: ignore[override]
        return Deferred.fromCoroutine(self._set_up())

    async def enter_there(self, workspaces: Collection[WorkspaceID]) -> None:
        self.memory.present.update(workspaces)

    async def change(self, workspaces: Collection[WorkspaceID]) -> None:
        """There is nothing to change."""


class CoalescerTests(SynchronousTestCase):
    """A coalescer whose batches the test takes in, at once or when it opens the gate."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.batches: list[set[WorkspaceID]] = []
        self.gate: Deferred[None] | None = None
        self.fault: Exception | None = None
        self.coalescer = Coalescer(self.clock, self.send)

    async def send(self, workspaces: Collection[WorkspaceID]) -> None:
        self.batches.append({*workspaces})
        if self.gate is not None:
            await self.gate
        if self.fault is not None:
            raise self.fault

    def test_idle(self) -> None:
        """A hint after a while without any goes after 10 ms, with those that came meanwhile."""
        self.coalescer.add(ALICE)
        self.clock.advance(IDLE_SECONDS / 2)
        self.coalescer.add(BOB)
        self.coalescer.add(ALICE)
        self.assertEqual(self.batches, [])
        self.clock.advance(IDLE_SECONDS / 2)
        self.assertEqual((self.batches, IDLE_SECONDS), ([{ALICE, BOB}], 0.01))
        self.clock.advance(10)
        self.assertEqual(len(self.batches), 1)

    def test_busy(self) -> None:
        """Under load a batch goes every 100 ms, and every 10 ms again after a pause."""
        for _ in range(1000):
            self.coalescer.add(ALICE)
            self.clock.advance(0.001)
        self.assertLessEqual(len(self.batches), 14)
        self.assertGreaterEqual(len(self.batches), 9)
        self.assertEqual(BUSY_SECONDS, 0.1)
        self.clock.pump([BUSY_SECONDS, 2 * PAUSE * BUSY_SECONDS])
        self.batches.clear()
        for _ in range(10):
            self.coalescer.add(ALICE)
            self.clock.pump([IDLE_SECONDS, 2 * PAUSE * IDLE_SECONDS])
        self.assertEqual(len(self.batches), 10)

    def test_conversation(self) -> None:
        """Hints that come one at a time wait 30 ms at most, however soon the next one comes."""
        for number in range(1, 30):
            self.coalescer.add(ALICE)
            self.clock.pump([CONVERSATION_SECONDS, IDLE_SECONDS / 10])
            self.assertEqual(len(self.batches), number)

    def test_one_batch_at_a_time(self) -> None:
        """While a batch is on its way others wait for it, together."""
        self.gate = Deferred()
        self.coalescer.add(ALICE)
        self.clock.advance(IDLE_SECONDS)
        for _ in range(3):
            self.coalescer.add(BOB)
            self.clock.advance(1)
        self.assertEqual(self.batches, [{ALICE}])
        gate, self.gate = self.gate, None
        gate.callback(None)
        self.clock.advance(IDLE_SECONDS)
        self.assertEqual(self.batches, [{ALICE}, {BOB}])

    def test_bounded(self) -> None:
        """However many come while nothing can be sent, a bounded number waits."""
        for number in range(MOST_WAITING + 5):
            self.coalescer.add(WorkspaceID(UUID(int=number)))
        self.clock.advance(IDLE_SECONDS)
        self.assertEqual([len(batch) for batch in self.batches], [MOST_WAITING])

    def test_failures(self) -> None:
        """A batch that fails is lost; that is logged once, unless there is no database anyway."""
        for fault, logged in ((ServerUnavailable(), 0), (LookupError(), 1), (LookupError(), 0)):
            self.fault = fault
            self.coalescer.add(ALICE)
            self.clock.advance(1)
            self.assertEqual(len(self.flushLoggedErrors(LookupError)), logged)
        self.assertEqual(self.batches, [{ALICE}] * 3)

    def test_flush(self) -> None:
        """What waits can be sent at once; it ends when all has gone."""
        self.gate = gate = Deferred[None]()
        self.coalescer.add(ALICE)
        self.clock.advance(IDLE_SECONDS)
        self.coalescer.add(BOB)
        flushing = Deferred.fromCoroutine(self.coalescer.flush())
        self.assertNoResult(flushing)
        self.gate = None
        gate.callback(None)
        self.successResultOf(flushing)
        self.assertEqual(self.batches, [{ALICE}, {BOB}])
        self.coalescer.add(BOB)
        self.successResultOf(Deferred.fromCoroutine(self.coalescer.flush()))
        self.successResultOf(Deferred.fromCoroutine(self.coalescer.flush()))
        self.assertEqual((len(self.batches), self.clock.getDelayedCalls()), (3, []))


class PollHintsTests(SynchronousTestCase):
    def setUp(self) -> None:
        """Alice's sessions know three records."""
        self.clock, self.database = Clock(), FakeDatabase()
        self.seen = {ALICE: 3}
        self.heard: list[WorkspaceID | None] = []
        self.hints = PollHints(self.clock, self.database, lambda: self.seen)
        self.hints.subscribe(self.heard.append)
        self.addCleanup(lambda: Deferred.fromCoroutine(self.hints.stop()))

    def start(self, answer: object) -> None:
        self.database.answers[hints.changed_beyond] = answer
        self.successResultOf(Deferred.fromCoroutine(self.hints.start()))

    def test_asks(self) -> None:
        """It asks more often than once a second, for what its sessions know then."""
        self.start([])
        self.seen = {BOB: 1}
        self.database.answers[hints.changed_beyond] = [BOB]
        self.clock.advance(POLL_SECONDS)
        self.assertEqual(
            self.database.asked,
            [(hints.changed_beyond, {ALICE: 3}), (hints.changed_beyond, {BOB: 1})],
        )
        self.assertEqual(self.heard, [BOB])
        self.assertLess(POLL_SECONDS, 1)

    def test_nobody(self) -> None:
        """Without sessions there is nothing to ask."""
        self.seen = {}
        self.start([ALICE])
        self.assertEqual((self.database.asked, self.heard), ([], []))

    def test_away(self) -> None:
        """A database that is away is asked again."""

        def fail(seen: object) -> None:
            raise ServerUnavailable

        self.start(fail)
        self.database.answers[hints.changed_beyond] = [ALICE]
        self.clock.advance(POLL_SECONDS)
        self.assertEqual(self.heard, [ALICE])


PROCESS = UUID(int=5)


class ScriptedConnection(ListeningConnection):
    """A connection that does what the test says.

    :ivar sent: the batches.
    :ivar arrived: the payloads that are there to take.
    :ivar fault: what the next use of it raises.
    """

    def __init__(self) -> None:
        self.descriptor = 7
        self.sent: list[set[WorkspaceID]] = []
        self.arrived: list[str] = []
        self.hangups = 0
        self.fault: Exception | None = None
        self.is_closed = False

    def send(self, workspaces: Collection[WorkspaceID]) -> None:
        self._use()
        self.sent.append({*workspaces})

    def take(self) -> list[str]:
        self._use()
        taken, self.arrived = self.arrived, []
        return taken

    def hang_up(self) -> None:
        self.hangups += 1

    def close(self) -> None:
        assert not self.is_closed
        self.is_closed = True

    def _use(self) -> None:
        assert not self.is_closed
        if self.fault is not None:
            raise self.fault


class ReadingClock(Clock):
    """A clock that is a reactor as far as readers go."""

    def __init__(self) -> None:
        super().__init__()
        self.readers: list[Any] = []

    def addReader(self, reader: Any) -> None:
        verifyObject(IReadDescriptor, reader)
        assert reader not in self.readers
        self.readers.append(reader)

    def removeReader(self, reader: Any) -> None:
        if reader in self.readers:
            self.readers.remove(reader)


class PgHintsTests(SynchronousTestCase):
    """Everything but PostgreSQL, which :mod:`tests.storage.test_hints` has."""

    def setUp(self) -> None:
        self.clock, self.threads = ReadingClock(), FakeWorkers()
        self.opened: list[ScriptedConnection] = []
        self.tries: list[float] = []
        self.fault: Exception | None = None
        self.heard: list[WorkspaceID | None] = []
        self.lines: list[str] = []
        self.database = FakeDatabase()
        self.database.answers[hints.notify_self] = self.echo
        self.can_hear = True
        self.hints = PgHints(self.clock, self.threads, self.database, PROCESS, self.connect)
        self.hints.subscribe(self.heard.append)

        @provider(ILogObserver)
        def observe(event: LogEvent) -> None:
            self.lines.append(formatEvent(event))

        globalLogPublisher.addObserver(observe)
        self.addCleanup(globalLogPublisher.removeObserver, observe)

    def connect(self) -> ScriptedConnection:
        self.tries.append(self.clock.seconds())
        if self.fault is not None:
            raise self.fault
        self.opened.append(ScriptedConnection())
        return self.opened[-1]

    def echo(self, process: UUID) -> None:
        self.assertEqual(process, PROCESS)
        if self.can_hear:
            self.opened[-1].arrived.append("")
            for reader in (*self.clock.readers,):
                reader.doRead()

    def start(self) -> ScriptedConnection:
        self.successResultOf(Deferred.fromCoroutine(self.hints.start()))
        return self.opened[-1]

    def stop(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self.hints.stop())

    def until(self, condition: Callable[[], bool]) -> None:
        """Let time pass."""
        for _ in range(1000):
            if condition():
                return
            self.clock.advance(LOOK_SECONDS)
        self.fail("it does not come to that")

    def test_hears(self) -> None:
        """It tells first that anything may have happened, then what arrives; nonsense it passes over."""
        connection = self.start()
        self.assertEqual(self.heard, [None])
        (reader,) = self.clock.readers
        self.assertEqual((reader.fileno(), reader.logPrefix()), (7, "hints"))
        connection.arrived = [f"{ALICE}", f"nonsense {BOB} {BOB} 1234"]
        reader.doRead()
        self.assertEqual({*self.heard}, {None, ALICE, BOB})
        self.assertEqual(len(self.heard), 3)

    def test_sends(self) -> None:
        """What is sent goes together; what arrives meanwhile is heard, and the reactor reads on."""
        connection = self.start()
        self.hints.send(ALICE)
        self.hints.send(BOB)
        connection.arrived = [f"{BOB}"]
        self.assertEqual(self.heard, [None, ALICE, BOB])
        self.threads.gate = gate = Deferred[None]()
        self.clock.advance(IDLE_SECONDS)
        self.assertEqual(self.clock.readers, [])
        gate.callback(None)
        self.assertEqual((connection.sent, self.heard[3:]), ([{ALICE, BOB}], [BOB]))
        self.assertEqual((len(self.clock.readers), connection.hangups), (1, 0))

    def test_without_connection(self) -> None:
        """Before there is a connection this process hears nevertheless."""
        self.fault = psycopg2.OperationalError("no route")
        self.successResultOf(Deferred.fromCoroutine(self.hints.start()))
        self.hints.send(ALICE)
        self.assertEqual(self.heard, [ALICE])
        self.fault = None
        self.until(lambda: self.opened != [])
        self.clock.advance(1)
        self.assertEqual((self.opened[0].sent, self.heard), ([], [ALICE, None]))

    def test_connects_again(self) -> None:
        """It tries again and again, after random times that grow to a limit; the log has two lines."""
        self.fault = psycopg2.OperationalError("no\n route")
        self.successResultOf(Deferred.fromCoroutine(self.hints.start()))
        self.until(lambda: len(self.tries) == 20)
        waits = [after - before for before, after in zip(self.tries, self.tries[1:], strict=False)]
        self.assertLessEqual(max(waits), LONGEST_WAIT + LOOK_SECONDS)
        self.assertGreater(max(waits), 2 * FIRST_WAIT)
        self.assertGreater(len({*waits}), 5)
        self.fault = None
        self.until(lambda: len(self.lines) > 1)
        self.assertEqual(
            self.lines,
            ["hints of other processes are lost for now: no route", "hints of other processes arrive again"],
        )

    def test_ends(self) -> None:
        """A connection that ends is replaced a moment later; what was missed is unknown."""
        ways: list[Callable[[Any], None]] = [
            lambda reader: reader.doRead(),
            lambda reader: reader.connectionLost(Failure(EOFError())),
            lambda reader: self.hints.send(ALICE),
        ]
        connection = self.start()
        for number, end in enumerate(ways, 1):
            connection.fault = psycopg2.OperationalError("ended")
            end(self.clock.readers[0])
            self.clock.advance(IDLE_SECONDS)
            self.assertEqual((connection.is_closed, self.clock.readers), (True, []))
            self.heard.clear()
            lost = self.clock.seconds()
            self.until(lambda count=number: len(self.opened) > count)  # type: ignore[misc]
            self.assertLessEqual(self.clock.seconds() - lost, FIRST_WAIT + LOOK_SECONDS)
            self.assertEqual(self.heard, [None])
            connection = self.opened[-1]
            self.clock.pump([BUSY_SECONDS, LOOK_SECONDS])
        self.assertEqual(len(self.lines), 2 * len(ways))

    def test_echo(self) -> None:
        """A connection has to hear every ten seconds what its process sends itself."""
        self.start()
        self.clock.pump([LOOK_SECONDS] * int(3 * ECHO_SECONDS / LOOK_SECONDS))
        self.assertEqual((len(self.database.asked), len(self.opened), self.lines), (3, 1, []))

    def test_deaf(self) -> None:
        """One that does not hear it is replaced, which helps if there is a way past the pooler; said once."""
        connection = self.start()
        self.can_hear = False
        self.until(lambda: connection.is_closed)
        self.assertLess(self.clock.seconds(), ECHO_SECONDS + 3 * LOOK_SECONDS)
        self.until(lambda: len(self.opened) > 3)
        (line,) = self.lines
        self.assertIn("cluster.listen_url", line)
        self.can_hear = True
        self.until(lambda: len(self.lines) > 1)
        self.assertEqual(self.lines[1:], ["hints of other processes arrive again"])

    def test_deaf_and_busy(self) -> None:
        """It is not closed under a thread that uses it, and stays if it hears in the end."""
        for hears in (True, False):
            self.can_hear = False
            connection = self.start() if not self.opened else self.opened[-1]
            self.until(lambda: not self.hints._has_heard)
            self.clock.pump([1] * (ECHO_SECONDS - 1))
            self.threads.gate = gate = Deferred[None]()
            self.hints.send(ALICE)
            self.clock.pump([0.1] * 30)
            self.assertFalse(connection.is_closed)
            self.threads.gate = None
            if hears:
                connection.arrived.append("")
            gate.callback(None)
            self.assertEqual(connection.is_closed, not hears)

    def test_no_echo_without_database(self) -> None:
        """That the database cannot pass it on says nothing about the connection."""

        def fail(process: UUID) -> None:
            raise ServerUnavailable

        self.database.answers[hints.notify_self] = fail
        connection = self.start()
        self.clock.pump([LOOK_SECONDS] * int(3 * ECHO_SECONDS / LOOK_SECONDS))
        self.assertEqual((len(self.database.asked), connection.is_closed, self.lines), (3, False, []))

    def test_hangs(self) -> None:
        """A statement that takes too long ends with its connection."""
        connection = self.start()
        self.threads.gate = gate = Deferred[None]()
        self.hints.send(ALICE)
        self.clock.advance(IDLE_SECONDS)
        self.clock.advance(STATEMENT_SECONDS - 0.1)
        self.assertEqual(connection.hangups, 0)
        self.clock.advance(0.1)
        self.assertEqual(connection.hangups, 1)
        connection.fault = psycopg2.OperationalError("ended")
        self.threads.gate = None
        gate.callback(None)
        self.assertTrue(connection.is_closed)

    def test_fault_of_ours(self) -> None:
        """Any other fault of a statement is logged as one, and costs the connection, nothing else."""
        connection = self.start()
        connection.fault = LookupError("broken")
        self.hints.send(ALICE)
        self.clock.advance(IDLE_SECONDS)
        self.assertEqual(len(self.flushLoggedErrors(LookupError)), 1)
        self.assertTrue(connection.is_closed)
        self.until(lambda: len(self.opened) == 2)

    def test_stop(self) -> None:
        """At the end what waits is sent, and the connection is closed; nothing goes on."""
        connection = self.start()
        self.hints.send(ALICE)
        self.successResultOf(self.stop())
        self.assertEqual((connection.sent, connection.is_closed), ([{ALICE}], True))
        self.assertEqual((self.clock.readers, self.clock.getDelayedCalls()), ([], []))
        self.hints.send(BOB)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_stop_before_start(self) -> None:
        """What has not started can be stopped."""
        self.successResultOf(self.stop())

    def test_stop_while_it_connects(self) -> None:
        """The end waits for a connection on its way, which is closed."""
        self.threads.gate = gate = Deferred[None]()
        self.successResultOf(Deferred.fromCoroutine(self.hints.start()))
        stopping = self.stop()
        self.assertNoResult(stopping)
        gate.callback(None)
        self.successResultOf(stopping)
        self.assertEqual([one.is_closed for one in self.opened], [True])
        self.assertEqual((self.clock.readers, self.heard), ([], []))

    def test_lost_before_it_is_sent(self) -> None:
        """What waits when the connection ends is lost, and no fault."""
        connection = self.start()
        self.hints.send(ALICE)
        connection.fault = psycopg2.OperationalError("ended")
        self.clock.readers[0].doRead()
        self.clock.advance(IDLE_SECONDS)
        self.assertEqual((connection.sent, connection.is_closed), ([], True))

    def test_stop_after_it_ended(self) -> None:
        """After the end no connection is opened."""
        connection = self.start()
        self.threads.gate = gate = Deferred[None]()
        self.hints.send(ALICE)
        self.clock.advance(IDLE_SECONDS)
        connection.fault = psycopg2.OperationalError("ended")
        stopping = self.stop()
        self.threads.gate = None
        gate.callback(None)
        self.successResultOf(stopping)
        self.clock.advance(60)
        self.assertEqual(len(self.opened), 1)
