"""The check of ``global.top_dir`` at the start (spec 06, *Files*)."""

import os
import stat
from pathlib import Path

from mensagod.process.accounts import AccountError


def check_top_dir(top_dir: Path) -> None:
    """Check that the server can keep its files in a directory.

    :raises AccountError: if it cannot; the text says what to do.
    """
    try:
        if not stat.S_ISDIR(top_dir.stat().st_mode):
            reason = "it is not a directory: set global.top_dir"
        elif not os.access(top_dir, os.R_OK | os.W_OK | os.X_OK):
            reason = "the server's account cannot read and write it: give it to that account with chown -R"
        else:
            return
    except OSError as error:
        reason = f"{error.strerror or error}: check whether its disk is mounted"
    raise AccountError(f"{top_dir} (global.top_dir) cannot be used: {reason}")
