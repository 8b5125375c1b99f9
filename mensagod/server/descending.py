"""From root to the account that serves (spec 06, *Configuration*)."""

import os

from mensagod.config import Config
from mensagod.crypto import passwords
from mensagod.process.accounts import AccountError, UnixAccount, can_reach, drop_privileges
from mensagod.process.eager_imports import load_modules
from mensagod.storage.top_dir import check_top_dir
from mensagod.values import user_ids


def descend(config: Config, account: UnixAccount | None) -> None:
    """Become ``account`` if we are root, once it is sure that the server can work as that.

    :param account: ``None`` if we are not root.
    :raises AccountError: if it cannot, or we would serve as root.
    """
    if account is not None:
        _preload()
        _check_reach(config, account)
        drop_privileges(account)
    if os.geteuid() == 0:
        raise AccountError("mensagod never serves as root: name an account in global.user")
    check_top_dir(config.global_.top_dir)


def _preload() -> None:
    """Load what is else loaded on first use: it may lie where the account cannot read."""
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
