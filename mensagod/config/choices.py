"""The values of the configuration keys that are a choice of words (spec 04 and 06)."""

from enum import StrEnum


class Registration(StrEnum):
    """Who may open an account (spec 04, *Registering*)."""

    PUBLIC = "public"
    NETWORK = "network"
    MODERATED = "moderated"
    PRIVATE = "private"


class Hints(StrEnum):
    """How the processes of one installation notify each other of changes (spec 06, *Running many*)."""

    PG = "pg"
    POLL = "poll"


class LogFormat(StrEnum):
    """The format of a log event."""

    TEXT = "text"
    JSON = "json"


class LogLevel(StrEnum):
    """The lowest level that is logged; the names are those of ``twisted.logger``."""

    DEBUG = "debug"
    INFO = "info"
    WARN = "warn"
    ERROR = "error"
    CRITICAL = "critical"
