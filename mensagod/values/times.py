"""Parsing and formatting of the protocol's times, dates and numbers (spec 02)."""

import re
from datetime import UTC, date, datetime
from typing import Final

from mensagod.errors import BadValue

MAX_INTEGER: Final = 2**31 - 1
MAX_LONG: Final = 2**63 - 1

_TIMESTAMP = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})T([0-9]{2}):([0-9]{2}):([0-9]{2})Z")
_LEGACY_TIMESTAMP = re.compile(r"([0-9]{4})([0-9]{2})([0-9]{2})T([0-9]{2})([0-9]{2})([0-9]{2})Z")
_DATE = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})")
_LEGACY_DATE = re.compile(r"([0-9]{4})([0-9]{2})([0-9]{2})")

# Leading zeros are allowed; the limit bounds the cost of the conversion.
_DIGITS = re.compile(r"[0-9]{1,32}")


def parse_timestamp(text: str) -> datetime:
    """Parse a Timestamp, also in its legacy form, as an aware time in UTC.

    :raises BadValue: if it is malformed, or the day or time does not exist, such as the year 0, the hour 24
        or a leap second.
    """
    match = _TIMESTAMP.fullmatch(text) or _LEGACY_TIMESTAMP.fullmatch(text)
    if match is None:
        raise BadValue("a timestamp is YYYY-MM-DDTHH:MM:SSZ")
    year, month, day, hour, minute, second = map(int, match.groups())
    try:
        return datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError:
        raise BadValue("a timestamp must name a time that exists") from None


def format_timestamp(moment: datetime) -> str:
    """Format an aware time as a Timestamp, without fractions of a second.

    :raises ValueError: for a time without a time zone.
    """
    if moment.tzinfo is None:
        raise ValueError("a time without zone has no timestamp")
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="seconds") + "Z"


def parse_date(text: str) -> date:
    """Parse a Date, also in its legacy form; raise :class:`.BadValue` if it is not an existing day."""
    match = _DATE.fullmatch(text) or _LEGACY_DATE.fullmatch(text)
    if match is None:
        raise BadValue("a date is YYYY-MM-DD")
    year, month, day = map(int, match.groups())
    try:
        return date(year, month, day)
    except ValueError:
        raise BadValue("a date must name a day that exists") from None


def format_date(day: date) -> str:
    """Format a Date. For a :class:`~datetime.datetime` it is the day in its own time zone."""
    return date(day.year, day.month, day.day).isoformat()


def parse_integer(text: str) -> int:
    """Parse an Integer, 0 to 2^31-1; leading zeros are allowed, signs and blanks are not.

    :raises BadValue: if it is not 1 to 32 ASCII digits, or out of range.
    """
    return _number(text, MAX_INTEGER)


def parse_long(text: str) -> int:
    """Parse a Long, 0 to 2^63-1; otherwise as :func:`.parse_integer`."""
    return _number(text, MAX_LONG)


def parse_unix_time(text: str) -> int:
    """Parse a UnixTime, a Long of seconds. It may be too large for a ``datetime``."""
    return _number(text, MAX_LONG)


def _number(text: str, largest: int) -> int:
    if _DIGITS.fullmatch(text) is None:
        raise BadValue("a number is ASCII digits only")
    number = int(text)
    if number > largest:
        raise BadValue(f"a number here is at most {largest}")
    return number
