"""What to change in DNS after the organization's keys have changed, and when (spec 03, *DNS*)."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from attrs import frozen

from mensagod.organization.dns_records import Record
from mensagod.organization.keyring import KEEP_DAYS
from mensagod.values.times import format_timestamp

LONGEST_CACHED: Final = timedelta(days=1)
"""How long other servers keep a management record at most (spec 03, *Trust in a remote server*)."""

SHORT_TTL: Final = 300
"""Seconds: a Time To Live with which a change is known soon."""


@frozen
class Task:
    """One thing for the operator to do, or to know.

    :ivar when: not before this time; ``None`` is before the change.
    :ivar records: what to publish then; each replaces what stands under its name and type.
    """

    when: datetime | None
    text: str
    records: Sequence[Record] = ()


def before_rotation() -> Task:
    """Write what makes a rotation go unnoticed."""
    return Task(
        None,
        f"A day before: lower the TTL of the TXT records below to {SHORT_TTL} seconds, so that nobody"
        " holds the old ones for long",
    )


def after_rotation(records: Sequence[Record], now: datetime) -> list[Task]:
    """Write what a rotation at ``now`` demands."""
    return [
        Task(
            now,
            "At once: replace the TXT records (never have old and new side by side). Until their old TTL is"
            " over, a day at most, other servers may refuse the new keycard and try again later",
            _texts(records),
        ),
        Task(now + LONGEST_CACHED, "Then: raise the TTL of the TXT records again, if you had lowered it"),
        Task(
            now + timedelta(days=KEEP_DAYS),
            "Then: what is still sealed to the old encryption key opens no longer. DNS stays as it is: svk,"
            " the key before this one, goes with the next rotation",
        ),
    ]


def after_revocation(records: Sequence[Record], now: datetime, *, anybody: bool) -> list[Task]:
    """Write what a revocation at ``now`` demands.

    :param anybody: whether there is somebody who needs a new keycard entry.
    """
    renew = Task(
        now,
        "At once: have everybody listed here make a new keycard entry; until then nobody can verify them."
        " Others may hold the old keycards for as many days as their Time-To-Live says",
    )
    look = "look with `mensagod org show` who still has no new entry; " if anybody else ""
    return [
        Task(
            now,
            "At once: replace the TXT records; there is no svk in them any more. Until their old TTL is over,"
            " a day at most, other servers refuse the new keycard: mail to and from them waits",
            _texts(records),
        ),
        *([renew] if anybody else []),
        Task(now + LONGEST_CACHED, f"Then: {look}the next rotation is due as usual, before the entry ends"),
    ]


def as_document(task: Task) -> dict[str, object]:
    """Write a task for a program."""
    return {
        "when": None if task.when is None else format_timestamp(task.when),
        "text": task.text,
        "records": [record_document(record) for record in task.records],
    }


def record_document(record: Record) -> dict[str, str]:
    """Write a record for a program."""
    return {"type": record.type, "name": record.name, "value": record.value}


def show_time(moment: datetime) -> str:
    """Write a time for a person, in UTC."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def _texts(records: Sequence[Record]) -> list[Record]:
    return [record for record in records if record.type == "TXT"]
