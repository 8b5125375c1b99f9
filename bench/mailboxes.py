"""What the owners of mailboxes see: each has a session of its own, and asks the server."""

import socket
from collections.abc import Iterator, Sequence
from time import perf_counter, sleep, time

from attrs import define, field

from bench.people import Person, inbox
from bench.wire import OK, WrongAnswer, ask, exchange, fetch, frame, log_in, open_socket

PATIENCE = 120.0
"""How long to wait for messages, in seconds."""

PAUSE = 0.002
"""How long to wait before a mailbox is looked at again, in seconds."""

_IDLE = frame("IDLE", {})
_NEWS = b'"UpdateCount"'


@define
class Mailbox:
    """A mailbox and a session of its owner."""

    connection: socket.socket
    path: str
    _since: int = 0
    _count: int = 0
    _last: str | None = None
    _seen: set[str] = field(factory=set)

    @classmethod
    def open(cls, port: int, person: Person, organization_key: str) -> "Mailbox":
        """Log in."""
        connection = open_socket(port)
        log_in(connection, person, organization_key)
        return cls(connection, inbox(person))

    def begin(self) -> None:
        """Count from now on; everything must have been delivered."""
        self._since = int(time())
        self._count = self._records()

    def delivered(self) -> int:
        """Give the number of messages since :meth:`begin`, which the server counts in the database."""
        return self._records() - self._count

    def has_news(self) -> bool:
        """Tell whether the next answer of the server says that there is something new."""
        answer = exchange(self.connection, _IDLE)
        if not answer.startswith(OK):
            raise WrongAnswer(repr(answer))
        return _NEWS in answer

    def forget(self) -> None:
        """Take what is there now for known."""
        for _ in self.new_files():
            pass
        while self.has_news():
            pass

    def new_files(self) -> Iterator[str]:
        """Give the paths of the files that have come since the last call."""
        remaining = 1
        while remaining:
            since = {} if self._last is None else {"Since": self._last}
            # Without a record that is known: all those of the last minutes.
            answer = ask(self.connection, "GETUPDATES", {"Time": str(int(time()) - 600), **since})
            remaining = int(answer["Remaining"])
            records = [answer[f"Update{number}"] for number in range(int(answer["UpdateCount"]))]
            for record in records:
                self._last, kind, path = record.split(",")[:3]
                if kind == "CREATE" and path not in self._seen:
                    self._seen.add(path)
                    yield path
            if not records:
                return

    def read(self, path: str) -> bytes:
        """Give the content of a message."""
        return fetch(self.connection, path)

    def _records(self) -> int:
        return int(ask(self.connection, "IDLE", {"CountUpdates": str(self._since)})["UpdateCount"])


def wait_delivered(mailboxes: Sequence[Mailbox], sent: Sequence[int]) -> float:
    """Wait until so many messages stand in each mailbox; give the time when the last one was there.

    :raises WrongAnswer: if there are more, or if they do not come.
    """
    deadline = perf_counter() + PATIENCE
    # One after the other, because asking takes time of the server, too.
    for mailbox, expected in zip(mailboxes, sent, strict=True):
        while (delivered := mailbox.delivered()) != expected:
            if delivered > expected or perf_counter() > deadline:
                raise WrongAnswer(f"{delivered} of {expected} messages were delivered")
            sleep(PAUSE)
    return perf_counter()
