"""``python -m bench [NAME ...]``: run all or the named benchmarks, and write ``bench/last.json``."""

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic

from attrs import asdict

from bench import machine
from bench.fairness import measure_fairness
from bench.figures import AIM, RESIDENT_AIM, Figure, table
from bench.measuring import BENCHMARKS, ROUNDS, SECONDS
from bench.scene import installation, raise_file_limit

LAST = Path(__file__).with_name("last.json")


def _main(names: list[str]) -> None:
    benchmarks = {**BENCHMARKS, "fairness": measure_fairness}
    unknown = set(names) - set(benchmarks)
    if unknown:
        sys.exit(f"no such benchmark: {', '.join(sorted(unknown))}; there are {', '.join(benchmarks)}")
    raise_file_limit()
    begin = monotonic()
    figures: list[Figure] = []
    with installation() as scene:
        where = machine.describe(scene.description["postgresql"])
        for name, measure in benchmarks.items():
            if not names or name in names:
                print(f"measuring: {name}", file=sys.stderr)
                figures += measure(scene)
    _write(figures, where)
    _show(figures, where)
    print(f"\ntook {monotonic() - begin:.0f} s")


def _write(figures: list[Figure], where: dict[str, str]) -> None:
    record = {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": where,
        "figures": [{**asdict(figure), "ratio": figure.ratio} for figure in figures],
    }
    LAST.write_text(json.dumps(record, indent=2) + "\n")


def _show(figures: list[Figure], where: dict[str, str]) -> None:
    for name, value in where.items():
        print(f"{name + ':':<12}{value}")
    print(f"{'method:':<12}median of {ROUNDS} rounds of {SECONDS:g} s after a warm-up; fsync on; loopback\n")
    print(table(figures))
    print(f"\nWanted: every ratio at least {AIM}, the idle process at most {RESIDENT_AIM:.0f} MB.")


if __name__ == "__main__":
    _main(sys.argv[1:])
