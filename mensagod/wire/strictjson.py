"""Requests as JSON, stricter than JSON libraries are, at their speed (spec 01, *Requests*).

``msgspec`` decodes in one pass, but takes the last of two members of one name and only skims what it does not
need. What it dropped or skimmed shows in a count: each member that it kept accounts for the two quotes around
its name, and two more around its value.
"""

import msgspec
from msgspec import UNSET, UnsetType

from mensagod.errors import BadRequest

# No command comes near. Each field costs ten times its bytes in memory, so their number has to have a bound.
MAX_FIELDS = 1024
_MAX_QUOTES = 4 * MAX_FIELDS
# A member that is neither Action nor Data is only looked at in order to ignore it.
MAX_IGNORED = 65532


class MalformedRequest(BadRequest):
    """The request is not an object of an ``Action`` and a ``Data`` of strings; the connection stays."""


class _Members(msgspec.Struct):
    """The two members that count, named as on the wire."""

    Action: str
    Data: dict[str, str] | UnsetType | None = UNSET


_members = msgspec.json.Decoder(_Members)
_raw_members = msgspec.json.Decoder(dict[str, msgspec.Raw])
_anything = msgspec.json.Decoder()


def parse_request(raw: bytes) -> tuple[str, dict[str, str]]:
    """Give the action, as it was sent, and the data of a request, in time linear to its size.

    :raises MalformedRequest: if it is anything but what spec 01, *Requests*, allows.
    """
    quotes = _count_quotes(raw)
    if quotes > _MAX_QUOTES:
        raise MalformedRequest("Request has too many fields")
    try:
        members = _members.decode(raw)
        data = members.Data
        # Two members, or one without Data; what this count cannot explain is looked at closely.
        if data is None or data is UNSET:
            expected, data = (4 if data is UNSET else 6), {}
        else:
            expected = 6 + 4 * len(data)
        if quotes != expected:
            _check_members(raw, quotes, data)
    except msgspec.ValidationError:
        raise MalformedRequest("Request is not an object of Action and Data with strings") from None
    # Invalid UTF-8 is a ValueError that is not msgspec's.
    except (msgspec.DecodeError, ValueError):
        raise MalformedRequest("Request is not JSON") from None
    except RecursionError:
        raise MalformedRequest("Request is nested too deeply") from None
    # A bare NUL is no JSON, so that one can only come as an escape.
    if b"\\" in raw:
        _check_nul(members.Action, data)
    return members.Action, data


def _count_quotes(text: bytes) -> int:
    """Count the quotes in ``text`` that begin or end a string."""
    if b"\\" not in text:
        return text.count(b'"')
    text = text.replace(b"\\\\", b"")
    return text.count(b'"') - text.count(b'\\"')


def _check_members(raw: bytes, quotes: int, data: dict[str, str]) -> None:
    """Tell members of the top level that are to be ignored from those that came twice."""
    members = _raw_members.decode(raw)
    counts = {name: _count_quotes(bytes(value)) for name, value in members.items()}
    if quotes != 2 * len(counts) + sum(counts.values()) or counts.get("Data", 0) != 4 * len(data):
        raise MalformedRequest("Request has a member twice")
    for name, value in members.items():
        if name not in {"Action", "Data"}:
            _check_ignored(bytes(value))


def _check_ignored(value: bytes) -> None:
    """Refuse a member that is not even JSON; what may be ignored must still be well-formed."""
    if len(value) > MAX_IGNORED:
        raise MalformedRequest("Request has a large member of unknown name")
    try:
        _anything.decode(value)
    except msgspec.ValidationError:
        raise MalformedRequest("Request has a number out of range") from None


def _check_nul(action: str, data: dict[str, str]) -> None:
    """Refuse a NUL: neither PostgreSQL nor a file name can hold it."""
    if "\0" in action or any("\0" in name or "\0" in value for name, value in data.items()):
        raise MalformedRequest("Request has a NUL in a value")
