"""The directory of an embedded cluster: its files, their creation and their owner.

Connections need no password (authentication method ``trust``). That is safe because the server listens only
on its Unix socket, in a directory of mode 0700, which only the account that owns the cluster and root can
open. The method ``peer`` would refuse root, which connects before it changes to that account.
"""

import os
import shutil
import signal
import socket
import stat
import subprocess
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any, BinaryIO, Final

from attrs import field, frozen

from mensagod.postgres.binaries import Binaries, EmbeddedError, NoBinaries, find_binaries
from mensagod.process.accounts import UnixAccount, can_reach, child_arguments, give

USER: Final = "mensago"
DATABASE: Final = "mensago"
PORT: Final = 5432

_LONGEST_SOCKET_PATH = 107
_LARGEST_LOG = 4 * 1024 * 1024
_TAIL = 2000
_LAST_LINES = 2
_INITDB = (
    f"--username={USER}",
    "--auth=trust",
    "--encoding=UTF8",
    "--locale=C",
    "--data-checksums",
)
_ACCESS = "# The server listens only on its Unix socket, in a private directory.\nlocal all all trust\n"
_DEFAULTS = """
# mensagod wrote these settings when it created the cluster; you can change them.
shared_buffers = 48MB
max_wal_size = 256MB
log_checkpoints = off
"""
_KEPT_VARIABLES = ("PATH", "LD_LIBRARY_PATH", "TZ")
# Statements and error details are not logged, because they contain hashes, keys and codes.
_FIXED = {
    "listen_addresses": "",
    "port": str(PORT),
    "unix_socket_permissions": "0700",
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
    "logging_collector": "off",
}


def _absolute(path: Path) -> Path:
    return path.absolute()


@frozen
class ClusterDirectory:
    """An embedded cluster on disk.

    :ivar path: ``TOP_DIR/postgresql``; created if it does not exist.
    :ivar account: the owner of the files if this process is root; otherwise they belong to its own user.
    """

    path: Path = field(converter=_absolute)
    account: UnixAccount | None

    @property
    def data(self) -> Path:
        """PostgreSQL's own data directory."""
        return self.path / "data"

    @property
    def log(self) -> Path:
        """The file with the output of PostgreSQL."""
        return self.path / "postgresql.log"

    @property
    def socket_directory(self) -> Path:
        """The directory of the socket: ``path``, or one in ``/tmp`` if that path is too long for a socket."""
        if len(os.fsencode(_socket_in(self.path))) <= _LONGEST_SOCKET_PATH:
            return self.path
        digest = sha256(os.fsencode(self.path)).hexdigest()[:16]
        return Path("/tmp") / f"mensagod-{digest}"  # noqa: S108

    def major(self) -> int | None:
        """Read the major version of the cluster; ``None`` if it does not exist."""
        try:
            return int((self.data / "PG_VERSION").read_text())
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise EmbeddedError(f"{self.data} is not a PostgreSQL cluster: {error}") from error

    def find_binaries(self, configured: str | None) -> Binaries:
        """Find programs of the cluster's version that the account can run."""
        binaries = find_binaries(configured, major=self.major(), fits=self._can_run)
        if not self._can_run(binaries):
            raise NoBinaries(self._unreachable(binaries.directory))
        return binaries

    def make_directories(self) -> None:
        """Make our own directories private and the account's."""
        if self.path.is_symlink():
            raise EmbeddedError(
                f"{self.path} is a symbolic link, which is not allowed: mount the disk at {self.path} instead"
            )
        if self._obstacle(self.path.parent) is not None:
            raise EmbeddedError(self._unreachable(self.path))
        self.path.mkdir(parents=True, exist_ok=True)
        if self.path.stat().st_uid != self._owner[0]:
            self._give()
        self.path.chmod(0o700)
        if self._obstacle(self.path) is not None:
            raise EmbeddedError(self._unreachable(self.path))
        if self.socket_directory != self.path:
            self._make_socket_directory()

    def initialize(self, binaries: Binaries) -> None:
        """Create the cluster, completely or not at all, if it does not exist; blocks for a second or two."""
        if self.major() is not None:
            return
        fresh = self.path / "data.new"
        shutil.rmtree(fresh, ignore_errors=True)
        done = self.run([binaries.program("initdb"), "-D", str(fresh), *_INITDB])
        if done.returncode != 0:
            raise EmbeddedError(f"initdb failed: {done.stdout.decode(errors='replace').strip()[-_TAIL:]}")
        for name, text in (("pg_hba.conf", _ACCESS), ("postgresql.conf", _DEFAULTS)):
            with _open(fresh / name, os.O_TRUNC if text is _ACCESS else 0) as settings:
                settings.write(text.encode())
        fresh.rename(self.data)

    def run(self, command: list[str]) -> subprocess.CompletedProcess[bytes]:
        """Run a program of PostgreSQL and wait until it ends; blocks."""
        with subprocess.Popen(  # noqa: S603
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **self._environment()
        ) as process:
            try:
                shown, _ = process.communicate()
            except BaseException:
                # Ctrl-C does not reach its session, and programs that it started would go on writing.
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                raise
        return subprocess.CompletedProcess(command, process.returncode, shown)

    def spawn(self, binaries: Binaries, max_connections: int) -> subprocess.Popen[bytes]:
        """Start the server in its own session, so that it does not get the SIGINT of Ctrl-C."""
        fixed = {
            **_FIXED,
            "unix_socket_directories": str(self.socket_directory),
            "max_connections": str(max_connections),
        }
        options = [part for name, value in fixed.items() for part in ("-c", f"{name}={value}")]
        with self._open_log() as log:
            return subprocess.Popen(  # noqa: S603
                [binaries.program("postgres"), "-D", str(self.data), *options],
                stdout=log,
                stderr=log,
                **self._environment(),
            )

    def is_listening(self) -> bool:
        """Tell whether a server listens on the socket, ready or not."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.setblocking(False)
            try:
                probe.connect(_socket_in(self.socket_directory))
            except BlockingIOError:
                return True
            except OSError:
                return False
            return True

    def server_pid(self) -> int | None:
        """Read the process ID of the server from its PID file, which remains after a crash."""
        try:
            return int((self.data / "postmaster.pid").read_text().split("\n", 1)[0])
        except (OSError, ValueError):
            return None

    def owns(self, pid: int) -> bool:
        """Tell whether a process belongs to the account; the PID in a file may be that of any process."""
        try:
            return Path(f"/proc/{pid}").stat().st_uid == self._owner[0]
        except FileNotFoundError:
            return False

    def open_lock(self) -> BinaryIO:
        """Open the file whose lock the owner of the server holds."""
        path = self.path / "owner.lock"
        lock = _open(path, os.O_CREAT)
        self.own(path)
        return lock

    def last_words(self, complaint: str) -> str:
        """Give a message about PostgreSQL, with the last lines of its output."""
        try:
            lines = self.log.read_text(errors="replace")[-_TAIL:].strip().splitlines()
        except OSError:
            lines = []
        return (
            f"PostgreSQL {complaint}: see {self.log}; its last lines are: {' | '.join(lines[-_LAST_LINES:])}"
        )

    def parameters(self, database: str = DATABASE) -> dict[str, Any]:
        """Give the connection parameters of a database of the cluster for libpq."""
        return {"host": str(self.socket_directory), "port": PORT, "user": USER, "dbname": database}

    def own(self, path: Path) -> None:
        """Change the owner of a file to the account, which opens it later."""
        if self._is_root:
            os.chown(path, *self._owner, follow_symlinks=False)

    @property
    def _is_root(self) -> bool:
        return self.account is not None and os.geteuid() == 0

    @property
    def _owner(self) -> tuple[int, int]:
        if self.account is not None and os.geteuid() == 0:
            return self.account.uid, self.account.gid
        return os.geteuid(), os.getegid()

    def _environment(self) -> dict[str, Any]:
        """Give the arguments of :mod:`subprocess` for the programs of PostgreSQL: a minimal environment."""
        kept = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
        apart = child_arguments(self.account if self._is_root else None)
        return {"env": {**kept, "LC_ALL": "C"}, "cwd": "/", "umask": 0o077, **apart}

    def _give(self) -> None:
        """Change the owner of the directory to the account, if this process is root."""
        if self.account is None or not self._is_root:
            raise EmbeddedError(
                f"{self.path} belongs to another account: give it to the server's account with chown -R"
            )
        give([self.path], self.account)

    def _obstacle(self, path: Path) -> Path | None:
        # Also if root acts as the account now: the message is better than that of a failed call.
        return can_reach(path, self.account) if self.account is not None and os.getuid() == 0 else None

    def _can_run(self, binaries: Binaries) -> bool:
        return self._obstacle(binaries.directory / "postgres") is None

    def _unreachable(self, path: Path) -> str:
        name = "" if self.account is None else self.account.name
        return (
            f"The account {name} cannot reach {path}: it has no access to {self._obstacle(path)}. Use a place"
            " below a directory with access for all, such as /srv, or start the server as an ordinary user"
        )

    def _make_socket_directory(self) -> None:
        path = self.socket_directory
        with suppress(FileExistsError):
            path.mkdir(mode=0o700)
            self.own(path)
        found = path.lstat()
        if not stat.S_ISDIR(found.st_mode) or (found.st_uid, stat.S_IMODE(found.st_mode)) != (
            self._owner[0],
            0o700,
        ):
            raise EmbeddedError(
                f"{path}, the directory for PostgreSQL's socket, exists and does not belong to the server's"
                " account with mode 0700: remove it"
            )

    def _open_log(self) -> BinaryIO:
        with suppress(FileNotFoundError):
            if self.log.stat().st_size > _LARGEST_LOG:
                self.log.replace(self.log.with_suffix(".log.1"))
        log = _open(self.log, os.O_CREAT)
        self.own(self.log)
        return log


def _open(path: Path, flags: int = 0) -> BinaryIO:
    """Open a file for appending, without following symbolic links: others may control the directory."""
    flags |= os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.fdopen(os.open(path, flags, 0o600), "ab")


def _socket_in(directory: Path) -> str:
    return str(directory / f".s.PGSQL.{PORT}")
