"""The machine: its description, the placement of processes on cores, and their memory."""

import os
import platform
import re
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

SERVER_CPU = 0
"""The core of the measured servers: mensagod and the limits."""

OTHER_CPU = 1
"""The core of the load generators and of PostgreSQL."""


def pin(cpu: int | None) -> None:
    """Pin this process and its children to one core, if there are several; ``None`` means no core."""
    if cpu is not None and len(os.sched_getaffinity(0)) > 1:
        os.sched_setaffinity(0, {cpu})


def unpin(processes: Iterable[int]) -> None:
    """Let processes, and children that they start from now on, use all cores of this process."""
    for pid in processes:
        with suppress(ProcessLookupError):
            os.sched_setaffinity(pid, os.sched_getaffinity(0))


def describe(postgresql: str) -> dict[str, str]:
    """Describe the machine.

    :param postgresql: the version of PostgreSQL.
    """
    model = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
    return {
        "cpu": model[1] if model else platform.processor(),
        "cores": str(os.cpu_count()),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "postgresql": postgresql,
        "placement": placement(),
        "load before": " ".join(f"{load:.2f}" for load in os.getloadavg()),
    }


def placement() -> str:
    """Describe which processes run on which core."""
    if len(os.sched_getaffinity(0)) < 2:
        return "one core for everything"
    return (
        f"servers on core {SERVER_CPU}; load generators and PostgreSQL on core {OTHER_CPU};"
        " the part processes: all on any core"
    )


def resident_bytes(pid: int) -> int:
    """Give the resident memory of a process in bytes."""
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"VmRSS:\s*(\d+) kB", status)
    return int(found[1]) * 1024 if found else 0
