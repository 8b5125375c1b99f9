"""The check of ``global.top_dir`` at the start (spec 06, *Files*)."""

import os
import stat
from pathlib import Path

from mensagod.process.accounts import AccountError


def check_top_dir(top_dir: Path, *, is_embedded: bool) -> None:
    """Check that the server can keep its files in a directory.

    :param is_embedded: whether the database is there, too. A missing one is never made by a start: the disk
        that has it is not mounted.
    :raises AccountError: if it cannot; the text says what to do.
    """
    try:
        if not stat.S_ISDIR(top_dir.stat().st_mode):
            reason = "it is not a directory: set global.top_dir"
        elif not os.access(top_dir, os.R_OK | os.W_OK | os.X_OK):
            reason = "the server's account cannot read and write it: give it to that account with chown -R"
        elif is_embedded and not (top_dir / "postgresql").exists():
            reason = "it has no directory postgresql with the database: check whether its disk is mounted"
        else:
            return
    except OSError as error:
        reason = f"{error.strerror or error}: check whether its disk is mounted"
    raise AccountError(f"{top_dir} (global.top_dir) cannot be used: {reason}")
