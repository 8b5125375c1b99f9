"""Local delivery while the database is away."""

from typing import Any

from twisted.internet.defer import Deferred, fail
from twisted.internet.task import Clock
from twisted.python.filepath import FilePath
from twisted.trial.unittest import SynchronousTestCase

from mensagod.crypto.sealing import EncryptionPair
from mensagod.crypto.signing import SigningPair
from mensagod.delivery.local import LocalRoute
from mensagod.organization.keyring import Keyring
from mensagod.storage.attempts import DatabaseUnavailable
from mensagod.storage.store import MailboxStore
from mensagod.values.domains import ALL_DOMAINS, DomainSet
from mensagod.values.identity import WAddress, WorkspaceID
from tests.conversations import FakeKeys
from tests.delivery.fakes import OURS, FakeQueue, InlineThreads
from tests.delivery.letters import letter


class AwayDatabase:
    """Runs no interaction."""

    def run(self, *_: Any, **__: Any) -> Deferred[Any]:
        return fail(DatabaseUnavailable())

    write = read = run


class AwayTests(SynchronousTestCase):
    """A database that is away: nothing is known of any message, and nothing moves."""

    def test_away(self) -> None:
        """Each message has that for its result, and waits for its lease to end."""
        organization = EncryptionPair.generate()
        address = WAddress(WorkspaceID.random(), OURS)
        store = MailboxStore(FilePath(self.mktemp()))
        store.root.makedirs()
        fakes = FakeQueue(Clock())
        for _ in range(2):
            row = fakes.rows[fakes.put()]
            store.write(row.message.path, letter(organization, address, address).encode())
        messages = self.successResultOf(Deferred.fromCoroutine(fakes.claim(9, ALL_DOMAINS)))
        delivered: list[WorkspaceID] = []
        route = LocalRoute(
            database=AwayDatabase(),
            store=store,
            threads=InlineThreads(),
            ours=lambda: [OURS],
            keyring=lambda: Keyring(SigningPair.generate(), (organization,)),
            newer_keyring=FakeKeys().newer,
            delivered=delivered.append,
        )
        results = self.successResultOf(Deferred.fromCoroutine(route.deliver(messages)))
        self.assertEqual([type(results[message.id]) for message in messages], [DatabaseUnavailable] * 2)
        self.assertEqual((route.domains, delivered), (DomainSet.of([OURS]), []))
        for message in messages:
            store.open(message.path).close()
