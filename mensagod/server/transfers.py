"""Raw data phases: bytes without frames, streamed with bounded memory (spec 01, *Raw data phases*)."""

from collections.abc import Awaitable, Callable

from twisted.internet.defer import CancelledError, Deferred, ensureDeferred, succeed

from mensagod.errors import CommandError
from mensagod.sessions.exchange import Interrupted
from mensagod.threads.interfaces import Threads
from mensagod.wire.frames import FrameDecoder
from mensagod.wire.raw_data import ISink, ISource

CHUNK = 64 * 1024
"""How many bytes are read or written at once.

A file that is sent has up to four chunks in memory: two in the transport's write buffer, one that waits
until that is empty, and one that is read meanwhile.
"""

DISCARD = 1024 * 1024
"""How many bytes of a failed transfer are at most read and discarded, so that an answer can follow."""


async def send_raw(
    source: ISource, size: int, workers: Threads, write: Callable[[bytes], Awaitable[None]]
) -> None:
    """Send ``size`` bytes of ``source``; the next chunk is read while the last one is being written.

    However it ends, no read of the source is running afterwards.

    :raises OSError: if the source cannot be read.
    :raises EOFError: if it has fewer bytes.
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
    # A thread only if the read would block: it costs more than copying what is in memory.
    ready = source.read_ready(size)
    return succeed(ready) if ready else ensureDeferred(workers.run(source.read, size))


class RawReceipt:
    """The receipt of raw data: it moves bytes from the connection's buffer to a sink.

    :param resume: called when bytes were taken from the buffer, so that reading may continue, and when the
        receipt begins to wait for more.
    :ivar closes: whether the connection must close after the answer, because where the next frame begins is
        unknown.
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
    def is_waiting_for_peer(self) -> bool:
        """Whether the receipt waits for bytes of the peer, and not for the sink."""
        return self._waiting is not None

    def more(self) -> None:
        """Continue: bytes were received."""
        self._wake()

    def end(self) -> None:
        """Give up: the connection is lost, or the peer is too slow."""
        self._ended = True
        self._wake()

    async def run(self) -> None:
        """Move all bytes to the sink.

        :raises Interrupted: if the peer stopped sending.
        :raises Exception: what the sink raised. At most :data:`DISCARD` remaining bytes are discarded before
            that; if there are more, :attr:`closes` is set.
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
                await self._discard_rest()
            raise

    async def _discard_rest(self) -> None:
        """Read and discard the rest of the data, so that the answer to the error can follow it."""
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
    """Discard ``data``."""
