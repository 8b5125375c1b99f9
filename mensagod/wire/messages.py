"""Requests and responses (spec 01, *Requests* and *Responses*)."""

from collections.abc import AsyncIterator, Callable, Mapping
from types import MappingProxyType
from typing import Self, TypeVar, overload

import msgspec
from attrs import define, field

from mensagod.errors import AlgorithmNotSupported, BadRequest, BadValue, CommandError, UnsupportedAlgorithm
from mensagod.status import Status
from mensagod.wire.long_texts import LongText
from mensagod.wire.strictjson import MalformedRequest, parse_request

__all__ = ["LongResponse", "MalformedRequest", "MalformedResponse", "Request", "Response", "quote"]

T = TypeVar("T")
D = TypeVar("D")

_NOTHING: Mapping[str, str] = MappingProxyType({})
_NO_TEXTS: Mapping[str, LongText] = MappingProxyType({})
_encode = msgspec.json.Encoder().encode


class MalformedResponse(BadValue):
    """The message of a server is not a response."""


def quote(text: str, limit: int = 40) -> str:
    """Put a client's text in quotes for an ``Info``: at most ``limit`` characters, all of them printable."""
    shown = "".join(char if char.isprintable() else "?" for char in text[:limit])
    return f"'{shown}...'" if len(text) > limit else f"'{shown}'"


def upper(action: str) -> str:
    """Give the name of a command in upper case."""
    # Upper-casing turns some letters outside ASCII, such as the dotless i, into ASCII letters.
    return action.upper() if action.isascii() else action


@define
class Request:
    """A request.

    :ivar action: the name of the command, in upper case.
    :ivar data: the fields as text; :meth:`required` and :meth:`optional` give parsed values. Some fields are
        secrets, so ``repr`` shows none.
    :ivar long: the fields whose text is too long for that, see :mod:`mensagod.wire.large_requests`.
    """

    action: str
    data: dict[str, str] = field(factory=dict, repr=False)
    long: Mapping[str, LongText] = field(default=_NO_TEXTS, repr=False)

    @classmethod
    def from_bytes(cls, raw: bytes) -> Self:
        """Parse a message, in time linear to its size.

        :raises MalformedRequest: if it is not a well-formed request.
        """
        action, data = parse_request(raw)
        return cls(upper(action), data)

    def to_bytes(self) -> bytes:
        """Give the message, for a client to send."""
        return _encode({"Action": self.action, "Data": self.data})

    def has(self, name: str) -> bool:
        """Tell whether the request has the field; an empty one counts as missing."""
        return bool(self.data.get(name)) or name in self.long

    def required(self, name: str, parse: Callable[[str], T]) -> T:
        """Give the parsed value of a field.

        :raises BadRequest: if the field is missing, empty or long, or ``parse`` raises ``ValueError``, of
            which :class:`mensagod.errors.BadValue` is one.
        :raises AlgorithmNotSupported: if it names an algorithm that the server does not know.
        """
        text = self.data.get(name)
        if not text:
            raise BadRequest(f"{'Bad value for' if name in self.long else 'Missing required'} field {name}")
        try:
            return parse(text)
        except UnsupportedAlgorithm as unsupported:
            raise AlgorithmNotSupported(str(unsupported)) from None
        except ValueError:
            raise BadRequest(f"Bad value for field {name}") from None

    @overload
    def optional(self, name: str, parse: Callable[[str], T]) -> T | None: ...
    @overload
    def optional(self, name: str, parse: Callable[[str], T], default: D) -> T | D: ...

    def optional(self, name: str, parse: Callable[[str], T], default: D | None = None) -> T | D | None:
        """Give the parsed value of a field, or ``default`` if the field is missing or empty.

        :raises CommandError: as :meth:`required`, for a value that is not empty.
        """
        return self.required(name, parse) if self.has(name) else default


class _Reply(msgspec.Struct):
    """The members of a response, named and ordered as on the wire."""

    Code: int
    Status: str
    Info: str = ""
    Data: dict[str, str] = {}


# Not strict, because today's client library accepts a Code in quotes, too.
_reply = msgspec.json.Decoder(_Reply, strict=False)


@define
class Response:
    """A response.

    :ivar status: its code, from which the text follows.
    :ivar info: one sentence for a human reader.
    :ivar data: the fields.
    :ivar text: another text of the code, for the one code that has two (202: ``UNREGISTERED``).
    """

    status: Status
    info: str = ""
    data: Mapping[str, str] = _NOTHING
    text: str = ""

    @classmethod
    def from_error(cls, error: CommandError) -> Self:
        """Give the answer to a command that ended with ``error``."""
        return cls(error.status, error.info, error.data)

    @classmethod
    def from_bytes(cls, raw: bytes) -> Self:
        """Parse a message of a server; older ones omit an empty Info or Data, and use other texts.

        :raises MalformedResponse: if it is not a response or its code is unknown.
        """
        try:
            reply = _reply.decode(raw)
            status = Status(reply.Code)  # type: ignore[call-arg]
        except (msgspec.DecodeError, ValueError, RecursionError):
            raise MalformedResponse("Not a response") from None
        return cls(status, reply.Info, reply.Data, "" if reply.Status == status.text else reply.Status)

    def to_bytes(self) -> bytes:
        """Give the message, with exactly the four members that every client expects.

        :raises TypeError: if a value in ``data`` is not text, which is a bug in the command.
        """
        for value in self.data.values():
            if type(value) is not str:
                raise TypeError("every value of a response must be text")
        return _encode(_Reply(self.status, self.text or self.status.text, self.info, dict(self.data)))


_LONG_END = b'"}}'  # of the value, of Data, of the response


@define
class LongResponse:
    """A response whose last field is too long to be held in memory.

    :ivar response: the response without that field.
    :ivar name: the name of the field.
    :ivar size: how many bytes the value takes in JSON, without its quotation marks.
    :ivar pieces: the value, piece by piece; each is read when the peer has taken those before it.
    """

    response: Response
    name: str
    size: int
    pieces: AsyncIterator[str]

    @property
    def total(self) -> int:
        """The size of the whole message in bytes."""
        return len(self._head()) + self.size + len(_LONG_END)

    async def parts(self) -> AsyncIterator[bytes]:
        """Give the message piece by piece."""
        yield self._head()
        async for piece in self.pieces:
            yield _encode(piece)[1:-1]
        yield _LONG_END

    def _head(self) -> bytes:
        shorter = self.response.to_bytes().removesuffix(_LONG_END[1:])
        return b'%b%b%b:"' % (shorter, b"," if self.response.data else b"", _encode(self.name))
