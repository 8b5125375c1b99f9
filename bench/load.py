"""A load generator for requests: ``python -m bench.load KIND PORT CONNECTIONS DESCRIPTION``.

It connects, and logs in if that is needed. Then for each line ``SECONDS`` on its standard input it keeps one
request in flight on every connection for that time, and prints the answers per second and the number of all
answers. For ``file`` and ``download`` it prints bytes per second and the number of files; ``idle`` and
``idle-tls`` only keep their connections open.
"""

import json
import socket
import sys
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Any

from bench.flight import fly
from bench.people import Person
from bench.processes import tell
from bench.wire import PIECE, download, frame, log_in, open_socket, receive


def _requests(kind: str, people: Sequence[Person]) -> list[Callable[[], bytes]]:
    """Make what gives the next request of each connection."""
    if kind == "idle-request":
        return [_always(frame("IDLE", {}))] * len(people)
    return [_always(frame("GETWID", {"User-ID": person["name"]})) for person in people]


def _always(request: bytes) -> Callable[[], bytes]:
    return lambda: request


def _fetch(
    connection: socket.socket, kind: str, description: dict[str, Any], seconds: float
) -> tuple[float, int]:
    """Download the file repeatedly; give the bytes per second and the number of times."""
    path, size = description["download"], description["download_size"]
    room = memoryview(bytearray(PIECE))
    begin = perf_counter()
    fetched = 0
    while perf_counter() < begin + seconds:
        if kind == "download":
            download(connection, path, size, room)
        else:
            connection.sendall(b"\n")
            receive(connection, size, room)
        fetched += 1
    return fetched * size / (perf_counter() - begin), fetched


def _source(kind: str, number: int) -> str:
    """Give the source address of a connection: lookups are counted by source, so GETWID needs one each."""
    return f"127.0.0.{2 + number}" if kind == "getwid" else "127.0.0.1"


def _main(kind: str, port: int, size: int, description: dict[str, Any]) -> None:
    connections = [open_socket(port, kind == "idle-tls", _source(kind, number)) for number in range(size)]
    people = description["senders"][:size]
    if kind == "download":
        log_in(connections[0], people[0], description["organization_key"])
    tell("ready")
    for line in sys.stdin:
        if kind in {"download", "file"}:
            tell(_fetch(connections[0], kind, description, float(line)))
        elif kind in {"idle", "idle-tls"}:
            tell("idle")
        else:
            flight = fly(connections, _requests(kind, people), float(line))
            tell((flight.rate, flight.answers))


if __name__ == "__main__":
    with open(sys.argv[4], encoding="utf-8") as description:
        _main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), json.load(description))
