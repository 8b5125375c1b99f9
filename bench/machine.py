"""The machine that the figures belong to, and what its processes take of it."""

import os
import platform
import re
from pathlib import Path

SERVER_CPU = 0
"""The core of every server that is measured, ours and the limits'."""

OTHER_CPU = 1
"""The core of the load and of PostgreSQL."""


def pin(cpu: int) -> None:
    """Keep this process, and those that it will start, on one core, where there are several."""
    if len(os.sched_getaffinity(0)) > 1:
        os.sched_setaffinity(0, {cpu})


def describe(postgresql: str) -> dict[str, str]:
    """Name the machine.

    :param postgresql: the version that the server of the database tells.
    """
    model = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
    return {
        "cpu": model[1] if model else platform.processor(),
        "cores": str(os.cpu_count()),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "postgresql": postgresql,
        "placement": placement(),
    }


def placement() -> str:
    """Tell what runs on which core."""
    if len(os.sched_getaffinity(0)) < 2:
        return "one core for everything"
    return f"servers on core {SERVER_CPU}; load generators and PostgreSQL on core {OTHER_CPU}"


def resident_bytes(pid: int) -> int:
    """Tell how much memory a process has in RAM."""
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"VmRSS:\s*(\d+) kB", status)
    return int(found[1]) * 1024 if found else 0
