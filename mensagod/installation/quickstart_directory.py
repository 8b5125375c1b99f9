"""The directory of `mensagod quickstart`: filled whole, also after an interruption (spec 06)."""

import fcntl
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from attrs import field, frozen

from mensagod.config.tables import GlobalTable
from mensagod.config.tree import ORGANIZATION_KEY
from mensagod.installation.faults import InstallationFault
from mensagod.installation.founding import Choices, account_of, found
from mensagod.installation.reversible import ReversibleFiles
from mensagod.postgres.access import forget_environment
from mensagod.postgres.binaries import EmbeddedError
from mensagod.postgres.cluster import Cluster
from mensagod.process.accounts import AccountError, acting_as, service_account
from mensagod.process.durability import sync_directory
from mensagod.process.ownership import Ownership
from mensagod.values.identity import Domain

TOP_DIR: Final = "data"
MARK: Final = ".unfinished"
CODE: Final = "registration-code"

_SECONDS_TO_END = 15.0
_POLL_SECONDS = 0.05


def _absolute(path: Path) -> Path:
    return path.absolute()


@frozen
class QuickstartDirectory:
    """A directory that holds everything of one server.

    While it is being filled a mark lies in it, so that what an interruption leaves is known to be ours.

    :ivar config: the configuration, in this directory.
    """

    config: Path = field(converter=_absolute)

    @property
    def directory(self) -> Path:
        """The directory."""
        return self.config.parent

    @property
    def code(self) -> Path:
        """The file that keeps the administrator's registration code until it is used."""
        return self.directory / CODE

    @property
    def is_ready(self) -> bool:
        """Whether a server was set up here."""
        return self.config.exists() and not self._mark.exists()

    @property
    def _mark(self) -> Path:
        return self.directory / MARK

    def set_up(self, choose: Callable[[], Choices], environ: Mapping[str, str]) -> bool:
        """Set a server up here, unless there is one; blocks for seconds. Tell whether that was done.

        :param choose: gives choices with this configuration, the top directory ``data`` and the embedded
            PostgreSQL; may refuse.
        :raises InstallationFault: if that cannot be, or somebody else is at it.
        """
        files = ReversibleFiles()
        try:
            files.directory(self.directory, 0o755)
            with self._locked():
                return self._fill(choose, environ, files)
        except OSError as error:
            place = error.filename or self.directory
            raise InstallationFault(f"{place}: {error.strerror or error}") from error
        finally:
            files.remove()

    def _fill(
        self, choose: Callable[[], Choices], environ: Mapping[str, str], files: ReversibleFiles
    ) -> bool:
        if self.is_ready:
            self._remove_used_code()
            return False
        self._clear()
        choices = choose()
        files.file(self._mark, b"")
        founded = found(choices, environ)
        # From here on the mark stays until all is done, so that a failure leads to a new beginning.
        files.keep()
        account = account_of(founded.config)
        code = f"{founded.code}\n".encode("ascii")
        ReversibleFiles().file(self.code, code, Ownership.private_to(account))
        if account is not None and not Ownership.in_directory(self.directory, account).is_roots:
            # To remove the code in the end, and to replace organization.key.
            os.chown(self.directory, account.uid, account.gid)
        self._mark.unlink()
        sync_directory(self.directory)
        return True

    def _clear(self) -> None:
        """Remove what an interruption left behind; refuse a directory with anything else in it."""
        if self._mark.exists():
            if self._mark.lstat().st_uid != os.geteuid():
                raise InstallationFault(
                    f"{self._mark} is another account's: remove {self.directory} yourself"
                )
            end_postgres(self.directory / TOP_DIR / "postgresql")
            for name in (self.config.name, ORGANIZATION_KEY, "tls.crt", "tls.key", CODE):
                (self.directory / name).unlink(missing_ok=True)
            if (self.directory / TOP_DIR).exists():
                shutil.rmtree(self.directory / TOP_DIR)
            self._mark.unlink()
        for member in sorted(self.directory.iterdir()):
            if not member.name.startswith(".git"):
                raise InstallationFault(
                    f"{self.directory} has {member.name} in it, but no {self.config.name}: remove"
                    f" {member.name}, or start in another directory"
                )

    def _remove_used_code(self) -> None:
        """Remove the file of a code that was used; a server without rights to its directory emptied it."""
        with suppress(OSError):
            if self.code.lstat().st_size == 0:
                self.code.unlink()

    @contextmanager
    def _locked(self) -> Iterator[None]:
        descriptor = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
        except BlockingIOError:
            raise InstallationFault(
                f"Another process sets up {self.directory}: wait until it is done"
            ) from None
        finally:
            os.close(descriptor)


def end_postgres(directory: Path) -> None:
    """End what still runs of an embedded PostgreSQL whose owner was killed, before its files are removed."""
    _await_orphans(directory)
    if not (directory / "data" / "postmaster.pid").exists():
        return
    user = GlobalTable(domain=Domain("invalid")).user
    forget_environment()
    with suppress(EmbeddedError, AccountError):
        account = service_account(user) if os.geteuid() == 0 else None
        # What lies there is that account's, and root must not be led astray by it.
        with acting_as(account):
            cluster = Cluster(directory)
            try:
                cluster.start()
            finally:
                cluster.stop()


def _await_orphans(directory: Path) -> None:
    """Wait for an ``initdb`` that outlived us: it would write into the next cluster."""
    end = time.monotonic() + _SECONDS_TO_END
    while _is_being_made(directory) and time.monotonic() < end:
        # No reactor runs yet, and who is waited for is nobody's child of ours.
        time.sleep(_POLL_SECONDS)


def _is_being_made(directory: Path) -> bool:
    wanted = os.fsencode(directory / "data.new")
    for command in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            if wanted in command.read_bytes().split(b"\0"):
                return True
    return False
