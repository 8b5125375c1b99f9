"""Raw data phases: a file's bytes without frames, streamed in bounded memory (spec 01, *Raw data phases*)."""

from collections.abc import Awaitable, Callable

from twisted.internet.defer import CancelledError, Deferred, ensureDeferred, succeed

from mensagod.errors import CommandError
from mensagod.sessions.exchange import Interrupted
from mensagod.threads.interfaces import Threads
from mensagod.wire.frames import FrameDecoder
from mensagod.wire.raw_data import ISink, ISource

CHUNK = 64 * 1024
"""How much is read or written at once, in bytes.

Of a file that is sent, the transport takes up to two such pieces before it asks for a pause, one waits for
that to end, and one more is read meanwhile.
"""

DISCARD = 1024 * 1024
"""How much of a transfer that cannot succeed is still read before the answer, in bytes."""


async def send_raw(
    source: ISource, size: int, workers: Threads, write: Callable[[bytes], Awaitable[None]]
) -> None:
    """Send ``size`` bytes of ``source``, reading one chunk ahead while the last one is being taken.

    When it ends, however it does, nothing reads from the source any more.

    :raises OSError: if the source cannot be read to the end.
    """
    left = size
    if left:
        ahead = _read(source, left, workers)
    while left:
        chunk = await ahead
        if not chunk:
            raise EOFError("the file is shorter than it was")
        left -= len(chunk)
        if left:
            ahead = _read(source, left, workers)
        try:
            await write(chunk)
        except BaseException:
            if left:
                await ahead.addErrback(lambda _: b"")
            raise


def _read(source: ISource, left: int, workers: Threads) -> Deferred[bytes]:
    size = min(CHUNK, left)
    # A thread only where there is something to wait for: it costs more than copying what is in memory.
    ready = source.read_ready(size)
    return succeed(ready) if ready else ensureDeferred(workers.run(source.read, size))


class RawReceipt:
    """Bytes on their way from the connection's buffer to a sink.

    :param resume: called when bytes were taken from the buffer, so that reading may go on, and when the
        receipt begins to wait for more.
    :ivar closes: whether the connection must close after the answer: where the next frame begins is unknown.
    """

    def __init__(self, size: int, sink: ISink, decoder: FrameDecoder, resume: Callable[[], None]):
        self._left = size
        self._sink = sink
        self._decoder = decoder
        self._resume = resume
        self._waiting: Deferred[None] | None = None
        self._ended = False
        self.closes = False

    @property
    def is_hungry(self) -> bool:
        """Whether it is the peer that is waited for, and not the sink."""
        return self._waiting is not None

    def more(self) -> None:
        """Bytes have come."""
        self._wake()

    def end(self) -> None:
        """No more bytes will come, or they take too long."""
        self._ended = True
        self._wake()

    async def run(self) -> None:
        """Move all bytes.

        :raises Interrupted: if they stopped coming.
        :raises Exception: what the sink raised, once the rest was passed over if that is little.
        """
        try:
            await self._move(self._sink.write)
        except (CancelledError, Interrupted):
            self.closes = True
            raise
        except Exception as error:
            if isinstance(error, CommandError) and error.close:
                self.closes = True
            else:
                await self._pass_over()
            raise

    async def _pass_over(self) -> None:
        """Read the rest of the data and drop it, so that the answer to a fault can follow it."""
        if self._left > DISCARD:
            self.closes = True
            return
        try:
            await self._move(_discard)
        except Interrupted:
            self.closes = True

    async def _move(self, write: Callable[[bytes], Awaitable[None]]) -> None:
        while self._left:
            data = self._decoder.take_raw(min(CHUNK, self._left))
            if data:
                self._left -= len(data)
                self._resume()
                await write(data)
            elif self._ended:
                raise Interrupted
            else:
                self._waiting = Deferred()
                self._resume()
                await self._waiting

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.callback(None)


async def _discard(data: bytes) -> None:
    """Let ``data`` go."""
