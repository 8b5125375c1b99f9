"""The service around the parts: when clients are let in, what ends the start, in which order it ends."""

from collections.abc import Callable
from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.internet.error import ReactorNotRunning
from twisted.trial.unittest import SynchronousTestCase

from mensagod.lifecycle.parts import Parts
from mensagod.organization.keyring import KeyringFault
from mensagod.process.accounts import AccountError
from mensagod.server.listeners import ListenFault
from mensagod.server.service import MensagoService
from tests.lifecycle.test_parts import FakePart


class FakeReactor:
    """Runs, until it is stopped."""

    def __init__(self, noted: list[str]) -> None:
        self.noted = noted
        self.is_running = True

    def callWhenRunning(self, work: Callable[..., object], *args: object) -> None:
        # Signals are not for tests.
        if not args:
            work()

    def stop(self) -> None:
        if not self.is_running:
            raise ReactorNotRunning
        self.is_running = False
        self.noted.append("stop reactor")


class FakeEdges:
    """Stands for listeners, factory and configuration; notes what is done with them."""

    addresses = ("tcp:127.0.0.1:1",)

    def __init__(self, noted: list[str]) -> None:
        self.noted = noted
        self.fault: Exception | None = None

    def __getattr__(self, name: str) -> Callable[[], None]:
        return lambda: self.noted.append(name)

    def privilegedStartService(self) -> None:
        if self.fault is not None:
            raise self.fault


class MensagoServiceTests(SynchronousTestCase):
    def setUp(self) -> None:
        """One part, and everything else that only notes."""
        self.noted: list[str] = []
        self.part = FakePart("part", self.noted)
        self.reactor, self.edges = FakeReactor(self.noted), FakeEdges(self.noted)
        edges = cast(Any, self.edges)
        self.service = MensagoService(
            reactor=self.reactor,
            assembly=edges,
            factory=edges,
            listeners=edges,
            parts=Parts((self.part,)),
            reloading=edges,
            account=None,
        )

    def test_order(self) -> None:
        """Clients are let in after the parts have started, and are gone before these stop."""
        self.part.gate = Deferred()
        told: list[tuple[str, ...]] = []
        self.service.announce = told.append
        self.service.startService()
        self.assertEqual(self.noted, ["warn", "start part"])
        self.part.gate.callback(None)
        self.successResultOf(self.service.stopService())
        self.assertEqual(self.noted[2:], ["accept", "stopService", "drain", "stop part"])
        self.assertEqual(told, [self.edges.addresses])

    def test_let_in_early(self) -> None:
        """Clients are let in once, also where a part has asked for it."""
        self.part.gate = Deferred()
        self.service.startService()
        self.service.admit_clients()
        self.service.admit_clients()
        self.part.gate.callback(None)
        self.assertEqual(self.noted.count("accept"), 1)

    def test_fatal(self) -> None:
        """What the operator can cure ends the server with a sentence."""
        self.part.faults = [KeyringFault("put it back")]
        self.service.startService()
        self.assertEqual(self.service.fault, "put it back")
        self.assertEqual(self.noted, ["warn", "start part", "stop reactor"])

    def test_fault_of_ours(self) -> None:
        """A fault of ours ends it with a traceback in the log."""
        self.part.faults = [LookupError()]
        self.service.startService()
        self.assertEqual(self.service.fault, "internal error, see the log")
        self.assertEqual(len(self.flushLoggedErrors(LookupError)), 1)

    def test_ending_already(self) -> None:
        """A fault finds a reactor that is ending, which is as good."""
        self.part.faults = [KeyringFault("put it back")]
        self.reactor.is_running = False
        self.service.startService()
        self.assertNotIn("stop reactor", self.noted)

    def test_stopped_before(self) -> None:
        """A start that is interrupted is no fault."""
        self.part.gate = Deferred()
        self.service.startService()
        self.successResultOf(self.service.stopService())
        self.assertEqual((self.service.fault, self.reactor.is_running), (None, True))
        self.assertEqual(self.noted[2:], ["stopService", "drain", "stop part"])

    def test_refused(self) -> None:
        """What is wrong before the start is one sentence; a daemon's own exception."""
        for fault in (ListenFault("taken"), AccountError("unknown")):
            self.edges.fault = fault
            self.service.is_daemon = False
            refused = self.assertRaises(SystemExit, self.service.privilegedStartService)
            self.assertEqual(refused.code, str(fault))
            self.service.is_daemon = True
            self.assertIs(self.assertRaises(type(fault), self.service.privilegedStartService), fault)
