"""How root reads a configuration that others can change (spec 06, *Configuration*).

A configuration may belong to the server's account. Then that account, or an attacker who takes it over,
controls what the next start reads. Root must not use its own rights for that. It reads such a configuration,
and the files that the configuration names, with the rights of the owner, and changes to no other account than
the owner.
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
    "unix": "root would have to create its socket",
    "ssl": "root would have to read its files; use tls: instead",
}


@frozen
class Loaded:
    """A configuration, and the account with whose rights it was read.

    :ivar reader: the account with whose rights to read the files that it names; ``None`` for this process's
        own.
    """

    config: Config
    reader: UnixAccount | None


def load_guarded(path: Path, environ: Mapping[str, str]) -> Loaded:
    """Read a configuration; with the rights of its owner, if this process is root and others can change it.

    :raises mensagod.config.ConfigFaults: as :func:`mensagod.config.load`.
    :raises AccountError: if root cannot use it safely; the text says what to do.
    """
    if os.geteuid() != 0:
        return Loaded(load(path, environ), None)
    was_there = path.exists()
    reader = reader_of(path) if was_there else None
    with acting_as(reader):
        config = load(path, environ)
    if not was_there:
        raise AccountError(f"{path} was created during the start: start again")
    if reader is not None:
        _check_account(config, reader)
        _check_listeners(config)
    return Loaded(config, reader)


def reader_of(path: Path) -> UnixAccount | None:
    """Give the account with whose rights root must read a configuration: its owner, if others can change it.

    :returns: ``None`` if this process is not root, or if only root can change the configuration.
    :raises AccountError: if it belongs to root, but others can change it.
    """
    if os.geteuid() != 0:
        return None
    opening = find_opening(path, {path.parent.resolve(), path.resolve().parent})
    if opening is None:
        return None
    owner = path.stat().st_uid
    if owner == 0:
        raise AccountError(
            f"{path} belongs to root, but others can change {opening}: run `chown root {opening}` and"
            f" `chmod go-w {opening}`, or give {path} to the account in global.user"
        )
    return owner_account(owner)


@contextmanager
def writing_beside(file: Path) -> Iterator[None]:
    """Become root again for a while, if root acts as another account and the directory is only root's."""
    with acting_as(ROOT if _is_acting() and is_roots_alone(file.parent) else None):
        yield


def _is_acting() -> bool:
    return os.getuid() == 0 and os.geteuid() != 0


def _check_account(config: Config, reader: UnixAccount) -> None:
    account = service_account(config.global_.user)
    if account.uid != reader.uid:
        raise AccountError(
            f"{config.path} belongs to {reader.name}, but the server's account (global.user) is"
            f' {account.name}: set global.user = "{reader.name}", or run `chown {account.name}'
            f" {config.path}`, or let only root change the file and its directory"
        )


def _check_listeners(config: Config) -> None:
    listeners = [*config.network.endpoints]
    if config.metrics.listen is not None:
        listeners.append(config.metrics.listen)
    for listener in listeners:
        if listener.kind in _READ_OR_MADE_AS_ROOT:
            raise AccountError(
                f"{config.path} can be changed by others than root, and has the endpoint {listener}, which is"
                f" not allowed then: {_READ_OR_MADE_AS_ROOT[listener.kind]}. Start the server as its account,"
                " or let only root change the file and its directory"
            )
