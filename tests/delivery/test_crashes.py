"""kill -9 at every step of a message's way: nothing lost, nothing doubled (spec 05, *The queue*)."""

import contextlib
import json
import os
import sys

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessExitedAlready, ProcessTerminated
from twisted.internet.interfaces import IProcessTransport
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

from mensagod.client.errors import Disconnected
from mensagod.client.sending import send
from tests.delivery.mail import MailTestCase


class DoomedProcess(ProcessProtocol):
    """The process of a server that will be killed.

    :ivar port: fires with its port.
    :ivar ended: fires with the signal that ended it.
    """

    def __init__(self) -> None:
        self.port: Deferred[int] = Deferred()
        self.ended: Deferred[int | None] = Deferred()
        self.output = self.errors = b""

    def outReceived(self, data: bytes) -> None:
        self.output += data
        if self.output.endswith(b"\n"):
            self.port.callback(int(self.output))

    def errReceived(self, data: bytes) -> None:
        self.errors += data

    def processEnded(self, reason: Failure) -> None:
        if not self.port.called:
            self.port.errback(RuntimeError(self.errors.decode()))
        ended = reason.value
        self.ended.callback(ended.signal if isinstance(ended, ProcessTerminated) else None)


class CrashTests(MailTestCase):
    """A server is killed while it takes or delivers a message, and another goes on."""

    async def prepare(self) -> None:
        # The first server is another process.
        await self.establish()
        await self.introduce()

    async def crash(self, step: str) -> bool:
        """Send a message to a server that dies at a step; tell whether it had said 200 before."""
        settings = {"directory": str(self.directory), "database": self.parameters, "step": step}
        process = DoomedProcess()
        arguments = [sys.executable, "-m", "tests.delivery.doomed", json.dumps(settings)]
        running = reactor.spawnProcess(process, sys.executable, arguments, env=dict(os.environ), path=_ROOT)
        self.addCleanup(self.end, running)
        client = await self.client(await process.port)
        await self.log_in(client, self.alice)
        try:
            await send(client, self.letter(), self.bob.domain)
        except Disconnected:
            acknowledged = False
        else:
            acknowledged = True
        self.assertEqual(await process.ended, 9)
        return acknowledged

    def end(self, process: IProcessTransport) -> None:
        """End a process that was not killed as it should have been."""
        with contextlib.suppress(ProcessExitedAlready):
            process.signalProcess("KILL")

    async def assert_survived(self, step: str, *, arrives: bool) -> None:
        """After the crash and a new start the message has arrived once, or was never promised."""
        acknowledged = await self.crash(step)
        self.assertTrue(arrives or not acknowledged)
        # What a dead process held is taken over when its lease ends; the test does not wait for that.
        await self.change("UPDATE queue SET lease_until = '2001-01-01' WHERE lease IS NOT NULL")
        self.service = await self.serve(self.base_config())
        await self.until("SELECT count(*) = 0 FROM queue")
        self.assertEqual(len(await self.delivered(self.bob.workspace)), arrives)
        await self.assert_consistent()

    async def test_reserved(self) -> None:
        """Killed when the message has a row but no file: it was not promised, nothing stays."""
        await self.assert_survived("after reserve", arrives=False)

    async def test_half_written(self) -> None:
        """Killed while its file is being written: nothing stays."""
        await self.assert_survived("torn write", arrives=False)

    async def test_written(self) -> None:
        """Killed when the file is written, before it is accepted: nothing stays."""
        await self.assert_survived("after write", arrives=False)

    async def test_accepting(self) -> None:
        """Killed inside the transaction that accepts it: nothing stays."""
        await self.assert_survived("before accept", arrives=False)

    async def test_accepted(self) -> None:
        """Killed when it is accepted, before the client hears of it: it arrives once."""
        await self.assert_survived("after accept", arrives=True)

    async def test_claimed(self) -> None:
        """Killed when a worker has it: it arrives once."""
        await self.assert_survived("after claim", arrives=True)

    async def test_aimed(self) -> None:
        """Killed when its place is decided: it arrives once."""
        await self.assert_survived("after aim", arrives=True)

    async def test_moved(self) -> None:
        """Killed when its file has moved: it arrives once, with its content."""
        await self.assert_survived("after move", arrives=True)

    async def test_placing(self) -> None:
        """Killed inside the transaction that makes it live: it arrives once."""
        await self.assert_survived("before place", arrives=True)

    async def test_placed(self) -> None:
        """Killed when it is live: it stays there once."""
        await self.assert_survived("after place", arrives=True)


_ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
