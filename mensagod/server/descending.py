"""Giving up root for the Unix account of the server (spec 06, *Configuration*)."""

import os

from mensagod.config import Config
from mensagod.crypto import passwords
from mensagod.process.accounts import AccountError, UnixAccount, can_reach, drop_privileges
from mensagod.process.eager_imports import load_modules
from mensagod.storage.top_dir import check_top_dir
from mensagod.values import user_ids


def descend(config: Config, account: UnixAccount | None) -> None:
    """Check that the server can run as ``account``, and change to it.

    :param account: the Unix account; ``None`` if the process does not run as root.
    :raises AccountError: if the server cannot run as ``account``, or would run as root.
    """
    if account is not None:
        _preload()
        _check_reach(config, account)
        drop_privileges(account)
    if os.geteuid() == 0:
        raise AccountError("mensagod never serves as root: name an account in global.user")
    check_top_dir(config.global_.top_dir, is_embedded=config.database.embedded)


def _preload() -> None:
    """Load what is otherwise loaded on first use, because the account may not be able to read it."""
    load_modules()
    user_ids.script_lookup()
    passwords.word_list()


def _check_reach(config: Config, account: UnixAccount) -> None:
    for path in (config.global_.top_dir, config.path):
        barrier = can_reach(path, account)
        if barrier is not None:
            raise AccountError(
                f"the account {account.name} cannot reach {path}: {barrier} is closed to it. Put it"
                " below a directory that is open, such as /srv, or start as an ordinary user"
            )
