"""Encoding messages as frames and decoding them, without I/O (spec 01, *Frames*)."""

from mmap import mmap

from mensagod.errors import BadRequest, LimitReached

SINGLE, START, MIDDLE, FINAL = 50, 51, 52, 53
HEADER_SIZE = 3
MAX_PAYLOAD = 65532
MAPPED = 64 * 1024
"""Messages longer than this, in bytes, are received into an anonymous map of memory.

The system provides it page by page as it is written. Growing or copying the memory of a large message would
take many milliseconds.
"""
# More digits than any limit has, and few enough to be parsed at no cost.
MAX_TOTAL_DIGITS = 20


class FrameFault(BadRequest):
    """A frame breaks the rules. Where the next frame begins is unknown, so the connection must close."""

    def __init__(self, info: str):
        super().__init__(info, close=True)


class MessageTooLarge(LimitReached):
    """A message announces more bytes than the session may send; the connection must close."""

    def __init__(self, size: int, limit: int):
        super().__init__(f"Message of {size} bytes is over the limit of {limit}", close=True)


def _frame(kind: int, payload: bytes) -> bytes:
    """Make one frame: header and payload."""
    return bytes((kind, len(payload) >> 8, len(payload) & 0xFF)) + payload


def encode_message(message: bytes) -> bytes:
    """Give all frames of ``message`` as one piece.

    :raises ValueError: if ``message`` is empty.
    """
    return b"".join(split_message(message))


def split_message(message: bytes) -> list[bytes]:
    """Give the frames of ``message`` in pieces of bounded size, each to be sent in one write.

    A message that fits into a single frame is one piece.

    :raises ValueError: if ``message`` is empty.
    """
    size = len(message)
    if not message:
        raise ValueError("a message is never empty")
    if size < MAX_PAYLOAD:
        return [b"%c%c%c%b" % (SINGLE, size >> 8, size & 0xFF, message)]
    cuts = range(0, size, MAX_PAYLOAD)
    pieces = [_frame(MIDDLE, message[cut : cut + MAX_PAYLOAD]) for cut in cuts[:-1]]
    pieces.append(_frame(FINAL, message[cuts[-1] :]))
    pieces[0] = _frame(START, b"%d" % size) + pieces[0]
    return pieces


class MessageEncoder:
    """Makes the frames of a message that is never in memory as a whole (spec 01, *Frames*).

    The pieces may have any size, but the size of the message must be known in advance.

    :param total: the size of the message in bytes; at least 1.
    """

    __slots__ = ("_buffer", "_is_single", "_missing", "_prefix")

    def __init__(self, total: int):
        if total < 1:
            raise ValueError("a message is never empty")
        self._is_single = total < MAX_PAYLOAD
        self._prefix = b"" if self._is_single else _frame(START, b"%d" % total)
        self._missing = total
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """Add the next bytes, and give the frames that they complete, each to be sent in one write.

        :raises ValueError: if the message becomes longer than was announced.
        """
        self._missing -= len(data)
        if self._missing < 0:
            raise ValueError("a message is longer than was announced")
        self._buffer += data
        frames = []
        # The final frame must not be empty, so a middle frame is made only if bytes are left after it.
        while len(self._buffer) > MAX_PAYLOAD:
            frames.append(self._cut(MIDDLE, MAX_PAYLOAD))
        if not self._missing and self._buffer:
            frames.append(self._cut(SINGLE if self._is_single else FINAL, len(self._buffer)))
        return frames

    def finish(self) -> None:
        """Check that the message is complete; raise :class:`ValueError` if bytes are missing."""
        if self._missing:
            raise ValueError("a message is shorter than was announced")

    def _cut(self, kind: int, size: int) -> bytes:
        prefix, self._prefix = self._prefix, b""
        frame = prefix + _frame(kind, bytes(self._buffer[:size]))
        del self._buffer[:size]
        return frame


class FrameDecoder:
    """Decodes received bytes into whole messages, however the bytes were split (spec 01, *Frames*).

    Give it bytes with :meth:`receive`, then call :meth:`next_message` or :meth:`next_buffer` until it
    returns ``None``. After that
    it buffers at most ``max_message`` bytes of an unfinished message and the beginning of one frame.

    :param frames_at_once: how many frames one call of :meth:`next_message` reads at most; ``None`` means no
        limit.
    :ivar held: how many payload bytes of an unfinished multipart message are buffered.
    :ivar has_more: whether :meth:`next_message` returned ``None`` only because of ``frames_at_once``: it
        must be called again later.
    :ivar max_message: the largest message in bytes; it may change between messages.
    """

    __slots__ = (
        "_at",
        "_at_once",
        "_buffer",
        "_fault",
        "_held",
        "_total",
        "has_more",
        "held",
        "max_message",
    )

    def __init__(self, max_message: int, frames_at_once: int | None = None):
        self.max_message = max_message
        self.held = 0
        self.has_more = False
        self._at_once = frames_at_once
        self._buffer: bytes | bytearray = b""
        self._at = 0  # where in the buffer the unread bytes begin
        self._total = 0  # announced by the open multipart message; 0 when none is open
        self._held: bytearray | mmap = bytearray()  # what has come of it
        self._fault: FrameFault | MessageTooLarge | None = None

    @property
    def buffered(self) -> int:
        """How many received bytes are buffered, including those of an unfinished message."""
        return len(self._buffer) - self._at + self.held

    @property
    def mid_message(self) -> bool:
        """Whether a message has begun but not ended; valid after :meth:`next_message` returned ``None``."""
        return self._total > 0 or self._at < len(self._buffer)

    def receive(self, data: bytes) -> None:
        """Add bytes from the peer; after a fault they are discarded."""
        if self._fault is not None:
            return
        if self._at == len(self._buffer):
            # No copy in the usual case: the chunk begins with a frame.
            self._buffer, self._at = data, 0
            return
        self._trim()
        if isinstance(self._buffer, bytes):
            self._buffer = bytearray(self._buffer)
        self._buffer += data

    def next_message(self) -> bytes | None:
        """Give the next whole message, see :meth:`next_buffer`; copy it if it is in a map of memory."""
        message = self.next_buffer()
        return None if message is None else bytes(message)

    def next_buffer(self) -> bytes | mmap | None:
        """Give the next whole message, or ``None`` if more bytes are needed.

        A single frame without payload is the empty message. It is no valid request, but not a frame fault.

        :raises FrameFault: if a frame breaks the rules; every later call raises it again.
        :raises MessageTooLarge: if a message is longer than ``max_message``, before it is buffered; every
            later call raises it again.
        """
        if self._fault is not None:
            raise self._fault.with_traceback(None)
        try:
            return self._read_frames()
        except (FrameFault, MessageTooLarge) as fault:
            self._fault = fault
            self._buffer, self._at = b"", 0
            self._close_multipart()
            raise

    def take_raw(self, limit: int) -> bytes:
        """Remove and give up to ``limit`` raw bytes from the buffer (spec 01, *Raw data phases*).

        :raises RuntimeError: if a multipart message is unfinished; raw data begins between messages.
        """
        if self._total:
            raise RuntimeError("raw data cannot begin inside a message")
        end = min(self._at + limit, len(self._buffer))
        return self._take(self._at, end)

    def _read_frames(self) -> bytes | mmap | None:
        """Read frames until a message is whole or the bytes run out."""
        frames = 0
        self.has_more = False
        while len(self._buffer) - self._at >= HEADER_SIZE:
            if frames == self._at_once:
                self.has_more = True
                return None
            frames += 1
            begin = self._at + HEADER_SIZE
            kind, high, low = self._buffer[self._at : begin]
            length = high << 8 | low
            self._check_header(kind, length)
            if begin + length > len(self._buffer):
                break
            payload = self._take(begin, begin + length)
            message = payload if kind == SINGLE else self._accept(kind, payload)
            if message is not None:
                return message
        self._trim()
        return None

    def _check_header(self, kind: int, length: int) -> None:
        """Check a frame as soon as its header is there, before its payload is."""
        if not SINGLE <= kind <= FINAL:
            raise FrameFault(f"Unknown frame type {kind}")
        if length > MAX_PAYLOAD:
            raise FrameFault(f"Frame of {length} bytes, longer than {MAX_PAYLOAD}")
        if kind >= MIDDLE:
            self._check_part(kind, length)
        elif self._total:
            raise FrameFault("New message inside a multipart message")
        elif kind == START and not 0 < length <= MAX_TOTAL_DIGITS:
            raise FrameFault("Total of a multipart message is not a number")
        elif length > self.max_message:
            raise MessageTooLarge(length, self.max_message)

    def _check_part(self, kind: int, length: int) -> None:
        """Check that a part belongs to a multipart message and is consistent with its total."""
        if not self._total:
            raise FrameFault("Part of a multipart message without its start")
        if not length:
            raise FrameFault("Empty part of a multipart message")
        missing = self._total - self.held - length
        # After a middle frame that completes the total, the final frame would be empty.
        if missing if kind == FINAL else missing <= 0:
            raise FrameFault("Parts of a multipart message do not add up to its total")

    def _accept(self, kind: int, payload: bytes) -> bytes | mmap | None:
        """Add a frame to a multipart message; give the message if this is its final frame."""
        if kind == START:
            self._open_multipart(payload)
            return None
        # One piece of memory instead of a list of parts: many tiny parts must not take more than their bytes.
        self._held[self.held : self.held + len(payload)] = payload
        self.held += len(payload)
        if kind == MIDDLE:
            return None
        message = self._held
        self._close_multipart()
        return bytes(message) if isinstance(message, bytearray) else message

    def _open_multipart(self, digits: bytes) -> None:
        """Begin a multipart message; leading zeros, and a total that fits a single frame, are accepted."""
        total = int(digits) if digits.isdigit() else 0
        if not total:
            raise FrameFault("Total of a multipart message is not a number")
        if total > self.max_message:
            raise MessageTooLarge(total, self.max_message)
        self._total = total
        if total > MAPPED:
            self._held = mmap(-1, total)

    def _close_multipart(self) -> None:
        self._total = self.held = 0
        self._held = bytearray()

    def _take(self, begin: int, end: int) -> bytes:
        """Copy bytes out of the buffer and advance behind them; free the buffer if it is used up."""
        taken = bytes(self._buffer[begin:end])
        if end == len(self._buffer):
            self._buffer, self._at = b"", 0
        else:
            self._at = end
        return taken

    def _trim(self) -> None:
        """Free the part of the buffer that was read."""
        if not self._at:
            return
        if isinstance(self._buffer, bytearray):
            del self._buffer[: self._at]
        else:
            self._buffer = self._buffer[self._at :]
        self._at = 0
