"""Whose the configuration is, and how root reads one that is not root's alone (spec 06, *Configuration*).

What the server reads again after it has ceased to be root belongs to its account. So that account, or whoever
takes it over, decides what the next start reads. Root must not lend its rights to that: it reads such a
configuration, and the files that it names, with the rights of the owner, and serves as nobody else.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from attrs import frozen

from mensagod.config import Config, load
from mensagod.process.accounts import (
    ROOT,
    AccountError,
    UnixAccount,
    acting_as,
    owner_account,
    service_account,
)
from mensagod.process.root_paths import find_opening, is_roots_alone

_READ_OR_MADE_AS_ROOT: Final = {
    "unix": "root would have to make its socket",
    "ssl": "root would have to read its files; tls: does the same",
}


@frozen
class Loaded:
    """A configuration, and with whose rights it was read.

    :ivar reader: who must read all that it names, too; ``None`` where we may as what we are.
    """

    config: Config
    reader: UnixAccount | None


def load_guarded(path: Path, environ: Mapping[str, str]) -> Loaded:
    """Read a configuration, with the rights of its owner where we are root and others can change it.

    :raises mensagod.config.ConfigFaults: as :func:`mensagod.config.load`.
    :raises AccountError: if root cannot obey it safely; one sentence with what to do.
    """
    if os.geteuid() != 0:
        return Loaded(load(path, environ), None)
    was_there = path.exists()
    reader = reader_of(path) if was_there else None
    with acting_as(reader):
        config = load(path, environ)
    if not was_there:
        raise AccountError(f"{path} has appeared just now: start again")
    if reader is not None:
        _check_account(config, reader)
        _check_listeners(config)
    return Loaded(config, reader)


def reader_of(path: Path) -> UnixAccount | None:
    """Tell with whose rights to read a configuration: its owner's, if we are root and it is not root's alone.

    :raises AccountError: if it is root's, but others can change it.
    """
    if os.geteuid() != 0:
        return None
    opening = find_opening(path, {path.parent.resolve(), path.resolve().parent})
    if opening is None:
        return None
    owner = path.stat().st_uid
    if owner == 0:
        raise AccountError(
            f"{path} is root's, but {opening} can be changed by others: make that root's alone"
            f" (chown root, chmod go-w), or give {path} to the account in global.user"
        )
    return owner_account(owner)


@contextmanager
def writing_beside(file: Path) -> Iterator[None]:
    """Have root's rights again where we only act as somebody else, if the directory is root's alone."""
    with acting_as(ROOT if _is_acting() and is_roots_alone(file.parent) else None):
        yield


def _is_acting() -> bool:
    return os.getuid() == 0 and os.geteuid() != 0


def _check_account(config: Config, reader: UnixAccount) -> None:
    account = service_account(config.global_.user)
    if account.uid != reader.uid:
        raise AccountError(
            f"{config.path} belongs to {reader.name}, but the server is to serve as {account.name}"
            f' (global.user): set global.user = "{reader.name}", give that file to {account.name} (chown),'
            " or make it and its directory root's alone"
        )


def _check_listeners(config: Config) -> None:
    listeners = [*config.network.endpoints]
    if config.metrics.listen is not None:
        listeners.append(config.metrics.listen)
    for listener in listeners:
        if listener.kind in _READ_OR_MADE_AS_ROOT:
            raise AccountError(
                f"{config.path} is not root's alone, and has {listener}, which cannot be when the start is"
                f" root's: {_READ_OR_MADE_AS_ROOT[listener.kind]}. Start as the account itself, or make the"
                " file and its directory root's alone"
            )
