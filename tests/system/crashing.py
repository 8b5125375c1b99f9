"""A PostgreSQL that crashes: all its processes are killed at one moment."""

import os
import signal
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from tests.system.test_faults import OwnCluster

_GONE = {"Z", "X"}
_SETTINGS = {
    # A page that the kill of a process leaves half written is mended.
    "full_page_writes": "on",
}
"""Commits are asynchronous as in other tests: what is acknowledged must not depend on that setting."""


def _stat(pid: int) -> tuple[str, int]:
    """Give the state of a process, and its parent; that of one that is gone if there is none."""
    try:
        state, parent, *_ = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return "X", 0
    return state, int(parent)


def _family(pid: int) -> list[int]:
    """Give a process and its children."""
    everybody = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]
    return [pid, *(other for other in everybody if _stat(other)[1] == pid)]


class CrashingCluster(OwnCluster):
    """A cluster for one test.

    :param settings: those that differ from those of most tests.
    """

    def __init__(self, settings: Mapping[str, str] | None = None) -> None:
        super().__init__({**_SETTINGS, **(settings or {})})

    def crash(self) -> None:
        """Kill all its processes, and wait until they are gone."""
        locks = (self.data / "postmaster.pid", self.cluster.directory / ".s.PGSQL.5432.lock")
        family = _family(int(locks[0].read_text().split()[0]))
        for pid in family:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        while not all(_stat(pid)[0] in _GONE for pid in family):
            time.sleep(0.01)
        # The parent of the first one does not reap it, so its successor would take it for alive.
        for lock in locks:
            lock.unlink()
