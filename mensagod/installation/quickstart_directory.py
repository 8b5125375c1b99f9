"""The directory of ``mensagod quickstart``, which is set up again after an interruption (spec 06)."""

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
    """A directory that contains everything of one server.

    During the setup it contains a mark. If the setup is interrupted, the mark shows that what is in the
    directory may be removed.

    :ivar config: the configuration, in this directory.
    """

    config: Path = field(converter=_absolute)

    @property
    def directory(self) -> Path:
        """The directory."""
        return self.config.parent

    @property
    def code(self) -> Path:
        """The file with the administrator's registration code, until that is used."""
        return self.directory / CODE

    @property
    def is_ready(self) -> bool:
        """Whether a server has been set up here completely."""
        return self.config.exists() and not self._mark.exists()

    @property
    def _mark(self) -> Path:
        return self.directory / MARK

    def set_up(self, choose: Callable[[], Choices], environ: Mapping[str, str]) -> bool:
        """Set up a server here, unless there is one; tell whether that was done. Blocks for seconds.

        :param choose: gives the choices, which must have this configuration, the top directory ``data`` and
            the embedded PostgreSQL; may raise an exception.
        :raises InstallationFault: if that fails, or if another process sets up a server here.
        """
        files = ReversibleFiles()
        try:
            files.directory(self.directory, 0o755)
            with self._locked() as directory:
                return self._fill(directory, choose, environ, files)
        except OSError as error:
            place = error.filename or self.directory
            raise InstallationFault(f"{place}: {error.strerror or error}") from error
        finally:
            files.remove()

    def _fill(
        self,
        directory: int,
        choose: Callable[[], Choices],
        environ: Mapping[str, str],
        files: ReversibleFiles,
    ) -> bool:
        if self.is_ready:
            self._remove_used_code()
            return False
        self._clear(directory)
        choices = choose()
        files.file(self._mark, b"")
        if MARK not in os.listdir(directory):
            raise InstallationFault(f"Another directory has taken the place of {self.directory}: start again")
        founded = found(choices, environ)
        # If anything fails after this, the mark remains, and the next start sets up the server again.
        files.keep()
        account = account_of(founded.config)
        code = f"{founded.code}\n".encode("ascii")
        ReversibleFiles().file(self.code, code, Ownership.private_to(account))
        if account is not None and not Ownership.in_directory(self.directory, account).is_roots:
            # The account must be able to remove the code, and to replace organization.key. By descriptor:
            # others may have put a link to a directory of root's there since this one was found empty.
            os.fchown(directory, account.uid, account.gid)
        self._mark.unlink()
        sync_directory(self.directory)
        return True

    def _clear(self, directory: int) -> None:
        """Remove the files of an interrupted setup; refuse a directory that contains anything else."""
        if self._mark.exists():
            if self._mark.lstat().st_uid != os.geteuid():
                raise InstallationFault(
                    f"{self.directory} contains an interrupted setup of another account: remove the directory"
                )
            end_postgres(self.directory / TOP_DIR / "postgresql")
            for name in (self.config.name, ORGANIZATION_KEY, "tls.crt", "tls.key", CODE):
                (self.directory / name).unlink(missing_ok=True)
            if (self.directory / TOP_DIR).exists():
                shutil.rmtree(self.directory / TOP_DIR)
            self._mark.unlink()
        for member in sorted(os.listdir(directory)):
            if not member.startswith(".git"):
                raise InstallationFault(
                    f"{self.directory} contains {member}, but no {self.config.name}: remove"
                    f" {member}, or start in another directory"
                )

    def _remove_used_code(self) -> None:
        """Remove an empty code file: a server that may not remove the file of a used code empties it."""
        with suppress(OSError):
            if self.code.lstat().st_size == 0:
                self.code.unlink()

    @contextmanager
    def _locked(self) -> Iterator[int]:
        """Keep others from filling the directory; give it open."""
        descriptor = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield descriptor
        except BlockingIOError:
            raise InstallationFault(
                f"Another process is setting up {self.directory}: wait until it has finished"
            ) from None
        finally:
            os.close(descriptor)


def end_postgres(directory: Path) -> None:
    """Stop an embedded PostgreSQL whose owner was killed, before its files are removed."""
    _await_orphans(directory)
    if not (directory / "data" / "postmaster.pid").exists():
        return
    user = GlobalTable(domain=Domain("invalid")).user
    forget_environment()
    with suppress(EmbeddedError, AccountError):
        account = service_account(user) if os.geteuid() == 0 else None
        # Root acts as the account, which owns the files and could have tampered with them.
        with acting_as(account):
            cluster = Cluster(directory)
            try:
                cluster.start()
            finally:
                cluster.stop()


def _await_orphans(directory: Path) -> None:
    """Wait for an ``initdb`` of an interrupted setup: it would write into the next cluster."""
    end = time.monotonic() + _SECONDS_TO_END
    while _is_being_made(directory) and time.monotonic() < end:
        # Polling: no reactor runs yet, and initdb is not a child of this process.
        time.sleep(_POLL_SECONDS)


def _is_being_made(directory: Path) -> bool:
    wanted = os.fsencode(directory / "data.new")
    for command in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            if wanted in command.read_bytes().split(b"\0"):
                return True
    return False
