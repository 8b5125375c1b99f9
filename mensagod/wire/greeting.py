"""The greeting: the first line that a server sends (spec 01, *Greeting*)."""

import re
from datetime import UTC, datetime
from typing import Self

import msgspec
from attrs import frozen

from mensagod.errors import BadValue
from mensagod.status import Status

#: The longest greeting that a client reads, in bytes.
MAX_GREETING = 1024
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z")


class MalformedGreeting(BadValue):
    """The first line of a server is not a greeting."""


class _Line(msgspec.Struct):
    """The members of a greeting, named and ordered as on the wire."""

    Name: str
    Version: str
    Code: int
    Status: str
    Date: str


_decoder = msgspec.json.Decoder(_Line)


@frozen
class Greeting:
    """A greeting.

    :ivar status: whether the server is ready, or why it is not.
    :ivar date: the time of the server's clock, timezone-aware; it is sent in UTC with whole seconds.
    """

    status: Status
    date: datetime

    def to_line(self) -> bytes:
        """Give the line, including CR LF; it must be sent in one write."""
        date = self.date.astimezone(UTC).replace(tzinfo=None, microsecond=0).isoformat() + "Z"
        line = _Line("Mensago", "0.1", self.status, self.status.text, date)
        return msgspec.json.encode(line) + b"\r\n"

    @classmethod
    def from_line(cls, line: bytes) -> Self:
        """Read a greeting of any version, with or without its line end.

        :raises MalformedGreeting: if it is longer than :data:`MAX_GREETING`, or is no greeting.
        """
        if len(line) > MAX_GREETING:
            raise MalformedGreeting("Greeting is too long")
        try:
            members = _decoder.decode(line)
            status = Status(members.Code)  # type: ignore[call-arg]
            date = _parse_date(members.Date)
        # Not JSON, not UTF-8, an unknown code, or a date that does not exist.
        except (msgspec.DecodeError, ValueError, RecursionError):
            raise MalformedGreeting("Not a greeting") from None
        if members.Name != "Mensago":
            raise MalformedGreeting("Not a greeting of a Mensago server")
        return cls(status, date)


def _parse_date(text: str) -> datetime:
    if not _DATE.fullmatch(text):
        raise MalformedGreeting("Date of the greeting is not a timestamp")
    return datetime.fromisoformat(text)
