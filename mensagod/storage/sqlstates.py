"""What an SQLSTATE of the database means for the interaction that heard it (spec 06, *Database*)."""

from enum import Enum
from typing import Final

from psycopg2 import errorcodes


class Meaning(Enum):
    """What becomes of an interaction, and of the connection it ran on."""

    FAULT = "a fault of the interaction: its error comes out as it is"
    CONFLICT = "another transaction was in the way: the interaction is tried again"
    NOT_NOW = "refused for now: 303"
    USELESS = "refused for now: 303, and the connection is not used again"
    READ_ONLY = "the session only reads: another connection is tried, then 303; none of before is used again"
    LOST = "the session ends: the interaction is tried again on another connection"


TABLE: Final = (
    (errorcodes.SERIALIZATION_FAILURE, Meaning.CONFLICT),
    (errorcodes.DEADLOCK_DETECTED, Meaning.CONFLICT),
    (errorcodes.READ_ONLY_SQL_TRANSACTION, Meaning.READ_ONLY),
    ("25P0", Meaning.NOT_NOW),  # a transaction that the server, or a pooler, has ended
    (errorcodes.CLASS_INSUFFICIENT_RESOURCES, Meaning.NOT_NOW),
    (errorcodes.LOCK_NOT_AVAILABLE, Meaning.NOT_NOW),  # lock_timeout
    (errorcodes.QUERY_CANCELED, Meaning.NOT_NOW),  # statement_timeout
    ("57P0", Meaning.LOST),  # a shutdown, a crash, a start
    (errorcodes.CLASS_SYSTEM_ERROR, Meaning.USELESS),
    (errorcodes.CLASS_CONNECTION_EXCEPTION, Meaning.LOST),
)
"""Codes, and beginnings of codes; no two of them fit the same code."""


def meaning_of(code: str | None) -> Meaning:
    """Say what a code means; one that is in no row, or none, is a fault."""
    for beginning, meaning in TABLE:
        if code is not None and code.startswith(beginning):
            return meaning
    return Meaning.FAULT


def is_not_now(code: str | None) -> bool:
    """Tell whether the same may succeed later."""
    return meaning_of(code) is not Meaning.FAULT
