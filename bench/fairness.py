"""How long one client's requests hold up others: ``python -m bench fairness``.

The other client floods the server from an address of its own. ``python -m bench.fairness PORT CONNECTIONS``
is the flood: it connects without login from 127.0.0.2 and pipelines IDLE on every connection until its
standard input ends.
"""

import json
import select
import socket
import sys
from collections.abc import Callable, Iterator
from threading import Thread
from time import perf_counter, sleep

from bench.figures import Figure, Sample
from bench.machine import OTHER_CPU
from bench.people import Person, letter
from bench.processes import running, tell
from bench.scene import Scene
from bench.wire import ask, frame, log_in, open_socket
from mensagod.wire.frames import encode_message

FLOODS = (10, 50, 99)
"""Over how many connections the address floods."""

LOGINS = 9
"""How many logins are measured; the median is used."""

PIPELINED = 32 * 1024
"""How many bytes of requests are sent at once on each connection of the flood."""

LARGE = 24_000_000
"""The size of a large request, in bytes."""

ENVELOPE = 1627
"""The size of the envelope that is made large, in bytes."""

LARGE_REQUESTS = 3
"""How many large requests of each kind are sent."""

PAUSE = 0.0005
"""How long the waiting client rests between two requests, in seconds."""


def measure_fairness(scene: Scene) -> list[Figure]:
    """Measure a login during floods, and the longest wait of a client during large requests."""
    return [*_during_floods(scene), *_during_large_requests(scene)]


def _during_floods(scene: Scene) -> Iterator[Figure]:
    _login(scene)
    alone = _logins(scene)
    for connections in FLOODS:
        with running(["bench.fairness", str(scene.server.tcp), str(connections)], OTHER_CPU):
            sleep(0.5)
            flooded = _logins(scene)
        yield Figure(f"Login, {connections} connections flood", "ms", flooded, alone, less_is_better=True)


def _logins(scene: Scene) -> Sample:
    return Sample(tuple(_login(scene) for _ in range(LOGINS)))


def _login(scene: Scene) -> float:
    """Give how many milliseconds a login takes."""
    with open_socket(scene.server.tcp) as connection:
        begin = perf_counter()
        log_in(connection, scene.site.made["senders"][0], scene.site.made["organization_key"])
        return (perf_counter() - begin) * 1000


def _during_large_requests(scene: Scene) -> Iterator[Figure]:
    alone = _longest_wait(scene, lambda: sleep(0.5))
    member = scene.site.made["senders"][1]
    with open_socket(scene.server.tcp, source="127.0.0.2") as connection:
        log_in(connection, member, scene.site.made["organization_key"])
        for name, message in _large_requests(_envelope(scene, member)):

            def send(request: bytes = encode_message(message)) -> None:
                for _ in range(LARGE_REQUESTS):
                    connection.sendall(request)
                    connection.recv(65535)

            waited = Sample((_longest_wait(scene, send),))
            yield Figure(f"IDLE beside {name}", "ms", waited, Sample((alone,)), less_is_better=True)


def _envelope(scene: Scene, member: Person) -> str:
    made = scene.site.made
    return letter(member, made["recipients"][1], made["organization_key"], ENVELOPE)


def _large_requests(envelope: str) -> Iterator[tuple[str, bytes]]:
    """Give large requests, each with its name."""
    yield "24 MB of numbers", b'{"Action":"IDLE","x":[%b1]}' % (b"1," * (LARGE // 2))
    yield "24 MB of escapes", json.dumps({"Action": "IDLE", "Data": {"x": '"' * (LARGE // 2)}}).encode()
    yield "a path of 24 MB", json.dumps({"Action": "LIST", "Data": {"Path": "/ a" * (LARGE // 3)}}).encode()
    head, payload = envelope[:-400], envelope[-400:]
    message = head + payload.rstrip() + "a" * LARGE + "\r\n"
    data = {"Message": message, "Domain": "example.com"}
    yield "SEND of 24 MB", json.dumps({"Action": "SEND", "Data": data}).encode()


def _longest_wait(scene: Scene, work: Callable[[], None]) -> float:
    """Give the longest time in milliseconds that IDLE takes while ``work`` runs in a thread."""
    thread = Thread(target=work)
    waits = []
    with open_socket(scene.server.tcp) as connection:
        ask(connection, "IDLE", {})
        thread.start()
        while thread.is_alive():
            begin = perf_counter()
            ask(connection, "IDLE", {})
            waits.append((perf_counter() - begin) * 1000)
            sleep(PAUSE)
    thread.join()
    return max(waits)


def _flood(port: int, count: int) -> None:
    """Pipeline IDLE on every connection until standard input ends."""
    request = frame("IDLE", {})
    requests = request * (PIPELINED // len(request))
    waiting = select.epoll()
    left: dict[int, tuple[socket.socket, memoryview]] = {}
    for _ in range(count):
        connection = open_socket(port, source="127.0.0.2")
        connection.setblocking(False)
        left[connection.fileno()] = (connection, memoryview(requests))
        waiting.register(connection, select.EPOLLIN | select.EPOLLOUT)
    waiting.register(sys.stdin, select.EPOLLIN)
    tell("ready")
    while True:
        for number, event in waiting.poll():
            if number == sys.stdin.fileno():
                return
            connection, rest = left[number]
            if event & select.EPOLLIN:
                connection.recv(65536)
            if event & select.EPOLLOUT:
                sent = connection.send(rest)
                left[number] = (connection, rest[sent:] or memoryview(requests))


if __name__ == "__main__":
    _flood(int(sys.argv[1]), int(sys.argv[2]))
