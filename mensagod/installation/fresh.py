"""Files and directories of a new installation, which vanish again if it fails."""

import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from attrs import define, field

from mensagod.process.accounts import Account, give
from mensagod.process.durability import sync_directory


@define
class Fresh:
    """What was made so far.

    :ivar account: to whom all of it is given; ``None`` where it stays our own.
    """

    account: Account | None = None
    _steps_back: list[Callable[[], None]] = field(factory=list, init=False)

    def directory(self, path: Path, mode: int) -> None:
        """Make a directory and those above it, if they are missing; what was there stays as it was."""
        missing = [step for step in (path, *path.parents) if not step.exists()]
        for step in reversed(missing):
            step.mkdir()
            step.chmod(mode if step == path else 0o755)
            self._steps_back.append(step.rmdir)
        if missing:
            self.give(path)

    def file(self, path: Path, content: bytes) -> None:
        """Make a file that only its owner can read, durably.

        :raises FileExistsError: if anything is there.
        """
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(path, flags, 0o600), "wb") as stream:
            self._steps_back.append(path.unlink)
            if self.account is not None:
                os.fchown(stream.fileno(), self.account.uid, self.account.gid)
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        sync_directory(path.parent)

    def tree(self, path: Path) -> None:
        """Note a directory that others are about to make and to fill; one that is there is not ours."""
        if not path.exists():
            self._steps_back.append(lambda: shutil.rmtree(path, ignore_errors=True))

    def give(self, path: Path) -> None:
        """Give what was made to the account."""
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
