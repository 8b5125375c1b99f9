"""Raw data phases: a file's bytes without frames, streamed in bounded memory (spec 01, *Raw data phases*)."""

from collections.abc import Awaitable, Callable

from twisted.internet.defer import CancelledError, Deferred, ensureDeferred, succeed

from mensagod.errors import CommandError
from mensagod.sessions.session import Hangup, ReceiveRaw, SendRaw
from mensagod.threads.pool import Crew
from mensagod.wire.frames import FrameDecoder
from mensagod.wire.messages import Response

CHUNK = 64 * 1024
"""How much is read or written at once, in bytes.

Of a file that is sent, the transport takes up to two such pieces before it asks for a pause, one waits for
that to end, and one more is read meanwhile.
"""

DISCARD = 1024 * 1024
"""How much of a transfer that cannot succeed is still read before the answer, in bytes."""


class _Interrupted(Exception):
    """The bytes stopped coming."""


async def send_raw(outcome: SendRaw, crew: Crew, write: Callable[[bytes], Awaitable[None]]) -> None:
    """Send all of ``outcome``, reading one chunk ahead while the last one is being taken.

    :raises OSError: if the source cannot be read to the end.
    """
    left = outcome.size
    source = outcome.source
    try:
        if left:
            ahead = _read(crew, outcome, left)
        while left:
            chunk = await ahead
            if not chunk:
                raise EOFError("the file is shorter than it was")
            left -= len(chunk)
            if left:
                ahead = _read(crew, outcome, left)
            try:
                await write(chunk)
            except BaseException:
                # The thread may still be reading: it must be done before the source is closed.
                if left:
                    await ahead.addErrback(lambda _: b"")
                raise
    finally:
        source.close()


def _read(crew: Crew, outcome: SendRaw, left: int) -> Deferred[bytes]:
    size = min(CHUNK, left)
    # A thread only where there is something to wait for: it costs more than copying what is in memory.
    ready = outcome.source.read_ready(size)
    return succeed(ready) if ready else ensureDeferred(crew.run(outcome.source.read, size))


class RawReceipt:
    """Bytes on their way from the connection's buffer to a sink.

    :param resume: called when bytes were taken from the buffer, so that reading may go on, and when the
        receipt begins to wait for more.
    :param report: called in an ``except`` clause for a fault of ours; gives the answer.
    """

    def __init__(
        self,
        outcome: ReceiveRaw,
        decoder: FrameDecoder,
        resume: Callable[[], None],
        report: Callable[[str], Response],
    ):
        self._left = outcome.size
        self._sink = outcome.sink
        self._decoder = decoder
        self._resume = resume
        self._report = report
        self._waiting: Deferred[None] | None = None
        self._ended = False

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

    async def run(self) -> Response | Hangup:
        """Move all bytes and give what the sink answers."""
        try:
            await self._move(self._sink.write)
            return await self._sink.finish()
        except CancelledError:
            raise
        except _Interrupted:
            return Hangup(await self._interrupted())
        except CommandError as error:
            return await self._refuse(Response.from_error(error), error.close)
        except Exception:
            return await self._refuse(self._report("receiving data"))

    async def _interrupted(self) -> Response:
        """Have the sink answer that the bytes stopped coming."""
        try:
            return await self._sink.interrupted()
        except CancelledError:
            raise
        except CommandError as error:
            return Response.from_error(error)
        except Exception:
            return self._report("interrupted data")

    async def _refuse(self, response: Response, close: bool = False) -> Response | Hangup:
        """Answer a fault: behind the rest of the data if that is little."""
        if close or self._left > DISCARD:
            return Hangup(response)
        try:
            await self._move(_discard)
        except _Interrupted:
            return Hangup(response)
        return response

    async def _move(self, write: Callable[[bytes], Awaitable[None]]) -> None:
        while self._left:
            data = self._decoder.take_raw(min(CHUNK, self._left))
            if data:
                self._left -= len(data)
                self._resume()
                await write(data)
            elif self._ended:
                raise _Interrupted
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
