"""Where a store of files keeps a content: ``content/YYYYMMDD/XX/KEY.N`` (spec 06, *Files*)."""

import re
from datetime import date
from typing import Final
from uuid import UUID

from mensagod.contents.keys import ContentKey

CONTENT: Final = "content"

_DAY = re.compile(r"[0-9]{8}")
_BUCKET = re.compile(r"[0-9a-f]{2}")
_PART = re.compile(r"([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\.(?:0|[1-9][0-9]*)")


def day_name(day: date) -> str:
    """Name the directory of a day."""
    return day.isoformat().replace("-", "")


def bucket_name(content: UUID) -> str:
    """Name the directory of a content within its day: the first byte of its key."""
    return content.hex[:2]


def directory_of(key: ContentKey) -> tuple[str, ...]:
    """Name the directory of a content, from the root of the store."""
    return (CONTENT, day_name(key.day), bucket_name(key.id))


def part_name(content: UUID, number: int) -> str:
    """Name the file of a part."""
    return f"{content}.{number}"


def parse_day(name: str) -> date | None:
    """Read the name of a day's directory; ``None`` for any other name."""
    if _DAY.fullmatch(name) is None:
        return None
    try:
        return date.fromisoformat(name)
    except ValueError:
        return None


def is_bucket(name: str) -> bool:
    """Tell whether a directory of contents within a day can have a name."""
    return _BUCKET.fullmatch(name) is not None


def parse_part(name: str) -> UUID | None:
    """Read the key from the name of a part; ``None`` for any other name."""
    match = _PART.fullmatch(name)
    return None if match is None else UUID(match[1])


def count_parts(size: int, part_size: int) -> int:
    """Give the number of parts of a content; an empty one has an empty part."""
    return max(1, -(-size // part_size))


def size_of_part(size: int, part_size: int, number: int) -> int:
    """Give the size of one part of a content of ``size`` bytes."""
    return min(part_size, size - number * part_size)
