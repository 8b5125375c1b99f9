"""The words that some keys of the configuration choose from (spec 04 and 06)."""

from enum import StrEnum


class Registration(StrEnum):
    """Who may open an account (spec 04, *Registering*)."""

    PUBLIC = "public"
    NETWORK = "network"
    MODERATED = "moderated"
    PRIVATE = "private"


class Hints(StrEnum):
    """How the processes of one installation tell each other of changes (spec 06, *Running many*)."""

    PG = "pg"
    POLL = "poll"


class LogFormat(StrEnum):
    """How an event of the log is written."""

    TEXT = "text"
    JSON = "json"


class LogLevel(StrEnum):
    """The least important events that the log still has; the names are those of ``twisted.logger``."""

    DEBUG = "debug"
    INFO = "info"
    WARN = "warn"
    ERROR = "error"
    CRITICAL = "critical"
