"""The process of an embedded PostgreSQL, and the lock that decides which process owns it."""

import fcntl
import os
import signal
import subprocess
import time
from typing import BinaryIO, Final

from mensagod.postgres.binaries import Binaries
from mensagod.postgres.directory import ClusterDirectory

STOP_LIMIT: Final = 60.0
"""The most seconds to wait for a fast shutdown before an immediate one."""

_POLL = 0.05


class ServerProcess:
    """The server process, which this process has started or taken over, or which another one owns."""

    def __init__(self, directory: ClusterDirectory):
        self._directory = directory
        self._lock: BinaryIO | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def claim(self) -> bool:
        """Become the owner of the cluster, unless another living process is; tell whether this one is now."""
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
        """Tell whether there is a server process, even if it is starting or stopping."""
        if self._process is not None and self._process.poll() is None:
            return True
        return self._directory.is_listening()

    def is_alive(self) -> bool:
        """Tell whether the server process exists; cheap."""
        if self._process is not None:
            return self._process.poll() is None
        pid = self._directory.server_pid()
        return pid is not None and _exists(pid)

    def stop(self) -> None:
        """Stop the server if this process owns it, and give up the ownership; blocks."""
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
        # The PID file may be stale or forged, so that its PID belongs to another process.
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
            # Polling, in a thread: a server that was taken over is not a child of this process.
            time.sleep(_POLL)
        return True


def _send(pid: int, what: signal.Signals) -> None:
    try:
        os.kill(pid, what)
    except ProcessLookupError:
        return


def _exists(pid: int) -> bool:
    try:
        # If this is the first process of a container, orphaned processes become its children.
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
