"""The operator's tasks in DNS when the organization's keys change (spec 03, *DNS*)."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from attrs import frozen

from mensagod.organization.dns_records import Record
from mensagod.organization.keyring import KEEP_DAYS
from mensagod.values.times import format_timestamp

LONGEST_CACHED: Final = timedelta(days=1)
"""The longest time that other servers cache a management record (spec 03, *Trust in a remote server*)."""

SHORT_TTL: Final = 300
"""The TTL, in seconds, to set before a change, so that others see the change soon."""


@frozen
class Task:
    """A task of the operator, or something to know.

    :ivar when: the earliest time; ``None`` means before the change.
    :ivar records: the records to publish then; each replaces the one with the same name and type.
    """

    when: datetime | None
    text: str
    records: Sequence[Record] = ()


def before_rotation() -> Task:
    """Give the task before a rotation, which keeps other servers from refusing the new keycard."""
    return Task(
        None,
        f"A day before the rotation: lower the TTL of the TXT records below to {SHORT_TTL} seconds, so that"
        " other servers do not cache the old ones for long",
    )


def after_rotation(records: Sequence[Record], now: datetime) -> list[Task]:
    """Give the tasks after a rotation at ``now``."""
    return [
        Task(
            now,
            "At once: replace the TXT records (never publish the old and the new one together). Until the old"
            " TTL has passed, at most a day, other servers may refuse the new keycard and try again later",
            _texts(records),
        ),
        Task(now + LONGEST_CACHED, "Then: raise the TTL of the TXT records again, if you lowered it"),
        Task(
            now + timedelta(days=KEEP_DAYS),
            "From then on: data sealed to the old encryption key can no longer be opened. Do not change DNS:"
            " svk, the previous signing key, is replaced at the next rotation",
        ),
    ]


def after_revocation(records: Sequence[Record], now: datetime, *, anybody: bool) -> list[Task]:
    """Give the tasks after a revocation at ``now``.

    :param anybody: whether there are users who need a new keycard entry.
    """
    renew = Task(
        now,
        "At once: have every user listed here make a new keycard entry; until then nobody can verify theirs."
        " Others may cache the old keycards for the number of days in their Time-To-Live",
    )
    check = "check with `mensagod org show` which users still need a new entry; " if anybody else ""
    return [
        Task(
            now,
            "At once: replace the TXT records; the new ones have no svk. Until the old TTL has passed, at"
            " most a day, other servers refuse the new keycard, and messages to and from them wait",
            _texts(records),
        ),
        *([renew] if anybody else []),
        Task(now + LONGEST_CACHED, f"Then: {check}rotate the keys as usual before the entry expires"),
    ]


def as_document(task: Task) -> dict[str, object]:
    """Give a task as a JSON document."""
    return {
        "when": None if task.when is None else format_timestamp(task.when),
        "text": task.text,
        "records": [record_document(record) for record in task.records],
    }


def record_document(record: Record) -> dict[str, str]:
    """Give a record as a JSON document."""
    return {"type": record.type, "name": record.name, "value": record.value}


def show_time(moment: datetime) -> str:
    """Format a time for the operator, in UTC."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def _texts(records: Sequence[Record]) -> list[Record]:
    return [record for record in records if record.type == "TXT"]
