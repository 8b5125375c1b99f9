"""Accounts of this machine, for tests that root runs."""

import os
import pwd

from mensagod.process.accounts import FALLBACK, UnixAccount, is_own_group

IS_ROOT = os.geteuid() == 0


def account_with_own_group() -> UnixAccount:
    """Find an account that shares its group with nobody."""
    return _first(own=True)


def account_with_shared_group() -> UnixAccount:
    """Find an account whose group others are in, too."""
    return _first(own=False)


def _first(*, own: bool) -> UnixAccount:
    for entry in pwd.getpwall():
        is_usual = entry.pw_uid != 0 and entry.pw_gid != 0 and entry.pw_name != FALLBACK
        if is_usual and is_own_group(entry.pw_gid) is own:
            return UnixAccount(entry.pw_name, entry.pw_uid, entry.pw_gid)
    raise LookupError("there is no such account on this machine")
