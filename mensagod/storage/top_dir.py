"""The directory of the store, before the store is there (spec 06, *Files*)."""

import os
import stat
from pathlib import Path

from mensagod.process.accounts import AccountError


def check_top_dir(top_dir: Path) -> None:
    """Make sure that the store can be in a directory.

    :raises AccountError: if not; one sentence with what to do.
    """
    try:
        if not stat.S_ISDIR(top_dir.stat().st_mode):
            reason = "it is no directory"
        elif not os.access(top_dir, os.R_OK | os.W_OK | os.X_OK):
            reason = "it is not open to the account that serves: give it to that account"
        else:
            return
    except OSError as error:
        reason = f"{error.strerror or error}: is its disk mounted?"
    raise AccountError(f"{top_dir}, which is global.top_dir, cannot be used: {reason}")
