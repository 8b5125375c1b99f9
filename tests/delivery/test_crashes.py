"""kill -9 at every step of a message's way: nothing lost, nothing doubled (spec 05, *The queue*)."""

import contextlib
import json
import os
import sys
from datetime import UTC, datetime

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

    async def crash(self, step: str, text: str, inline_limit: int) -> bool:
        """Send a message to a server that dies at a step; tell whether it had said 200 before."""
        settings = {
            "directory": str(self.directory),
            "database": self.parameters,
            "step": step,
            "inline_limit": inline_limit,
        }
        process = DoomedProcess()
        arguments = [sys.executable, "-m", "tests.delivery.doomed", json.dumps(settings)]
        running = reactor.spawnProcess(process, sys.executable, arguments, env=dict(os.environ), path=_ROOT)
        self.addCleanup(self.end, running)
        client = await self.client(await process.port)
        await self.log_in(client, self.alice)
        try:
            await send(client, text, self.bob.domain)
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

    async def assert_survived(
        self, step: str, *, arrives: bool, inline_limit: int = 8, is_queued: bool = False
    ) -> None:
        """After the crash and a new start the message has arrived once, or was never promised.

        When the client repeats it then, it has arrived once in any case.

        :param is_queued: whether the message goes through the queue.
        """
        text = self.letter(send_time=datetime.now(UTC) if is_queued else None)
        acknowledged = await self.crash(step, text, inline_limit)
        self.assertTrue(arrives or not acknowledged)
        # The buckets of a dead process are taken over when its lease ends; the test does not wait for that.
        await self.change("UPDATE queue_workers SET until = '2001-01-01'")
        self.service = await self.serve(self.base_config())
        await self.until("SELECT count(*) = 0 FROM queue")
        self.assertEqual(len(await self.delivered(self.bob.workspace)), arrives)
        await self.assert_consistent()
        await send(await self.enter(self.alice), text, self.bob.domain)
        await self.until("SELECT count(*) = 0 FROM queue")
        self.assertEqual(len(await self.delivered(self.bob.workspace)), 1)
        await self.assert_consistent()

    async def test_announced(self) -> None:
        """Killed when the content has a row but no bytes: it was not promised."""
        await self.assert_survived("after begin_writing", arrives=False, inline_limit=0)

    async def test_half_written(self) -> None:
        """Killed while its content is being written: it was not promised."""
        await self.assert_survived("torn write", arrives=False, inline_limit=0)

    async def test_written(self) -> None:
        """Killed when the content is whole, before it is accepted: it was not promised."""
        await self.assert_survived("after write", arrives=False, inline_limit=0)

    async def test_accepting(self) -> None:
        """Killed inside the transaction that accepts it: it was not promised."""
        await self.assert_survived("before accept", arrives=False)

    async def test_accepting_from_the_store(self) -> None:
        """The same with a content in the store."""
        await self.assert_survived("before accept", arrives=False, inline_limit=0)

    async def test_accepted(self) -> None:
        """Killed when it is accepted, and so delivered, before the client hears of it: it arrives once."""
        await self.assert_survived("after accept", arrives=True)

    async def test_accepted_in_the_store(self) -> None:
        """The same with a content in the store."""
        await self.assert_survived("after accept", arrives=True, inline_limit=0)

    async def test_queued(self) -> None:
        """Killed when it is in the queue: it arrives once."""
        await self.assert_survived("after accept", arrives=True, is_queued=True)

    async def test_taken(self) -> None:
        """Killed when a worker has it: it arrives once."""
        await self.assert_survived("after list_due", arrives=True, is_queued=True)

    async def test_delivering(self) -> None:
        """Killed inside the transaction that delivers it: it arrives once."""
        await self.assert_survived("before deliver", arrives=True, is_queued=True, inline_limit=0)

    async def test_delivered(self) -> None:
        """Killed when it is live: it stays there once."""
        await self.assert_survived("after deliver", arrives=True, is_queued=True, inline_limit=0)


_ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
