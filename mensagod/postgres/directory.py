"""The directory of an embedded cluster: where its files lie, how they are made, who owns them.

Connections are trusted without a password. That is safe because there is no way to the
server but its Unix socket, and the socket lies in a directory of mode 0700: nobody but
the account that owns the cluster, and root, can open it. ``peer`` would lock out root,
who sets the server up before it changes its account.
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
_ACCESS = "# No way in but the socket, whose directory is private.\nlocal all all trust\n"
_DEFAULTS = """
# What follows was written by mensagod once, when it made the cluster; change it as you like.
shared_buffers = 48MB
max_wal_size = 256MB
log_checkpoints = off
"""
# Statements and details of errors hold values: hashes, keys, codes.
_KEPT_VARIABLES = ("PATH", "LD_LIBRARY_PATH", "TZ")
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

    :ivar path: ``TOP_DIR/postgresql``; made if it is not there.
    :ivar account: whose all this is, if we are root; else it is ours.
    """

    path: Path = field(converter=_absolute)
    account: UnixAccount | None

    @property
    def data(self) -> Path:
        """PostgreSQL's own data directory."""
        return self.path / "data"

    @property
    def log(self) -> Path:
        """What PostgreSQL prints."""
        return self.path / "postgresql.log"

    @property
    def socket_directory(self) -> Path:
        """Where the socket lies: beside the data, or in ``/tmp`` where that path is too long."""
        if len(os.fsencode(_socket_in(self.path))) <= _LONGEST_SOCKET_PATH:
            return self.path
        digest = sha256(os.fsencode(self.path)).hexdigest()[:16]
        return Path("/tmp") / f"mensagod-{digest}"  # noqa: S108

    def major(self) -> int | None:
        """Read which major version made the cluster; ``None`` if there is none yet."""
        try:
            return int((self.data / "PG_VERSION").read_text())
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise EmbeddedError(f"{self.data} is not a PostgreSQL cluster: {error}") from error

    def find_binaries(self, configured: str | None) -> Binaries:
        """Find programs that fit the cluster, and that the account can run."""
        binaries = find_binaries(configured, major=self.major(), fits=self._can_run)
        if not self._can_run(binaries):
            raise NoBinaries(self._unreachable(binaries.directory))
        return binaries

    def make_directories(self) -> None:
        """Make our own directories private and the account's."""
        if self.path.is_symlink():
            raise EmbeddedError(
                f"{self.path} is a symbolic link, which is not followed: mount the disk there"
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
        """Make the cluster if there is none: whole, or not at all; blocks for a second or two."""
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
        """Run a program of PostgreSQL to its end; blocks."""
        with subprocess.Popen(  # noqa: S603
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **self._environment()
        ) as process:
            try:
                shown, _ = process.communicate()
            except BaseException:
                # Ctrl-C does not reach its session, and what it has started would go on writing.
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                raise
        return subprocess.CompletedProcess(command, process.returncode, shown)

    def spawn(self, binaries: Binaries, max_connections: int) -> subprocess.Popen[bytes]:
        """Start the server, in a session of its own: Ctrl-C is for us, who end it in good order."""
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
        """Read which process serves the cluster, or did when it ended without a word."""
        try:
            return int((self.data / "postmaster.pid").read_text().split("\n", 1)[0])
        except (OSError, ValueError):
            return None

    def owns(self, pid: int) -> bool:
        """Tell whether a process is the account's; what a file says may be the number of anybody's."""
        try:
            return Path(f"/proc/{pid}").stat().st_uid == self._owner[0]
        except FileNotFoundError:
            return False

    def open_lock(self) -> BinaryIO:
        """Open the file whose lock tells who owns the server."""
        path = self.path / "owner.lock"
        lock = _open(path, os.O_CREAT)
        self.own(path)
        return lock

    def last_words(self, complaint: str) -> str:
        """Say what is wrong with PostgreSQL, and what it printed last."""
        try:
            lines = self.log.read_text(errors="replace")[-_TAIL:].strip().splitlines()
        except OSError:
            lines = []
        return f"PostgreSQL {complaint}: see {self.log}, which ends with: {' | '.join(lines[-_LAST_LINES:])}"

    def parameters(self, database: str = DATABASE) -> dict[str, Any]:
        """Say how to reach a database of the cluster, in keywords of libpq."""
        return {"host": str(self.socket_directory), "port": PORT, "user": USER, "dbname": database}

    def own(self, path: Path) -> None:
        """Give one file of ours to the account, which is to open it later."""
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
        """Give what every program of PostgreSQL runs with: nothing of ours but the path."""
        kept = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
        apart = child_arguments(self.account if self._is_root else None)
        return {"env": {**kept, "LC_ALL": "C"}, "cwd": "/", "umask": 0o077, **apart}

    def _give(self) -> None:
        """Give the directory to the account, if we may."""
        if self.account is None or not self._is_root:
            raise EmbeddedError(
                f"{self.path} belongs to another account: give it to the one that the server serves as"
                " (chown -R)"
            )
        give([self.path], self.account)

    def _obstacle(self, path: Path) -> Path | None:
        # Also where root only acts as the account: what that cannot reach is better told than tried.
        return can_reach(path, self.account) if self.account is not None and os.getuid() == 0 else None

    def _can_run(self, binaries: Binaries) -> bool:
        return self._obstacle(binaries.directory / "postgres") is None

    def _unreachable(self, path: Path) -> str:
        name = "" if self.account is None else self.account.name
        return (
            f"The account {name} cannot reach {path}: {self._obstacle(path)} is closed to it. Put it below a"
            " directory that is open, such as /srv, or start as an ordinary user"
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
            raise EmbeddedError(f"{path}, needed for the socket, is there and not private to the server")

    def _open_log(self) -> BinaryIO:
        with suppress(FileNotFoundError):
            if self.log.stat().st_size > _LARGEST_LOG:
                self.log.replace(self.log.with_suffix(".log.1"))
        log = _open(self.log, os.O_CREAT)
        self.own(self.log)
        return log


def _open(path: Path, flags: int = 0) -> BinaryIO:
    """Open for appending, as root perhaps, in a directory that another account can write to."""
    flags |= os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.fdopen(os.open(path, flags, 0o600), "ab")


def _socket_in(directory: Path) -> str:
    return str(directory / f".s.PGSQL.{PORT}")
