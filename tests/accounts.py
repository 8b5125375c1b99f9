"""Accounts of this machine, for tests that root runs."""

import os
import pwd

from mensagod.process.accounts import FALLBACK, Account, is_own_group

IS_ROOT = os.geteuid() == 0


def account_with_own_group() -> Account:
    """Find an account that shares its group with nobody."""
    return _first(own=True)


def account_with_shared_group() -> Account:
    """Find an account whose group others are in, too."""
    return _first(own=False)


def _first(*, own: bool) -> Account:
    for entry in pwd.getpwall():
        is_usual = entry.pw_uid != 0 and entry.pw_gid != 0 and entry.pw_name != FALLBACK
        if is_usual and is_own_group(entry.pw_gid) is own:
            return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)
    raise LookupError("there is no such account on this machine")
