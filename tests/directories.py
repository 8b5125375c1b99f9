"""Directories outside of the checkout, which every account of this machine can reach."""

import os
import tempfile
from contextlib import suppress
from pathlib import Path

from twisted.python.filepath import FilePath
from twisted.trial.unittest import SynchronousTestCase

_MEMORY = Path("/dev/shm")
_ROOM = 2 * 1024**3


def scratch(name: str) -> Path:
    """Make a directory for what a test throws away.

    It is in memory where there is room: on a disk a cluster costs several times as much.
    """
    return Path(tempfile.mkdtemp(prefix=f"mensagod-{name}-", dir=_place())).resolve()


def scratch_of(test: SynchronousTestCase, name: str) -> Path:
    """Make one that all can read, and that is removed after the test."""
    directory = scratch(name)
    test.addCleanup(FilePath(str(directory)).remove)
    directory.chmod(0o755)
    return directory


def _place() -> Path | None:
    """Find where they go; ``None`` is where temporary files are on this machine, or were told to be."""
    if "TMPDIR" in os.environ or not os.access(_MEMORY, os.W_OK):
        return None
    found = os.statvfs(_MEMORY)
    # The programs of a PostgreSQL may be copied there.
    is_fit = found.f_bavail * found.f_frsize >= _ROOM and not found.f_flag & os.ST_NOEXEC
    return _MEMORY if is_fit else None


def count_open(directory: Path) -> int:
    """Count the descriptors of this process that lead into a directory, or to what was removed from it."""
    opened = 0
    for descriptor in os.listdir("/proc/self/fd"):
        # Other threads open and close theirs.
        with suppress(FileNotFoundError):
            opened += os.readlink(f"/proc/self/fd/{descriptor}").startswith(str(directory))
    return opened
