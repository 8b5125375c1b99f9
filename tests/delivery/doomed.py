"""A server process that is killed at a given step of a message's way; for ``test_crashes``.

Run as ``python -m tests.delivery.doomed SETTINGS``: the settings are JSON with ``directory``,
``database``, ``step`` and ``inline_limit``. Prints its port once it listens.
"""

import json
import os
import signal
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from attrs import evolve
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from zope.interface import implementer

from mensagod.contents.file_store import FileStore
from mensagod.contents.interfaces import IContentWriter, Written
from mensagod.contents.keys import ContentKey
from mensagod.server.tap import assemble
from mensagod.storage.database import Database
from mensagod.storage.rows import Transaction
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

    def read(self, interaction: Callable[..., Any], *args: Any, **kwargs: Any) -> Deferred[Any]:
        """Run an interaction that only reads."""
        return super().read(interaction, *args, **kwargs).addCallback(self._committed, interaction.__name__)

    def _committed(self, result: Any, name: str) -> Any:
        # A query that found nothing is no step on any message's way.
        if self.step == f"after {name}" and result != []:
            die()
        return result


def _interrupted(interaction: Callable[..., Any], txn: Transaction, *args: Any, **kwargs: Any) -> NoReturn:
    interaction(txn, *args, **kwargs)
    die()


@implementer(IContentWriter)
class DoomedWriter:
    """Dies in the middle of a content, or when it is whole."""

    def __init__(self, writer: IContentWriter, step: str):
        self._writer = writer
        self._step = step
        self.pause, self.abandon = writer.pause, writer.abandon

    def write(self, data: bytes) -> None:
        """Add bytes, or half of them."""
        if self._step == "torn write":
            self._writer.write(data[: len(data) // 2])
            die()
        self._writer.write(data)

    def finish(self) -> Written:
        """Make the content whole."""
        written = self._writer.finish()
        if self._step == "after write":
            die()
        return written


class DoomedStore(FileStore):
    """A store whose writers die."""

    step = ""

    def write(self, key: ContentKey, offset: int = 0) -> Any:
        """Begin a content."""
        return DoomedWriter(super().write(key, offset), self.step)


def announce(addresses: tuple[str, ...]) -> None:
    """Print the port, in one piece."""
    os.write(1, f"{addresses[0].rpartition(':')[2]}\n".encode())


def main(settings: dict[str, Any]) -> None:
    """Serve until the step comes."""
    config = make_config(Path(settings["directory"]), settings["database"])
    performance = evolve(config.performance, inline_limit=settings["inline_limit"])
    service = assemble(reactor, evolve(config, performance=performance), {})
    service.assembly.database.__class__ = DoomedDatabase
    service.assembly.store.__class__ = DoomedStore
    DoomedDatabase.step = DoomedStore.step = settings["step"]
    service.announce = announce
    service.listeners.privilegedStartService()
    service.startService()
    reactor.run()


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
