"""A process that migrates and is killed on the way; for ``test_bringing_over``.

Run as ``python -m tests.storage.interrupted_migration SETTINGS``: the settings are JSON with ``top_dir``,
``database``, ``inline_bytes`` and ``steps``: after so many statements and changes of files it is killed.
"""

import json
import os
import signal
import sys
from typing import Any

from twisted.python.filepath import FilePath

from mensagod.contents.file_store import FileStore
from mensagod.storage.bringing_over import VERSION, BringingOver
from mensagod.storage.connections import connect
from mensagod.storage.migrations import apply_all, installed_steps
from mensagod.storage.rows import Transaction

CHANGES = frozenset({"os.link", "os.remove", "os.rename", "os.mkdir", "os.rmdir"})


class Countdown:
    """Ends the process at its last step."""

    def __init__(self, steps: int):
        self.steps = steps

    def step(self) -> None:
        """Count a step, before it is done."""
        self.steps -= 1
        if self.steps == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def audit(self, event: str, _: object) -> None:
        """Hear of what Python does."""
        if event in CHANGES:
            self.step()


def main(settings: dict[str, Any]) -> None:
    """Migrate until the last step."""
    countdown = Countdown(settings["steps"])
    sys.addaudithook(countdown.audit)
    real = Transaction.execute

    def execute(txn: Transaction, *args: Any) -> None:
        countdown.step()
        real(txn, *args)

    Transaction.execute = execute  # type: ignore[assignment,method-assign]
    store = FileStore(FilePath(settings["top_dir"]))
    preparation = BringingOver(store, settings["inline_bytes"])
    apply_all(connect(settings["database"]), installed_steps(), {VERSION: preparation})


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
