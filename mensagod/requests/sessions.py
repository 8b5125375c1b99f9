"""Requests that control the session (spec 04, *Session*)."""

from attrs import frozen

from mensagod.values.times import parse_unix_time
from mensagod.wire.fields import Fields, optional


@frozen(kw_only=True)
class IdleFields(Fields):
    """IDLE."""

    count_updates: int | None = optional(
        "CountUpdates", parse_unix_time, "count the update records since that time; needs a login"
    )
