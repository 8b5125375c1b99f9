"""A server process that is killed at a given step of a message's way; for ``test_crashes``.

Run as ``python -m tests.delivery.doomed SETTINGS``: the settings are JSON with ``directory``,
``database`` and ``step``. Prints its port once it listens.
"""

import json
import os
import signal
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from twisted.internet import reactor
from twisted.internet.defer import Deferred

from mensagod.server.tap import assemble
from mensagod.storage.database import Database
from mensagod.storage.rows import Transaction
from mensagod.storage.store import MailboxStore
from mensagod.values.paths import ServerPath
from tests.delivery.mail import local_route
from tests.serving import make_config


def die() -> NoReturn:
    """End as by a power failure: nothing is flushed, nobody is told."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise SystemExit


class DoomedDatabase(Database):
    """Dies inside the transaction of a step, or right after its commit."""

    step = ""

    def run(self, interaction: Callable[..., Any], *args: Any, **kwargs: Any) -> Deferred[Any]:
        """Run an interaction."""
        if self.step == f"before {interaction.__name__}":
            return super().run(partial(_interrupted, interaction), *args, **kwargs)
        return super().run(interaction, *args, **kwargs).addCallback(self._committed, interaction.__name__)

    def write(self, interaction: Callable[..., Any], *args: Any, **kwargs: Any) -> Deferred[Any]:
        """Run an interaction of one statement, inside a transaction that can be killed."""
        if self.step == f"before {interaction.__name__}":
            return self.run(interaction, *args, **kwargs)
        return super().write(interaction, *args, **kwargs).addCallback(self._committed, interaction.__name__)

    def _committed(self, result: Any, name: str) -> Any:
        # A claim that found nothing is no step on any message's way.
        if self.step == f"after {name}" and result != []:
            die()
        return result


def _interrupted(interaction: Callable[..., Any], txn: Transaction, *args: Any, **kwargs: Any) -> NoReturn:
    interaction(txn, *args, **kwargs)
    die()


class DoomedStore(MailboxStore):
    """Dies in the middle of writing, after writing or after moving a file."""

    step = ""

    def write(self, path: ServerPath, content: bytes) -> None:
        """Write a file, or half of it."""
        torn = self.step == "torn write"
        super().write(path, content[: len(content) // 2] if torn else content)
        if torn or self.step == "after write":
            die()

    def move(self, moves: Sequence[tuple[ServerPath, ServerPath]]) -> list[OSError | None]:
        """Move files."""
        faults = super().move(moves)
        if self.step == "after move":
            die()
        return faults


def announce(addresses: tuple[str, ...]) -> None:
    """Print the port, in one piece."""
    os.write(1, f"{addresses[0].rpartition(':')[2]}\n".encode())


def main(settings: dict[str, Any]) -> None:
    """Serve until the step comes."""
    service = assemble(reactor, make_config(Path(settings["directory"]), settings["database"]), {})
    server = service.server
    server.database.__class__ = DoomedDatabase
    store = server.store
    assert isinstance(store, MailboxStore)
    server.store = local_route(service.assembly.delivery).store = DoomedStore(store.root)
    DoomedDatabase.step = DoomedStore.step = settings["step"]
    service.announce = announce
    service.listeners.privilegedStartService()
    service.startService()
    reactor.run()


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
