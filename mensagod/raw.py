"""Raw data phases: a file's bytes without frames, streamed in bounded memory (spec 01, *Raw data phases*)."""

from collections.abc import Awaitable, Callable

from twisted.internet.defer import Deferred, ensureDeferred

from mensagod.errors import CommandError
from mensagod.session import Hangup, Outcome, ReceiveRaw, SendRaw
from mensagod.threads import Crew
from mensagod.wire.frames import FrameDecoder
from mensagod.wire.messages import Response

CHUNK = 128 * 1024
"""How much is read or written at once, in bytes; one such piece is in the transport, one ahead of it."""

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
    return ensureDeferred(crew.run(outcome.source.read, min(CHUNK, left)))


class RawReceipt:
    """Bytes on their way from the connection's buffer to a sink.

    :param resume: called when bytes were taken from the buffer, so that reading may go on.
    """

    def __init__(self, outcome: ReceiveRaw, decoder: FrameDecoder, resume: Callable[[], None]):
        self._left = outcome.size
        self._sink = outcome.sink
        self._decoder = decoder
        self._resume = resume
        self._waiting: Deferred[None] | None = None
        self._ended = False

    def more(self) -> None:
        """Bytes have come."""
        self._wake()

    def end(self) -> None:
        """No more bytes will come, or they take too long."""
        self._ended = True
        self._wake()

    async def run(self) -> Outcome:
        """Move all bytes and give what the sink answers."""
        try:
            await self._move(self._sink.write)
        except _Interrupted:
            return Hangup(await self._sink.interrupted())
        except CommandError as error:
            return await self._refuse(error)
        try:
            return await self._sink.finish()
        except CommandError as error:
            return Response.from_error(error)

    async def _refuse(self, error: CommandError) -> Outcome:
        """Answer a fault in the middle: behind the rest of the data if that is little."""
        response = Response.from_error(error)
        if self._left > DISCARD:
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
                await self._waiting

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.callback(None)


async def _discard(data: bytes) -> None:
    """Let ``data`` go."""
