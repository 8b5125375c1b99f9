"""The CPU time that the measured processes use, read from ``/proc``."""

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from attrs import frozen

MICROSECONDS = 1_000_000


@frozen
class Cost:
    """CPU time of one operation, in microseconds.

    :ivar server: in all server processes.
    :ivar postgresql: in all processes of PostgreSQL.
    """

    server: float
    postgresql: float


@frozen
class Usage:
    """CPU time since the processes began, in seconds."""

    server: float = 0.0
    postgresql: float = 0.0

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(self.server + other.server, self.postgresql + other.postgresql)

    def __sub__(self, other: "Usage") -> "Usage":
        return Usage(self.server - other.server, self.postgresql - other.postgresql)

    def per(self, operations: int) -> Cost:
        """Give the CPU time of one of so many operations."""
        return Cost(self.server / operations * MICROSECONDS, self.postgresql / operations * MICROSECONDS)


@frozen
class Process:
    """A process according to ``/proc/PID/stat``; see ``proc_pid_stat(5)``.

    :ivar own: the CPU time of its threads, in seconds.
    :ivar reaped: the CPU time of its children that have ended and were waited for, in seconds.
    """

    parent: int
    own: float
    reaped: float

    @classmethod
    def from_text(cls, text: str) -> "Process":
        """Read the content of ``/proc/PID/stat``."""
        # The name of the program is in parentheses, and may contain blanks and parentheses.
        fields = text.rpartition(")")[2].split()
        tick = os.sysconf("SC_CLK_TCK")
        user, system, children_user, children_system = (int(field) / tick for field in fields[11:15])
        return cls(int(fields[1]), user + system, children_user + children_system)

    @classmethod
    def read(cls, pid: int) -> "Process":
        """Read a process."""
        return cls.from_text(Path(f"/proc/{pid}/stat").read_text())


@frozen
class Meter:
    """Reads the CPU time of a server and its database.

    :ivar servers: the process IDs of the server processes.
    :ivar postmaster: the process ID of PostgreSQL's first process, the parent of all others.
    """

    servers: Sequence[int]
    postmaster: int

    def read(self) -> Usage:
        """Read the CPU time up to now.

        The time of a backend that has ended is that of a reaped child of the postmaster.
        """
        postmaster = Process.read(self.postmaster)
        backends = sum(process.own for _, process in children(self.postmaster))
        servers = [Process.read(pid) for pid in self.servers]
        return Usage(
            sum(server.own + server.reaped for server in servers),
            postmaster.own + postmaster.reaped + backends,
        )

    @property
    def database_processes(self) -> list[int]:
        """The process IDs of PostgreSQL: the postmaster and its children."""
        return [self.postmaster, *(pid for pid, _ in children(self.postmaster))]


def children(parent: int) -> Iterator[tuple[int, Process]]:
    """Give the living children of a process."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            # It may end at any moment: then there is no file, or the file cannot be read any more. Some
            # machines show processes only to the account that owns them.
            with suppress(FileNotFoundError, ProcessLookupError, PermissionError):
                process = Process.read(int(entry.name))
                if process.parent == parent:
                    yield int(entry.name), process
