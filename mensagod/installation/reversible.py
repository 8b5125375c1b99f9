"""Files and directories of a new installation, which vanish again if it fails."""

import errno
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from attrs import define, field

from mensagod.process.accounts import UnixAccount, give
from mensagod.process.durability import sync_directory
from mensagod.process.ownership import Ownership


@define
class ReversibleFiles:
    """What was made so far.

    :ivar account: who is to read the files, if we are root.
    """

    account: UnixAccount | None = None
    _made: dict[Path, os.stat_result] = field(factory=dict, init=False)
    _steps_back: list[Callable[[], None]] = field(factory=list, init=False)

    def directory(self, path: Path, mode: int) -> None:
        """Make a directory and those above it, if they are missing; what was there stays as it was."""
        missing = [step for step in (path, *path.parents) if not step.exists()]
        for step in reversed(missing):
            step.mkdir(0o700)
            self._steps_back.append(step.rmdir)
            _set_mode(step, mode if step == path else 0o755)

    def file(self, path: Path, content: bytes, ownership: Ownership | None = None) -> None:
        """Make a file that only its owner and the account can read, durably.

        :param ownership: instead of the one that :meth:`Ownership.in_directory` chooses.
        :raises FileExistsError: if anything is there.
        """
        chosen = ownership or Ownership.in_directory(path.parent, self.account)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(path, flags, 0o600), "wb") as stream:
            self._steps_back.append(path.unlink)
            chosen.apply(stream.fileno())
            self._made[path] = os.fstat(stream.fileno())
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        sync_directory(path.parent)

    def hand_over(self, path: Path) -> None:
        """Give a file that was made before the account was known the owner and mode that it should have.

        :raises FileExistsError: if another one has taken its place meanwhile.
        """
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            if not os.path.samestat(os.fstat(descriptor), self._made[path]):
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
            Ownership.in_directory(path.parent, self.account).apply(descriptor)
        finally:
            os.close(descriptor)

    def tree(self, path: Path) -> None:
        """Note a directory that others are about to make and to fill; one that is there is not ours."""
        if not path.exists():
            self._steps_back.append(lambda: shutil.rmtree(path, ignore_errors=True))

    def give(self, path: Path) -> None:
        """Give a directory with all in it to the account."""
        if self.account is not None:
            give([path], self.account)

    def keep(self) -> None:
        """Let all of it stay."""
        self._steps_back.clear()

    def remove(self) -> None:
        """Remove all of it, the newest first; directories only if nothing else came into them."""
        while self._steps_back:
            with suppress(OSError):
                self._steps_back.pop()()


def _set_mode(directory: Path, mode: int) -> None:
    """Set the mode whatever the umask, of a directory and not of what a link in its place leads to."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.fchmod(descriptor, mode)
    finally:
        os.close(descriptor)
