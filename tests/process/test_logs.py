"""The log: one event a line (spec 06, *Seeing what it does*)."""

import io
import json
import sys
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.logger import LogEvent, Logger, LogLevel
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from mensagod.config.choices import LogFormat
from mensagod.config.choices import LogLevel as Level
from mensagod.config.process_tables import LogTable
from mensagod.process.logs import LineObserver


class LineTests(SynchronousTestCase):
    """Events as lines."""

    def written(self, settings: LogTable, format_: str, level: LogLevel = LogLevel.info, **more: Any) -> str:
        """Log one event and give what was written."""
        stream = io.StringIO()
        observer = LineObserver(lambda: settings, stream)
        Logger(namespace="test.logs", observer=observer).emit(level, format_, **more)
        return stream.getvalue()

    def test_text(self) -> None:
        """Time, level, namespace, text, and the fields that say whose it is."""
        line = self.written(
            LogTable(),
            "{action} failed",
            LogLevel.warn,
            action="SEND",
            session="s1",
            incident="i1",
            other="x",
        )
        time, text = line[:24], line[24:]
        self.assertRegex(time, r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")
        self.assertEqual(text, " warn     test.logs: SEND failed session=s1 incident=i1\n")

    def test_json(self) -> None:
        """The same as an object."""
        settings = LogTable(format=LogFormat.JSON)
        line = json.loads(self.written(settings, "{n} moved", n=3, workspace="w", device=None))
        self.assertRegex(line.pop("time"), r"Z$")
        self.assertEqual(
            line, {"level": "info", "namespace": "test.logs", "text": "3 moved", "workspace": "w"}
        )

    def test_level(self) -> None:
        """What is less important than the configuration asks for is left out, as it is in force then."""
        settings = LogTable(level=Level.WARN)
        self.assertEqual(self.written(settings, "x", LogLevel.info), "")
        self.assertIn("x", self.written(settings, "x", LogLevel.error))
        self.assertIn("x", self.written(LogTable(level=Level.DEBUG), "x", LogLevel.debug))

    def test_traceback(self) -> None:
        """A traceback is on the line of its event."""
        try:
            raise RuntimeError("broken\nthing")
        except RuntimeError:
            failure = Failure()
        text = self.written(LogTable(), "failed", LogLevel.critical, log_failure=failure)
        self.assertEqual(text.count("\n"), 1)
        self.assertIn("RuntimeError", text)
        line = json.loads(
            self.written(LogTable(format=LogFormat.JSON), "f", LogLevel.error, log_failure=failure)
        )
        self.assertIn("RuntimeError: broken", line["traceback"])

    @given(st.text())
    def test_one_line(self, text: str) -> None:
        """A line is a line, and printable, whatever a client sent into it."""
        line = self.written(LogTable(), "{text}", text=text, session=text)
        self.assertEqual(line.count("\n"), 1)
        self.assertTrue(line[:-1].isprintable())
        line = self.written(LogTable(format=LogFormat.JSON), "{text}", text=text)
        self.assertEqual(line.count("\n"), 1)
        self.assertEqual(json.loads(line)["text"], text)

    def test_hostile_text(self) -> None:
        """A client's line ends and control characters are shown, and reach no terminal."""
        line = self.written(LogTable(), "{text}", text="one\n\ttwo\x1b[2J")
        self.assertTrue(line.endswith("test.logs: one |  two?[2J\n"), line)

    def test_first_standard_output(self) -> None:
        """Whoever replaces the standard output later, as twistd does, does not get the log."""
        first, second = io.StringIO(), io.StringIO()
        self.patch(sys, "stdout", first)
        observe = LineObserver(LogTable)
        self.patch(sys, "stdout", second)
        observe({"log_format": "hello", "log_level": LogLevel.info})
        self.assertEqual(second.getvalue(), "")
        self.assertTrue(first.getvalue().endswith(" info     -: hello\n"))

    def test_event_of_others(self) -> None:
        """An event without level, namespace, format or time is a line, too."""
        stream = io.StringIO()
        event: LogEvent = {}
        LineObserver(LogTable, stream)(event)
        self.assertRegex(stream.getvalue(), r"^1970-01-01T00:00:00\.000Z info     -: \n$")

    def test_old_event(self) -> None:
        """What Twisted adds for observers of the old kind is not shown as a message's ID."""
        stream = io.StringIO()
        LineObserver(LogTable, stream)({"log_format": "hello", "message": ()})
        self.assertNotIn("message=", stream.getvalue())
