"""The log: every event one line, in the right place, and only what is important enough."""

import json
import sys
from io import StringIO
from typing import Any

from twisted.logger import LogLevel
from twisted.trial.unittest import SynchronousTestCase

from mensagod.config.choices import LogFormat
from mensagod.config.choices import LogLevel as ConfiguredLevel
from mensagod.config.tables import LogTable
from mensagod.logs import LineObserver


def event(text: str, **fields: Any) -> dict[str, Any]:
    return {"log_level": LogLevel.info, "log_format": "{text}", "log_time": 0.0, "text": text, **fields}


class LineObserverTests(SynchronousTestCase):
    """The observer writes lines."""

    def written(self, table: LogTable, *events: dict[str, Any]) -> list[str]:
        stream = StringIO()
        observe = LineObserver(lambda: table, stream)
        for each in events:
            observe(each)
        return stream.getvalue().splitlines()

    def test_first_standard_output(self) -> None:
        """Whoever replaces the standard output later, as twistd does, does not get the log."""
        first, second = StringIO(), StringIO()
        self.patch(sys, "stdout", first)
        observe = LineObserver(LogTable)
        self.patch(sys, "stdout", second)
        observe(event("hello"))
        self.assertEqual(second.getvalue(), "")
        self.assertTrue(first.getvalue().endswith(" info     -: hello\n"))

    def test_level(self) -> None:
        """What is less important than the configuration asks for is left out."""
        table = LogTable(level=ConfiguredLevel.WARN)
        lines = self.written(
            table,
            event("debug", log_level=LogLevel.debug),
            event("info"),
            event("warn", log_level=LogLevel.warn),
            event("critical", log_level=LogLevel.critical),
        )
        self.assertEqual([line.rpartition(" ")[2] for line in lines], ["warn", "critical"])

    def test_hostile_text(self) -> None:
        """A client's line ends and control characters make no second line and reach no terminal."""
        (line,) = self.written(LogTable(), event("one\n\ttwo\x1b[2J"))
        self.assertTrue(line.endswith("-: one |  two?[2J"))

    def test_json(self) -> None:
        """In JSON a line has the text and the fields of the context that the event has."""
        table = LogTable(format=LogFormat.JSON)
        (line,) = self.written(table, event("hello", session="abc", other="left out"))
        self.assertEqual(
            json.loads(line),
            {
                "time": "1970-01-01T00:00:00.000Z",
                "level": "info",
                "namespace": "-",
                "text": "hello",
                "session": "abc",
            },
        )
