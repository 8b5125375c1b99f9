"""The process of an embedded PostgreSQL, and the lock that tells whose it is."""

import fcntl
import os
import signal
import subprocess
import time
from typing import BinaryIO, Final

from mensagod.postgres.binaries import Binaries
from mensagod.postgres.directory import ClusterDirectory

STOP_LIMIT: Final = 60.0
"""Seconds that a fast shutdown may take before an immediate one."""

_POLL = 0.05


class ServerProcess:
    """The server process, ours by birth or taken over, or another's; and the lock that tells."""

    def __init__(self, directory: ClusterDirectory):
        self._directory = directory
        self._lock: BinaryIO | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def claim(self) -> bool:
        """Own the cluster, unless a living process does already."""
        if self._lock is not None:
            return True
        lock = self._directory.open_lock()
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            return False
        self._lock = lock
        return True

    def spawn(self, binaries: Binaries, max_connections: int) -> None:
        """Start a process."""
        self._process = self._directory.spawn(binaries, max_connections)

    def is_there(self) -> bool:
        """Tell whether there is a server, be it only on its way up or down."""
        if self._process is not None and self._process.poll() is None:
            return True
        return self._directory.is_listening()

    def is_alive(self) -> bool:
        """Tell whether the server runs; cheap."""
        if self._process is not None:
            return self._process.poll() is None
        pid = self._directory.server_pid()
        return pid is not None and _exists(pid)

    def stop(self) -> None:
        """End the server if we own it, and give up the ownership; blocks."""
        if self._lock is None:
            return
        pid = self._pid()
        if pid is not None:
            self._end(pid)
        self.disown()

    def disown(self) -> None:
        """Give up the ownership, and leave the process as it is."""
        self._process = None
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _pid(self) -> int | None:
        if self._process is not None and self._process.poll() is None:
            return self._process.pid
        # A number in a file that was left behind, or forged, may be anybody's by now.
        pid = self._directory.server_pid() if self._directory.is_listening() else None
        return pid if pid is not None and self._directory.owns(pid) else None

    def _end(self, pid: int) -> None:
        for how in (signal.SIGINT, signal.SIGQUIT):
            _send(pid, how)
            if self._wait(pid, STOP_LIMIT):
                return

    def _wait(self, pid: int, seconds: float) -> bool:
        if self._process is not None and self._process.pid == pid:
            try:
                self._process.wait(seconds)
            except subprocess.TimeoutExpired:
                return False
            return True
        deadline = time.monotonic() + seconds
        while _exists(pid):
            if time.monotonic() > deadline:
                return False
            # In a thread; a server that was taken over is no child of ours that could be waited for.
            time.sleep(_POLL)
        return True


def _send(pid: int, what: signal.Signals) -> None:
    try:
        os.kill(pid, what)
    except ProcessLookupError:
        return


def _exists(pid: int) -> bool:
    try:
        # Orphans are ours to bury where we are the first process of a container.
        if os.waitpid(pid, os.WNOHANG)[0] == pid:
            return False
    except ChildProcessError:
        pass
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
