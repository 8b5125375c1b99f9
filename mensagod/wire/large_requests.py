"""Reading large requests in pieces, those that are received into a map (spec 01, *Timeouts and limits*).

How it works and why. A JSON library reads 24 MB in one call, during which no other thread and no other client
can do anything. What makes a legitimate request large is one long string, the ``Message`` of SEND. So
:class:`LargeRequest` does it in three steps, of which the first and the last stop after each piece:

1. It finds where the strings begin and end, and copies the text without its long strings into a *skeleton*;
   in it a random name stands for each long string. The skeleton is limited.
2. It has the skeleton read by the strict reader for all requests (:mod:`mensagod.wire.strictjson`).
3. It decodes each long string piece by piece, into UTF-8; a ``str`` takes up to four bytes for a character.

So every piece of the text is seen by the JSON library, and what is refused in a small request is refused in a
large one as well. In addition, only the ``Action`` and the values of ``Data`` can be long strings.
"""

import re
import secrets
from collections.abc import Generator
from mmap import mmap

import msgspec

from mensagod.wire.long_texts import LongText
from mensagod.wire.messages import Request, upper
from mensagod.wire.strictjson import MAX_FIELDS, MAX_IGNORED, MalformedRequest, parse_request

PIECE = 16 * 1024
"""How many bytes of a request are read at once, which takes about half a millisecond at most."""

LONG = MAX_IGNORED
"""The longest string, in bytes, that is read with the skeleton."""

MAX_SKELETON = 256 * 1024
"""How many bytes a request may have beside its long strings."""

_MAX_STRINGS = 2 * MAX_FIELDS
_NAME_SHOWN = 100

_INSIDE = re.compile(rb'(?:[^"\\]++|\\.)*+', re.DOTALL)
# Whole characters only: an escape is not cut, nor a pair of surrogates.
_CHARACTERS = re.compile(
    rb"(?:[^\\]++|\\u[dD][89abAB]..\\u[dD][c-fC-F]..|\\u(?![dD][89abAB])....|\\[^u])*+", re.DOTALL
)
_LONGEST_ESCAPE = len(rb"\ud83d\ude00")
_CONTINUES = 0b10  # the highest bits of a byte within a character of UTF-8
_text = msgspec.json.Decoder(str)


class LargeRequest:
    """Reads a request in pieces.

    :param raw: the message.
    """

    def __init__(self, raw: bytes | mmap):
        self._raw = raw
        self._strings: dict[str, tuple[int, int]] = {}  # where the long strings are, by the names for them
        self._pieces = self._read()

    def read_on(self) -> Request | None:
        """Read one more piece; give the request if that was the last one.

        :raises MalformedRequest: if it is not a well-formed request.
        """
        try:
            next(self._pieces)
        except StopIteration as end:
            request: Request = end.value
            return request
        return None

    def _read(self) -> Generator[None, None, Request]:
        skeleton = yield from self._cut()
        action, data = parse_request(skeleton)
        yield
        texts = {}
        for name in (action, *data.values()):
            place = self._strings.pop(name, None)
            if place is not None:
                texts[name] = yield from self._decode(*place)
        if self._strings:
            raise MalformedRequest("Request has a large member of unknown name")
        if action in texts:
            # No command has such a name; its beginning is enough to say so.
            action = texts[action].pieces[0][:_NAME_SHOWN].decode(errors="ignore")
        long = {name: texts[value] for name, value in data.items() if value in texts}
        short = {name: value for name, value in data.items() if value not in texts}
        return Request(upper(action), short, long)

    # The strings and the skeleton.

    def _cut(self) -> Generator[None, None, bytes]:
        """Find the long strings; give the text without them."""
        skeleton = bytearray()
        prefix = secrets.token_hex(8)
        at = strings = rest = 0
        while (begin := self._raw.find(b'"', at, at + PIECE) + 1) or at + PIECE < len(self._raw):
            if not begin:
                _add(skeleton, self._raw[at : at + PIECE])
                at += PIECE
                yield
                continue
            end = yield from self._end_of_string(begin)
            strings += 1
            if strings > _MAX_STRINGS:
                raise MalformedRequest("Request has too many fields")
            if end - begin > LONG:
                name = f"{prefix}-{strings}"
                self._strings[name] = (begin, end)
                _add(skeleton, b'%b"%b"' % (self._raw[at : begin - 1], name.encode()))
            else:
                _add(skeleton, self._raw[at : end + 1])
            at = end + 1
            if at - rest > PIECE:
                rest = at
                yield
        _add(skeleton, self._raw[at:])
        return bytes(skeleton)

    def _end_of_string(self, at: int) -> Generator[None, None, int]:
        """Find the quote that ends the string whose text begins ``at``."""
        while at < len(self._raw):
            stop = min(at + PIECE, len(self._raw))
            quote = self._raw.find(b'"', at, stop)
            end = stop if quote < 0 else quote
            escape = self._raw.find(b"\\", at, end)
            if escape >= 0:
                inside = _INSIDE.match(self._raw, escape, stop)
                end = inside.end() if inside else escape
            if self._raw[end : end + 1] == b'"':
                return end
            if end == at:
                break
            at = end
            yield
        raise MalformedRequest("Request is not JSON")

    # The text of long strings.

    def _decode(self, at: int, end: int) -> Generator[None, None, LongText]:
        """Decode the long string between two places."""
        pieces, length = [], 0
        while at < end:
            stop = self._end_of_character(at, end)
            try:
                text = _text.decode(b'"%b"' % self._raw[at:stop])
            except (msgspec.DecodeError, ValueError):
                raise MalformedRequest("Request is not JSON") from None
            if "\0" in text:
                raise MalformedRequest("Request has a NUL in a value")
            pieces.append(text.encode())
            length += len(text)
            at = stop
            yield
        return LongText(pieces, length)

    def _end_of_character(self, at: int, end: int) -> int:
        """Give where the next piece of a string ends: not within a character or an escape."""
        stop = min(at + PIECE, end)
        if stop == end:
            return end
        if self._raw.find(b"\\", stop - _LONGEST_ESCAPE, stop) >= 0:
            whole = _CHARACTERS.match(self._raw, at, stop)
            # None at all: the piece begins with a faulty escape, which the decoder refuses.
            stop = whole.end() if whole and whole.end() > at else stop
        while self._raw[stop] >> 6 == _CONTINUES and stop > at + 1:
            stop -= 1
        return stop


def _add(skeleton: bytearray, text: bytes) -> None:
    skeleton += text
    if len(skeleton) > MAX_SKELETON:
        raise MalformedRequest("Request has a large member of unknown name")
