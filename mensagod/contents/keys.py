"""The keys of contents (spec 06, *Files*)."""

from datetime import date
from uuid import UUID

from attrs import frozen


@frozen
class ContentKey:
    """The name of a content in the store.

    :ivar day: the day in UTC on which the database gave the key.
    """

    day: date
    id: UUID
