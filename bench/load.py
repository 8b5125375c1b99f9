"""A load generator: ``python -m bench.load KIND PORT CONNECTIONS DESCRIPTION``.

It connects, and logs in if that is needed. Then for each line ``SECONDS`` on its standard input it keeps one
request in flight on every connection for that time, and prints the answers per second. For ``file`` and
``download`` it prints bytes per second; ``idle`` and ``idle-tls`` only keep their connections open.
"""

import json
import select
import socket
import sys
from collections.abc import Callable, Sequence
from itertools import count
from random import randrange
from time import perf_counter
from typing import Any

from bench.installation import DOWNLOAD_SIZE
from bench.processes import tell
from bench.wire import OK, PIECE, WrongAnswer, download, exchange, frame, log_in, open_socket, receive

NUMBER = "0" * 12
"""Stands in an envelope for a number that makes it another one."""


def rate(
    connections: Sequence[socket.socket], requests: Sequence[Callable[[], bytes]], seconds: float
) -> float:
    """Keep one request in flight on every connection; give the answers per second."""
    if len(connections) == 1:
        return _rate_of_one(connections[0], requests[0], seconds)
    waiting = select.epoll()
    by_number = {}
    for connection, request in zip(connections, requests, strict=True):
        by_number[connection.fileno()] = (connection, request)
        waiting.register(connection, select.EPOLLIN)
        connection.sendall(request())
    begin = perf_counter()
    end = begin + seconds
    answers = 0
    in_flight = len(connections)
    while in_flight:
        go_on = perf_counter() < end
        for number, _ in waiting.poll():
            connection, request = by_number[number]
            _check(connection.recv(65535))
            if go_on:
                answers += 1
                connection.sendall(request())
            else:
                in_flight -= 1
    waiting.close()
    return answers / (end - begin)


def _rate_of_one(connection: socket.socket, request: Callable[[], bytes], seconds: float) -> float:
    begin = perf_counter()
    end = begin + seconds
    answers = 0
    while perf_counter() < end:
        if not exchange(connection, request()).startswith(OK):
            raise WrongAnswer("another answer than 200")
        answers += 1
    return answers / (perf_counter() - begin)


def _check(answer: bytes) -> None:
    """Check that an answer is 200 and was received in one piece."""
    if not answer.startswith(OK, 3) or len(answer) != 3 + (answer[1] << 8 | answer[2]):
        raise WrongAnswer(repr(answer))


def _requests(kind: str, people: Sequence[dict[str, Any]]) -> list[Callable[[], bytes]]:
    """Make what gives the next request of each connection."""
    if kind == "idle-request":
        return [_always(frame("IDLE", {}))] * len(people)
    if kind == "getwid":
        return [_always(frame("GETWID", {"User-ID": person["name"]})) for person in people]
    return [_messages(person["message"]) for person in people]


def _always(request: bytes) -> Callable[[], bytes]:
    return lambda: request


def _messages(envelope: str) -> Callable[[], bytes]:
    """Give a request with another message each time: the same one is not sent twice."""
    text = envelope.rstrip()
    begin, end = text[: -len(NUMBER)], envelope[len(text) :]
    whole = frame("SEND", {"Message": begin + NUMBER + end, "Domain": "example.com"})
    before, after = whole.split(NUMBER.encode())
    # Numbers of other processes and rounds are other numbers.
    numbers = count(randrange(10 ** (len(NUMBER) - 1)))
    return lambda: b"%b%0*d%b" % (before, len(NUMBER), next(numbers), after)


def _fetch_rate(connection: socket.socket, kind: str, path: str, seconds: float) -> float:
    """Download the file repeatedly; give the bytes per second."""
    room = memoryview(bytearray(PIECE))
    begin = perf_counter()
    fetched = 0
    while perf_counter() < begin + seconds:
        if kind == "download":
            download(connection, path, DOWNLOAD_SIZE, room)
        else:
            connection.sendall(b"\n")
            receive(connection, DOWNLOAD_SIZE, room)
        fetched += 1
    return fetched * DOWNLOAD_SIZE / (perf_counter() - begin)


def _source(kind: str, number: int) -> str:
    """Give the source address of a connection: lookups are counted by source, so GETWID needs one each."""
    return f"127.0.0.{2 + number}" if kind == "getwid" else "127.0.0.1"


def _main(kind: str, port: int, size: int, description: dict[str, Any]) -> None:
    connections = [open_socket(port, kind == "idle-tls", _source(kind, number)) for number in range(size)]
    people = description["people"][:size]
    if kind in {"send", "download"}:
        for connection, person in zip(connections, people, strict=True):
            log_in(connection, person, description["organization_key"])
    tell("ready")
    for line in sys.stdin:
        if kind in {"download", "file"}:
            tell(_fetch_rate(connections[0], kind, description["download"], float(line)))
        elif kind in {"idle", "idle-tls"}:
            tell("idle")
        else:
            tell(rate(connections, _requests(kind, people), float(line)))


if __name__ == "__main__":
    with open(sys.argv[4], encoding="utf-8") as description:
        _main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), json.load(description))
