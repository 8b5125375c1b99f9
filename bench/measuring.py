"""The benchmarks. Each measures the server and its limit alternately, under the same conditions."""

from collections.abc import Callable
from contextlib import ExitStack
from statistics import median
from time import sleep

from bench.figures import Figure
from bench.machine import resident_bytes
from bench.processes import Child
from bench.scene import Scene, data_directory

ROUNDS = 3
"""How often each is measured; the median is used."""

SECONDS = 2.0
"""How long each round lasts, in seconds."""

WARM_UP = 0.7
"""How long each runs before it is measured, in seconds."""

IDLE_CONNECTIONS = {"idle": 2000, "idle-tls": 500}
KIB, MB = 1024, 1_000_000


def in_turn(ours: Callable[[float], float], limit: Callable[[float], float]) -> tuple[float, float]:
    """Measure both alternately; give both medians."""
    ours(WARM_UP)
    limit(WARM_UP)
    rounds = [(ours(SECONDS), limit(SECONDS)) for _ in range(ROUNDS)]
    return median(first for first, _ in rounds), median(second for _, second in rounds)


def _asks(load: Child) -> Callable[[float], float]:
    return lambda seconds: float(load.ask(str(seconds)))


def measure_requests(scene: Scene) -> list[Figure]:
    """Measure IDLE and GETWID; the limit is a bare server."""
    figures = []
    with scene.limit("bare", str(scene.description_file)) as bare:
        for kind, name in (("idle-request", "IDLE"), ("getwid", "GETWID")):
            for connections in (1, 16):
                with ExitStack() as stack:
                    ours = stack.enter_context(scene.load(kind, scene.tcp, connections))
                    limit = stack.enter_context(scene.load(kind, bare.ready["tcp"], connections))
                    values = in_turn(_asks(ours), _asks(limit))
                figures.append(Figure(f"{name}, {_connections(connections)}", "requests/s", *values))
    return figures


def measure_sending(scene: Scene) -> list[Figure]:
    """Measure SEND with delivery; the limit is writing a file and one row durably."""
    figures = []
    with scene.limit("durable", str(scene.description_file), str(data_directory(scene))) as durable:
        for connections in (1, 16):
            with scene.load("send", scene.tcp, connections) as load:

                def ours(seconds: float, load: Child = load) -> float:
                    rate = float(load.ask(str(seconds)))
                    scene.wait_delivered()
                    return rate

                def limit(seconds: float, threads: int = connections) -> float:
                    return float(durable.ask(f"{threads} {seconds}"))

                values = in_turn(ours, limit)
            figures.append(Figure(f"SEND, {_connections(connections)}", "messages/s", *values))
    return figures


def measure_download(scene: Scene) -> list[Figure]:
    """Measure DOWNLOAD of 10 MiB; the limit is a loop over a plain socket."""
    path = scene.directory / "site" / "data" / "/".join(scene.description["download"].split()[1:])
    with ExitStack() as stack:
        stream = stack.enter_context(scene.limit("stream", str(path)))
        ours = stack.enter_context(scene.load("download", scene.tcp, 1))
        limit = stack.enter_context(scene.load("file", stream.ready["tcp"], 1))
        values = in_turn(_asks(ours), _asks(limit))
    return [Figure("DOWNLOAD of 10 MiB", "MB/s", values[0] / MB, values[1] / MB)]


def measure_connections(scene: Scene) -> list[Figure]:
    """Measure the memory of idle connections; the limit is a bare server."""
    figures = []
    with scene.limit("bare", str(scene.description_file)) as bare:
        for kind, name in (("idle", "TCP"), ("idle-tls", "TLS")):
            ours = _cost(scene, kind, scene.pid, scene.tls if name == "TLS" else scene.tcp)
            limit = _cost(scene, kind, bare.pid, bare.ready[name.lower()])
            figures.append(Figure(f"Memory of an idle {name} connection", "KiB", ours, limit, True))
    return figures


def _cost(scene: Scene, kind: str, pid: int, port: int) -> float:
    """Give the memory in KiB that a server needs for an idle connection, as the average of many."""
    count = IDLE_CONNECTIONS[kind]
    # The first connections use memory that the process has allocated already.
    with scene.load(kind, port, count):
        before = resident_bytes(pid)
        with scene.load(kind, port, count):
            after = resident_bytes(pid)
    # The server closes these connections before the next measurement.
    sleep(1)
    return (after - before) / count / KIB


def measure_resident(scene: Scene) -> list[Figure]:
    """Measure the memory of the server before its first client; the limit is importing its libraries."""
    with scene.limit("imports") as imports:
        ours, limit = resident_bytes(scene.pid) / MB, resident_bytes(imports.pid) / MB
    return [Figure("Memory of the idle process", "MB", ours, limit, True)]


def _connections(count: int) -> str:
    return "1 connection" if count == 1 else f"{count} connections"


BENCHMARKS: dict[str, Callable[[Scene], list[Figure]]] = {
    "resident": measure_resident,
    "connections": measure_connections,
    "requests": measure_requests,
    "download": measure_download,
    "sending": measure_sending,
}
"""The benchmarks in their order: memory is measured first, before other work increases it."""
