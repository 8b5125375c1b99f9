"""A load generator for messages: ``python -m bench.messages SIZE SENDERS MAILBOXES DESCRIPTION PORT...``.

So many senders send envelopes of SIZE bytes to so many mailboxes, which belong to other users. Their
connections are spread over the server processes at the given ports. Each line on standard input is the kind
of a round and its seconds:

``deliver SECONDS``
    Keeps one message in flight on every connection for that time. Prints the answers per second, the messages
    per second up to the moment when the last one stood in its mailbox, and the number of all messages.
``push SECONDS``
    One sender sends one message after the other. Prints the times from each answer to the moment when the
    recipient was told of it: median and 99th percentile, in milliseconds, and the number of messages.
``watch SECONDS``
    Sends as for ``deliver``, while the recipients look for messages every 20 ms. Prints the times from each
    answer to the moment when the recipient knew the name of the message: median and longest, in milliseconds,
    and the number of messages.
"""

import json
import socket
import sys
from collections.abc import Callable, Sequence
from itertools import count
from random import randrange
from threading import Thread
from time import perf_counter, sleep
from typing import Any

from attrs import define, field

from bench.figures import percentile
from bench.flight import Flight, fly
from bench.mailboxes import PATIENCE, Mailbox, wait_delivered
from bench.people import letter
from bench.processes import tell
from bench.wire import OK, WrongAnswer, exchange, frame, log_in, open_socket

DIGITS = 12
LOOK_SECONDS = 0.02
MILLISECONDS = 1000


@define
class Letters:
    """Gives requests to send a message, each with another number: the same message is not sent twice.

    :ivar last: the number of the last one.
    """

    _before: bytes
    _after: bytes
    _numbers: "count[int]"
    last: int = -1

    @classmethod
    def like(cls, envelope: str, numbers: "count[int]") -> "Letters":
        """Make requests from an envelope; the number takes the place of the last digits of its payload."""
        text = envelope.rstrip()
        begin, end = text[:-DIGITS], envelope[len(text) :]
        zeros = "0" * DIGITS
        whole = frame("SEND", {"Message": begin + zeros + end, "Domain": "example.com"})
        before, _, after = whole.rpartition(zeros.encode())
        return cls(before, after, numbers)

    def __call__(self) -> bytes:
        """Give the next request."""
        self.last = next(self._numbers)
        return b"%b%0*d%b" % (self._before, DIGITS, self.last, self._after)


def number_of(envelope: bytes) -> int:
    """Give the number of a message that was delivered."""
    return int(envelope.rstrip()[-DIGITS:])


@define
class Post:
    """The senders with what they send, and the mailboxes.

    :ivar answered: when each message was answered, by its number.
    :ivar seen: when the name of each message became known, by mailbox and name.
    """

    senders: Sequence[socket.socket]
    letters: Sequence[Letters]
    mailboxes: Sequence[Mailbox]
    answered: dict[int, float] = field(factory=dict)
    seen: list[tuple[Mailbox, str, float]] = field(factory=list)

    def deliver(self, seconds: float) -> tuple[float, float, int]:
        """Measure how many messages are accepted and delivered."""
        for mailbox in self.mailboxes:
            mailbox.begin()
        sent = [0] * len(self.mailboxes)

        def answered(place: int) -> None:
            sent[place % len(sent)] += 1

        flight = self._send(seconds, answered)
        end = wait_delivered(self.mailboxes, sent)
        return flight.rate, flight.answers / (end - flight.begin), flight.answers

    def push(self, seconds: float) -> tuple[float, float, int]:
        """Measure how long it takes to tell the recipient, without other load."""
        sender, request, mailbox = self.senders[0], self.letters[0], self.mailboxes[0]
        mailbox.forget()
        times = []
        end = perf_counter() + seconds
        while perf_counter() < end:
            if not exchange(sender, request()).startswith(OK):
                raise WrongAnswer("another answer than 200")
            begin = perf_counter()
            while not mailbox.has_news():
                if perf_counter() > begin + PATIENCE:
                    raise WrongAnswer("the recipient was not told of a message")
            times.append((perf_counter() - begin) * MILLISECONDS)
        return percentile(times, 0.5), percentile(times, 0.99), len(times)

    def watch(self, seconds: float) -> tuple[float, float, int]:
        """Measure how long delivery takes under load."""
        for mailbox in self.mailboxes:
            mailbox.forget()
        self.answered.clear()
        self.seen.clear()
        flights: list[Flight] = []
        sending = Thread(target=lambda: flights.append(self._send(seconds, self._note)))
        sending.start()
        self._look_while(lambda: sending.is_alive() or len(self.seen) < len(self.answered))
        sending.join()
        if not flights or len(self.seen) != flights[0].answers:
            raise WrongAnswer(f"{len(self.seen)} of {len(self.answered)} messages were seen")
        # Only the content tells which message a file is. Some are seen before their sender has the answer.
        times = [
            max(0.0, seen - self.answered[number_of(mailbox.read(path))]) * MILLISECONDS
            for mailbox, path, seen in self.seen
        ]
        return percentile(times, 0.5), max(times), len(times)

    def _send(self, seconds: float, answered: Callable[[int], None] | None = None) -> Flight:
        return fly(self.senders, self.letters, seconds, answered)

    def _note(self, place: int) -> None:
        self.answered[self.letters[place].last] = perf_counter()

    def _look_while(self, is_wanted: Callable[[], bool]) -> None:
        deadline = perf_counter() + PATIENCE
        while is_wanted() and perf_counter() < deadline:
            for mailbox in self.mailboxes:
                if mailbox.has_news():
                    paths = list(mailbox.new_files())
                    now = perf_counter()
                    self.seen += ((mailbox, path, now) for path in paths)
            sleep(LOOK_SECONDS)


def places(number: int, ports: Sequence[int]) -> tuple[int, int]:
    """Give the ports of a sender and of its recipient, so that all pairs of processes occur."""
    size = len(ports)
    return ports[number % size], ports[(number + number // size + 1) % size]


def open_post(
    size: int, senders: int, mailboxes: int, description: dict[str, Any], ports: Sequence[int]
) -> Post:
    """Make the messages, and log senders and recipients in.

    :param description: what :func:`bench.people.settle` gave.
    """
    key = description["organization_key"]
    people, recipients = description["senders"][:senders], description["recipients"][:mailboxes]
    # Another begin each time: messages of other processes have other numbers.
    numbers = count(randrange(10 ** (DIGITS - 1)))
    letters = [
        Letters.like(letter(person, recipients[number % mailboxes], key, size), numbers)
        for number, person in enumerate(people)
    ]
    connections = [open_socket(places(number, ports)[0]) for number in range(senders)]
    for connection, person in zip(connections, people, strict=True):
        log_in(connection, person, key)
    opened = [Mailbox.open(places(number, ports)[1], person, key) for number, person in enumerate(recipients)]
    return Post(connections, letters, opened)


def _main(post: Post) -> None:
    rounds = {"deliver": post.deliver, "push": post.push, "watch": post.watch}
    tell("ready")
    for line in sys.stdin:
        kind, seconds = line.split()
        tell(rounds[kind](float(seconds)))


if __name__ == "__main__":
    with open(sys.argv[4], encoding="utf-8") as told:
        made = json.load(told)
    size, senders, mailboxes = map(int, sys.argv[1:4])
    _main(open_post(size, senders, mailboxes, made, [int(port) for port in sys.argv[5:]]))
