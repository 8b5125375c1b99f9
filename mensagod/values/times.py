"""Times, dates and numbers as the protocol writes them (spec 02)."""

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

# Room for leading zeros, and a bound on what a conversion can cost.
_DIGITS = re.compile(r"[0-9]{1,32}")


def parse_timestamp(text: str) -> datetime:
    """Read a Timestamp, also in its legacy form, as an aware time in UTC.

    :raises BadValue: on another form, and on a day or time that does not exist: the
        year 0, hour 24 and leap seconds among them.
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
    """Write an aware time as a Timestamp, cut to the second.

    :raises ValueError: for a time without zone, which could mean anything.
    """
    if moment.tzinfo is None:
        raise ValueError("a time without zone has no timestamp")
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="seconds") + "Z"


def parse_date(text: str) -> date:
    """Read a Date, also in its legacy form; raise :class:`.BadValue` if there is no such day."""
    match = _DATE.fullmatch(text) or _LEGACY_DATE.fullmatch(text)
    if match is None:
        raise BadValue("a date is YYYY-MM-DD")
    year, month, day = map(int, match.groups())
    try:
        return date(year, month, day)
    except ValueError:
        raise BadValue("a date must name a day that exists") from None


def format_date(day: date) -> str:
    """Write a Date. Of a :class:`~datetime.datetime` the day counts that it names in its own zone."""
    return date(day.year, day.month, day.day).isoformat()


def parse_integer(text: str) -> int:
    """Read an Integer, 0 to 2^31-1; leading zeros are allowed, signs and blanks are not.

    :raises BadValue: on anything but 1 to 32 ASCII digits, and out of range.
    """
    return _number(text, MAX_INTEGER)


def parse_long(text: str) -> int:
    """Read a Long, 0 to 2^63-1; else as :func:`.parse_integer`."""
    return _number(text, MAX_LONG)


def parse_unix_time(text: str) -> int:
    """Read a UnixTime, a Long of seconds. It can lie beyond what a ``datetime`` can hold."""
    return _number(text, MAX_LONG)


def _number(text: str, largest: int) -> int:
    if _DIGITS.fullmatch(text) is None:
        raise BadValue("a number is ASCII digits only")
    number = int(text)
    if number > largest:
        raise BadValue(f"a number here is at most {largest}")
    return number
