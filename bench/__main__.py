"""``python -m bench [--to FILE] [NAME ...]``: run all or the named benchmarks, and write the figures."""

import json
import sys
from argparse import ArgumentParser
from collections.abc import Callable, Collection, Iterator
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic

from bench import machine
from bench.fairness import measure_fairness
from bench.figures import AIM, RESIDENT_AIM, Figure, table
from bench.measuring import measure_connections, measure_download, measure_requests, measure_resident
from bench.rounds import ROUNDS, SECONDS
from bench.scene import Scene, Site, installation, raise_file_limit
from bench.sending import measure_processes, measure_push, measure_sending

LAST = Path(__file__).with_name("last.json")

BENCHMARKS: dict[str, Callable[[Scene], list[Figure]]] = {
    "resident": measure_resident,
    "connections": measure_connections,
    "requests": measure_requests,
    "download": measure_download,
    "sending": measure_sending,
    "push": measure_push,
    "fairness": measure_fairness,
}
"""The benchmarks of one server, in their order: memory first, before other work increases it."""

OF_SITE: dict[str, Callable[[Site], list[Figure]]] = {"processes": measure_processes}
"""The benchmarks that start servers of their own."""


def _main(names: Collection[str], to: Path) -> None:
    raise_file_limit()
    begin = monotonic()
    with installation() as site:
        where = machine.describe(site.made["postgresql"])
        figures = list(_figures(site, names or {*BENCHMARKS, *OF_SITE}))
    _write(figures, where, to)
    _show(figures, where)
    print(f"\ntook {monotonic() - begin:.0f} s")


def _figures(site: Site, names: Collection[str]) -> Iterator[Figure]:
    """Run the benchmarks of these names."""
    if not BENCHMARKS.keys().isdisjoint(names):
        with site.serving() as [server]:
            for name, measure in BENCHMARKS.items():
                if name in names:
                    print(f"measuring: {name}", file=sys.stderr)
                    yield from measure(Scene(site, server))
    for name, measure_site in OF_SITE.items():
        if name in names:
            print(f"measuring: {name}", file=sys.stderr)
            yield from measure_site(site)


def _write(figures: list[Figure], where: dict[str, str], to: Path) -> None:
    record = {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": where,
        "figures": [figure.document for figure in figures],
    }
    to.write_text(json.dumps(record, indent=2) + "\n")


def _show(figures: list[Figure], where: dict[str, str]) -> None:
    for name, value in where.items():
        print(f"{name + ':':<13}{value}")
    print(f"{'method:':<13}median of {ROUNDS} rounds of {SECONDS:g} s after a warm-up; fsync on; loopback")
    print(f"{'CPU:':<13}microseconds for one operation, in the server and in PostgreSQL\n")
    print(table(figures))
    print(f"\nWanted: every ratio at least {AIM}, the idle process at most {RESIDENT_AIM:.0f} MB.")


if __name__ == "__main__":
    parser = ArgumentParser(prog="python -m bench", description="Measure the server on this machine.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join((*BENCHMARKS, *OF_SITE))}")
    parser.add_argument("--to", type=Path, default=LAST, help="the file for all figures [bench/last.json]")
    given = parser.parse_args()
    unknown = set(given.names) - {*BENCHMARKS, *OF_SITE}
    if unknown:
        parser.error(f"no such benchmark: {', '.join(sorted(unknown))}")
    _main(given.names, given.to)
