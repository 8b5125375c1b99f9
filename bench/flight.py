"""Keeping one request in flight on every connection."""

import select
import socket
from collections.abc import Callable, Sequence
from time import perf_counter

from attrs import frozen

from bench.wire import OK, WrongAnswer, exchange

Answered = Callable[[int], None]
"""Called with the number of the connection when it gets an answer."""


@frozen
class Flight:
    """The requests that were answered.

    :ivar begin: when the first request was sent, in seconds of :func:`time.perf_counter`.
    :ivar rate: the answers per second.
    :ivar answers: all answers, also those that came after the time was over.
    """

    begin: float
    rate: float
    answers: int


def fly(
    connections: Sequence[socket.socket],
    requests: Sequence[Callable[[], bytes]],
    seconds: float,
    answered: Answered | None = None,
) -> Flight:
    """Keep one request in flight on every connection for so many seconds, then wait for the last answers."""
    if len(connections) == 1:
        return _fly_alone(connections[0], requests[0], seconds, answered)
    waiting = select.epoll()
    by_number = {}
    for place, (connection, request) in enumerate(zip(connections, requests, strict=True)):
        by_number[connection.fileno()] = (place, connection, request)
        waiting.register(connection, select.EPOLLIN)
    begin = perf_counter()
    end = begin + seconds
    for connection, request in zip(connections, requests, strict=True):
        connection.sendall(request())
    answers = 0
    in_flight = len(connections)
    while in_flight:
        go_on = perf_counter() < end
        for number, _ in waiting.poll():
            place, connection, request = by_number[number]
            _check(connection.recv(65535))
            if answered is not None:
                answered(place)
            if go_on:
                answers += 1
                connection.sendall(request())
            else:
                in_flight -= 1
    waiting.close()
    return Flight(begin, answers / (end - begin), answers + len(connections))


def _fly_alone(
    connection: socket.socket, request: Callable[[], bytes], seconds: float, answered: Answered | None
) -> Flight:
    begin = perf_counter()
    end = begin + seconds
    answers = 0
    while perf_counter() < end:
        if not exchange(connection, request()).startswith(OK):
            raise WrongAnswer("another answer than 200")
        if answered is not None:
            answered(0)
        answers += 1
    return Flight(begin, answers / (perf_counter() - begin), answers)


def _check(answer: bytes) -> None:
    """Check that an answer is 200 and was received in one piece."""
    if not answer.startswith(OK, 3) or len(answer) != 3 + (answer[1] << 8 | answer[2]):
        raise WrongAnswer(repr(answer))
