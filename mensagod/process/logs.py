"""The log: one event a line, text or JSON (spec 06, *Seeing what it does*)."""

import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TextIO

from twisted.logger import ILogObserver, LogEvent, LogLevel, formatEvent
from zope.interface import implementer

from mensagod.config.choices import LogFormat
from mensagod.config.process_tables import LogTable

CONTEXT = ("session", "request", "workspace", "device", "incident", "message")
"""The fields of an event that its line shows, if the event has them."""

_LEVELS = (LogLevel.debug, LogLevel.info, LogLevel.warn, LogLevel.error, LogLevel.critical)
_IMPORTANCE = {level.name: importance for importance, level in enumerate(_LEVELS)}


@implementer(ILogObserver)
class LineObserver:
    """Writes each event as one line.

    :param settings: gives the log table of the present configuration.
    :param stream: the stream to write to; the default is the present standard output. ``twistd`` replaces
        that later by a stream that turns each line into an event, which would be written there again.
    """

    def __init__(self, settings: Callable[[], LogTable], stream: TextIO | None = None):
        self._settings = settings
        self._stream = stream or sys.stdout

    def __call__(self, event: LogEvent) -> None:
        """Write one event, unless its level is below the configured one."""
        settings = self._settings()
        level = event.get("log_level") or LogLevel.info
        if _IMPORTANCE[level.name] < _IMPORTANCE[settings.level.value]:
            return
        write = _as_json if settings.format is LogFormat.JSON else _as_text
        self._stream.write(write(event, level.name) + "\n")
        self._stream.flush()


def _moment(event: LogEvent) -> str:
    moment = datetime.fromtimestamp(event.get("log_time", 0.0), UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _context(event: LogEvent) -> dict[str, str]:
    # Twisted adds a tuple "message" for legacy observers.
    return {name: str(event[name]) for name in CONTEXT if not isinstance(event.get(name), tuple | None)}


def _traceback(event: LogEvent) -> str:
    failure = event.get("log_failure")
    return "" if failure is None else str(failure.getTraceback()).rstrip()


def _as_text(event: LogEvent, level: str) -> str:
    """Write an event as text; the lines of a traceback are separated by vertical bars."""
    line = f"{_moment(event)} {level:<8} {event.get('log_namespace', '-')}: {formatEvent(event)}"
    shown = "".join(f" {name}={value}" for name, value in _context(event).items())
    trace = _traceback(event)
    return _one_line(f"{line}{shown}{' | ' if trace else ''}{trace}")


def _one_line(text: str) -> str:
    """Replace line ends and control characters, which may come from a client."""
    if text.isprintable():
        return text
    joined = " | ".join(text.expandtabs(1).splitlines())
    if joined.isprintable():
        return joined
    return "".join(char if char.isprintable() else "?" for char in joined)


def _as_json(event: LogEvent, level: str) -> str:
    """Write an event as JSON."""
    line: dict[str, str] = {
        "time": _moment(event),
        "level": level,
        "namespace": str(event.get("log_namespace", "-")),
        "text": formatEvent(event),
        **_context(event),
    }
    trace = _traceback(event)
    if trace:
        line["traceback"] = trace
    return json.dumps(line)
