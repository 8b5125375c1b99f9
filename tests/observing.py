"""What a test hears of the log."""

from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from twisted.trial.unittest import TestCase
from zope.interface import implementer


def events_of(test: TestCase, *beginnings: str) -> list[str]:
    """Collect the names of the events that begin so, in their order, until the test ends."""
    events: list[str] = []

    @implementer(ILogObserver)
    def observe(event: LogEvent) -> None:
        name = str(event.get("event"))
        if name.startswith(beginnings):
            events.append(name)

    globalLogPublisher.addObserver(observe)
    test.addCleanup(globalLogPublisher.removeObserver, observe)
    return events
