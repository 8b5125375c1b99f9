"""The benchmarks of requests, downloads and memory."""

from collections.abc import Callable
from contextlib import ExitStack
from time import sleep

from bench.figures import Figure, Sample
from bench.machine import resident_bytes
from bench.processes import Child
from bench.rounds import Round, measure
from bench.scene import Scene, file_to_stream

IDLE_CONNECTIONS = {"idle": 2000, "idle-tls": 500}
KIB, MB = 1024, 1_000_000


def measure_requests(scene: Scene) -> list[Figure]:
    """Measure IDLE and GETWID; the limit is a bare server."""
    figures = []
    with scene.limit("bare", scene.description_file) as bare:
        for kind, name in (("idle-request", "IDLE"), ("getwid", "GETWID")):
            for count in (1, 16):
                with ExitStack() as stack:
                    ours = stack.enter_context(scene.load(kind, scene.server.tcp, count))
                    limit = stack.enter_context(scene.load(kind, bare.ready["tcp"], count))
                    done = measure(scene.meter, _round(ours), _rate(limit))
                figures.append(
                    Figure(
                        f"{name}, {connections(count)}",
                        "requests/s",
                        done.ours[0],
                        done.limit,
                        cost=done.cost,
                    )
                )
    return figures


def measure_download(scene: Scene) -> list[Figure]:
    """Measure DOWNLOAD of 10 MiB; the limit is a loop over a plain socket."""
    with ExitStack() as stack:
        path = file_to_stream(scene.site)
        stream = stack.enter_context(scene.limit("stream", str(path)))
        ours = stack.enter_context(scene.load("download", scene.server.tcp, 1))
        limit = stack.enter_context(scene.load("file", stream.ready["tcp"], 1))
        done = measure(scene.meter, _round(ours, MB), _rate(limit, MB))
    return [Figure("DOWNLOAD of 10 MiB", "MB/s", done.ours[0], done.limit, cost=done.cost)]


def measure_connections(scene: Scene) -> list[Figure]:
    """Measure the memory of idle connections; the limit is a bare server."""
    figures = []
    server = scene.server
    with scene.limit("bare", scene.description_file) as bare:
        for kind, name in (("idle", "TCP"), ("idle-tls", "TLS")):
            ours = _memory(scene, kind, server.pid, server.tls if name == "TLS" else server.tcp)
            limit = _memory(scene, kind, bare.pid, bare.ready[name.lower()])
            figures.append(Figure(f"Memory of an idle {name} connection", "KiB", ours, limit, True))
    return figures


def measure_resident(scene: Scene) -> list[Figure]:
    """Measure the memory of the server before its first client; the limit is importing its libraries."""
    with scene.limit("imports") as imports:
        ours, limit = resident_bytes(scene.server.pid) / MB, resident_bytes(imports.pid) / MB
    return [Figure("Memory of the idle process", "MB", Sample((ours,)), Sample((limit,)), True)]


def connections(count: int) -> str:
    """Write a number of connections."""
    return "1 connection" if count == 1 else f"{count} connections"


def _round(load: Child, unit: float = 1) -> Callable[[float], Round]:
    def run(seconds: float) -> Round:
        rate, operations = load.ask(str(seconds))
        return Round((rate / unit,), operations)

    return run


def _rate(load: Child, unit: float = 1) -> Callable[[float], float]:
    return lambda seconds: float(load.ask(str(seconds))[0]) / unit


def _memory(scene: Scene, kind: str, pid: int, port: int) -> Sample:
    """Give the memory in KiB that a server needs for an idle connection, as the average of many."""
    count = IDLE_CONNECTIONS[kind]
    # The first connections use memory that the process has allocated already.
    with scene.load(kind, port, count):
        before = resident_bytes(pid)
        with scene.load(kind, port, count):
            after = resident_bytes(pid)
    # The server closes these connections before the next measurement.
    sleep(1)
    return Sample(((after - before) / count / KIB,))
