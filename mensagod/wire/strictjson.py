"""Strict parsing of requests as JSON, at the speed of a JSON library (spec 01, *Requests*).

``msgspec`` decodes in one pass. But it accepts a duplicate member (the last one wins), and only skims members
that it does not need. Both are found by counting quotation marks: each member that was kept accounts for two
around its name and two around its value, and any others belong to something that was dropped or skimmed.
"""

import msgspec
from msgspec import UNSET, UnsetType

from mensagod.errors import BadRequest

# Far more than any command needs. A field takes ten times its bytes in memory, so their number is bounded.
MAX_FIELDS = 1024
_MAX_QUOTES = 4 * MAX_FIELDS
# The largest member in bytes that is neither Action nor Data: it is parsed only to be ignored.
MAX_IGNORED = 65532


class MalformedRequest(BadRequest):
    """The request is not an object of an ``Action`` and a ``Data`` of strings; the connection stays open."""


class _Members(msgspec.Struct):
    """The two members that are used, named as on the wire."""

    Action: str
    Data: dict[str, str] | UnsetType | None = UNSET


_members = msgspec.json.Decoder(_Members)
_raw_members = msgspec.json.Decoder(dict[str, msgspec.Raw])
_anything = msgspec.json.Decoder()


def parse_request(raw: bytes) -> tuple[str, dict[str, str]]:
    """Parse a request, in time linear to its size; give the action, as it was sent, and the data.

    :raises MalformedRequest: if it is not what spec 01, *Requests*, allows.
    """
    quotes = _count_quotes(raw)
    if quotes > _MAX_QUOTES:
        raise MalformedRequest("Request has too many fields")
    try:
        members = _members.decode(raw)
        data = members.Data
        # Action and Data, or Action alone; any other number of quotes needs the thorough check.
        if data is None or data is UNSET:
            expected, data = (4 if data is UNSET else 6), {}
        else:
            expected = 6 + 4 * len(data)
        if quotes != expected:
            _check_members(raw, quotes, data)
    except msgspec.ValidationError:
        raise MalformedRequest("Request is not an object of Action and Data with strings") from None
    # Invalid UTF-8 raises a plain ValueError, not one of msgspec's.
    except (msgspec.DecodeError, ValueError):
        raise MalformedRequest("Request is not JSON") from None
    except RecursionError:
        raise MalformedRequest("Request is nested too deeply") from None
    # A bare NUL is not valid JSON, so a NUL can only come from an escape.
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
    """Refuse a request with a duplicate member; accept top-level members that are ignored."""
    members = _raw_members.decode(raw)
    counts = {name: _count_quotes(bytes(value)) for name, value in members.items()}
    if quotes != 2 * len(counts) + sum(counts.values()) or counts.get("Data", 0) != 4 * len(data):
        raise MalformedRequest("Request has a member twice")
    for name, value in members.items():
        if name not in {"Action", "Data"}:
            _check_ignored(bytes(value))


def _check_ignored(value: bytes) -> None:
    """Refuse an ignored member that is too large or not well-formed."""
    if len(value) > MAX_IGNORED:
        raise MalformedRequest("Request has a large member of unknown name")
    try:
        _anything.decode(value)
    except msgspec.ValidationError:
        raise MalformedRequest("Request has a number out of range") from None


def _check_nul(action: str, data: dict[str, str]) -> None:
    """Refuse a NUL: neither PostgreSQL nor a file name can contain it."""
    if "\0" in action or any("\0" in name or "\0" in value for name, value in data.items()):
        raise MalformedRequest("Request has a NUL in a value")
