"""The benchmarks of messages, by one server process and by several."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from attrs import frozen

from bench.cpu import Meter
from bench.figures import Figure
from bench.machine import OTHER_CPU, SERVER_CPU, unpin
from bench.measuring import connections
from bench.people import SENDERS
from bench.processes import Child, running
from bench.rounds import Measured, Round, measure
from bench.scene import Scene, Site

SIZES = {"1.6 KiB": 1627, "4 KiB": 4096}
"""The sizes of the envelopes, in bytes."""

SMALL = SIZES["1.6 KiB"]
PROCESSES = (1, 2, 4)
MAILBOXES = {"one mailbox": 1, f"{SENDERS} mailboxes": SENDERS}


@frozen
class Traffic:
    """How many senders send messages of which size to how many mailboxes."""

    size: int
    senders: int
    mailboxes: int

    @contextmanager
    def running(self, site: Site, ports: list[int], cpu: int | None) -> Iterator[Child]:
        """Run the load generator on a core or, for ``None``, on any, for servers at these ports."""
        counts = (str(self.size), str(self.senders), str(self.mailboxes))
        arguments = ["bench.messages", *counts, str(site.description_file), *map(str, ports)]
        with running(arguments, cpu) as load:
            yield load


def measure_sending(scene: Scene) -> list[Figure]:
    """Measure SEND, with delivery; the limit is writing a file and one row durably."""
    figures = []
    site, port = scene.site, scene.server.tcp
    for name, size in SIZES.items():
        with _durable(site, size) as durable:
            for count in (1, SENDERS):
                with Traffic(size, count, count).running(site, [port], OTHER_CPU) as load:
                    done = measure(scene.meter, _round(load, "deliver"), _durable_rate(durable, count))
                accepted, delivered = done.ours
                of = f"{name}, {connections(count)}"
                figures += [
                    Figure(f"SEND accepted, {of}", "messages/s", accepted, done.limit),
                    Figure(f"SEND delivered, {of}", "messages/s", delivered, done.limit, cost=done.cost),
                ]
    return figures


def measure_push(scene: Scene) -> list[Figure]:
    """Measure how long it takes to tell a recipient in the process of the sender."""
    with Traffic(SMALL, 1, 1).running(scene.site, [scene.server.tcp], OTHER_CPU) as load:
        return _times("From 200 to the push", ("p50", "p99"), measure(scene.meter, _round(load, "push")))


def measure_processes(site: Site) -> list[Figure]:
    """Measure messages by 1, 2 and 4 processes, on one database and one store; no process has a core."""
    unpin(site.meter().database_processes)
    figures = []
    for count in PROCESSES:
        with site.serving(count, None) as servers:
            meter, ports = site.meter(*servers), [server.tcp for server in servers]
            of = "1 process" if count == 1 else f"{count} processes"
            for kind, mailboxes in MAILBOXES.items():
                figures += _by_processes(site, meter, ports, f"{of}, {kind}", mailboxes)
            with Traffic(SMALL, 1, 1).running(site, ports, None) as load:
                done = measure(meter, _round(load, "push"))
            # With several, sender and recipient are at different ones.
            figures += _times(f"From 200 to the push, {of}", ("p50", "p99"), done)
    return figures


def _by_processes(site: Site, meter: Meter, ports: list[int], of: str, mailboxes: int) -> list[Figure]:
    with Traffic(SMALL, SENDERS, mailboxes).running(site, ports, None) as load:
        done = measure(meter, _round(load, "deliver"))
        watched = measure(meter, _round(load, "watch"))
    return [
        Figure(f"SEND delivered, {of}", "messages/s", done.ours[1], cost=done.cost),
        *_times(f"Delivery, {of}", ("p50", "worst"), watched),
    ]


def _times(name: str, parts: tuple[str, str], done: Measured) -> list[Figure]:
    """Make the figures of times; they have no limit, and the client's questions cost CPU time, too."""
    return [
        Figure(f"{name}, {part}", "ms", sample, less_is_better=True)
        for part, sample in zip(parts, done.ours, strict=True)
    ]


@contextmanager
def _durable(site: Site, size: int) -> Iterator[Child]:
    arguments = [str(site.description_file), str(site.limit_directory), str(size)]
    with running(["bench.limits.durable", *arguments], SERVER_CPU) as durable:
        yield durable


def _round(load: Child, kind: str) -> Callable[[float], Round]:
    def run(seconds: float) -> Round:
        *values, operations = load.ask(f"{kind} {seconds}")
        return Round(tuple(values), operations)

    return run


def _durable_rate(durable: Child, threads: int) -> Callable[[float], float]:
    return lambda seconds: float(durable.ask(f"{threads} {seconds}"))
