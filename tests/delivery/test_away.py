"""Local delivery while the database is away."""

from typing import Any

from twisted.internet.defer import Deferred, fail
from twisted.internet.task import Clock
from twisted.python.filepath import FilePath
from twisted.trial.unittest import SynchronousTestCase

from mensagod.contents.file_store import FileStore
from mensagod.delivery.local import LocalRoute
from mensagod.storage.attempts import DatabaseUnavailable
from mensagod.values.domains import DomainSet
from mensagod.values.identity import WorkspaceID
from tests.conversations import FakeKeys
from tests.delivery.fakes import OURS, FakeQueue, InlineThreads


class AwayDatabase:
    """Runs no interaction."""

    def run(self, *_: Any, **__: Any) -> Deferred[Any]:
        return fail(DatabaseUnavailable())

    write = read = run


class AwayTests(SynchronousTestCase):
    """A database that is away: nothing is known of any message."""

    def test_away(self) -> None:
        """Each message has that for its result, and nobody is told of an arrival."""
        keys = FakeKeys()
        assert keys.keyring is not None
        keyring = keys.keyring
        queue = FakeQueue(Clock())
        messages = [queue.rows[queue.put()].message for _ in range(2)]
        delivered: list[WorkspaceID] = []
        route = LocalRoute(
            database=AwayDatabase(),
            store=FileStore(FilePath(self.mktemp())),
            threads=InlineThreads(),
            ours=lambda: [OURS],
            keyring=lambda: keyring,
            newer_keyring=keys.newer,
            delivered=delivered.append,
        )
        results = self.successResultOf(Deferred.fromCoroutine(route.deliver(messages)))
        self.assertEqual([type(results[message.id]) for message in messages], [DatabaseUnavailable] * 2)
        self.assertEqual((route.domains, delivered), (DomainSet.of([OURS]), []))
