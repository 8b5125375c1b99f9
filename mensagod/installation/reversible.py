"""Creating the files and directories of an installation, and removing them if the setup fails."""

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
    """The files and directories that were created so far.

    :ivar account: the account that reads the files if this process is root.
    """

    account: UnixAccount | None = None
    _made: dict[Path, os.stat_result] = field(factory=dict, init=False)
    _steps_back: list[Callable[[], None]] = field(factory=list, init=False)

    def directory(self, path: Path, mode: int) -> None:
        """Create a directory and its missing parents; those that exist are left unchanged."""
        missing = [step for step in (path, *path.parents) if not step.exists()]
        for step in reversed(missing):
            step.mkdir(0o700)
            self._steps_back.append(step.rmdir)
            _set_mode(step, mode if step == path else 0o755)

    def file(self, path: Path, content: bytes, ownership: Ownership | None = None) -> None:
        """Create a file that only its owner and the account can read, durably.

        :param ownership: the owner and mode; the default is from :meth:`Ownership.in_directory`.
        :raises FileExistsError: if the path exists.
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
        """Set the owner and mode of a file that was created before the account was known.

        :raises FileExistsError: if the file was replaced meanwhile.
        """
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            if not os.path.samestat(os.fstat(descriptor), self._made[path]):
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
            Ownership.in_directory(path.parent, self.account).apply(descriptor)
        finally:
            os.close(descriptor)

    def tree(self, path: Path) -> None:
        """Register a directory that other code is going to create and fill, unless it exists already."""
        if not path.exists():
            self._steps_back.append(lambda: shutil.rmtree(path, ignore_errors=True))

    def give(self, path: Path) -> None:
        """Change the owner of a directory and its content to the account."""
        if self.account is not None:
            give([path], self.account)

    def keep(self) -> None:
        """Keep everything: :meth:`remove` removes nothing then."""
        self._steps_back.clear()

    def remove(self) -> None:
        """Remove everything, the newest first; directories only if they are empty."""
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
