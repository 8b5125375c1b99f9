"""Cards of our own domains, from memory or from the database (spec 03, *The server's duties*)."""

from datetime import UTC, datetime

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import Clock

from mensagod.operations.resolver import LocalResolver
from mensagod.sharing.follower import INTERVAL, TRUST, Follower, StoredEventLog
from mensagod.storage import events, keycards
from mensagod.storage.keycards import CACHEABLE, Extent, StoredEntry
from mensagod.storage.rows import Transaction
from mensagod.values.identity import Domain, WorkspaceID
from tests.databases import DatabaseTestCase
from tests.keycards.cards import DAY, Organization, User
from tests.waiting import until

NOW = datetime.now(UTC)


def stored(number: int, size: int = 100) -> StoredEntry:
    return StoredEntry(number, "x" * size, f"hash {number}", NOW, NOW)


def add_card(txn: Transaction, owner: WorkspaceID, size: int, count: int) -> None:
    txn.execute(
        "INSERT INTO workspaces (id, domain, status, password_hash) VALUES (%s, 'example.com', 'active', 'x')"
        " ON CONFLICT DO NOTHING",
        (owner.uuid,),
    )
    for number in range(1, count + 1):
        keycards.add_entry(txn, owner, stored(number, size))


class LocalResolverTests(DatabaseTestCase):
    """Against a real database, with two processes that share it."""

    async def prepare(self) -> None:
        self.follower, self.resolver = self.make()
        self.owner = WorkspaceID.random()
        await self.database.run(add_card, self.owner, 100, 0)

    def make(self, clock: IReactorTime | None = None) -> tuple[Follower, LocalResolver]:
        watch = Follower(clock or IReactorTime(reactor), StoredEventLog(self.database))
        resolver = LocalResolver(clock or IReactorTime(reactor), self.database, watch, 10)
        if clock is None:
            watch.startService()
            self.addCleanup(watch.stopService)
        return watch, resolver

    async def add(self, user: User) -> None:
        """Add the user's newest entry, as any process does."""
        entry = user.current
        new = StoredEntry(entry.index, entry.text, str(entry.hash), entry.timestamp, NOW)
        await self.database.run(keycards.add_entry, self.owner, new)

    def count_reads(self) -> list[object]:
        """Count the reads from now on."""
        reads: list[object] = []
        original = self.database.read

        def read(interaction: object, *args: object) -> Deferred[object]:
            if interaction is not events.read_after:
                reads.append(interaction)
            return original(interaction, *args)  # type: ignore[arg-type]

        self.patch(self.database, "read", read)
        return reads

    async def test_kept(self) -> None:
        """A small card is read once; every excerpt of it then comes from memory."""
        user = User(Organization())
        await self.add(user)
        user.rotate(NOW)
        await self.add(user)
        await until(lambda: self.follower.is_current)
        await self.follower.read()
        texts = [entry.text for entry in user.card]
        reads = self.count_reads()
        for start, end, expected in (
            (1, None, texts),
            (0, None, texts[1:]),
            (2, 2, texts[1:]),
            (1, 9, texts),
        ):
            found = await self.resolver.excerpt(self.owner, start, end)
            assert not isinstance(found, Extent)
            assert found is not None
            self.assertEqual([entry.text for entry in found], expected)
        self.assertIsNone(await self.resolver.excerpt(self.owner, 3, None))
        current = await self.resolver.current(self.owner)
        assert current is not None
        self.assertEqual(current.number, 2)
        self.assertEqual(len(reads), 1)

    async def test_none(self) -> None:
        """Who has no card has none, and takes no memory."""
        self.assertIsNone(await self.resolver.excerpt(self.owner, 1, None))
        self.assertIsNone(await self.resolver.current(self.owner))
        self.assertEqual(len(self.resolver.cache), 0)

    async def test_large(self) -> None:
        """A large card is not kept: only its extent is given, and its texts a few at a time."""
        await self.database.run(add_card, self.owner, 1000, 100)
        await until(lambda: self.follower.is_current)
        extent = await self.resolver.excerpt(self.owner, 1, None)
        assert isinstance(extent, Extent)
        self.assertEqual(extent, Extent(1, 100, 100_000, 0))
        self.assertGreater(extent.size, CACHEABLE)
        texts = [text async for text in self.resolver.texts(self.owner, extent)]
        self.assertEqual(texts, ["x" * 1000] * 100)
        self.assertEqual(await self.resolver.excerpt(self.owner, 3, 4), Extent(3, 4, 2000, 0))
        self.assertIsNone(await self.resolver.excerpt(self.owner, 101, None))
        self.assertEqual(self.resolver.cache.bytes_held, 0)

    async def test_large_current(self) -> None:
        """Of a large card only the newest entry is read, again and again, until it changes."""
        await self.database.run(add_card, self.owner, 1000, 100)
        await until(lambda: self.follower.is_current)
        await self.follower.read()
        await self.resolver.current(self.owner)
        reads = self.count_reads()
        for _ in range(3):
            current = await self.resolver.current(self.owner)
            assert current is not None
            self.assertEqual(current.number, 100)
            newest = await self.resolver.excerpt(self.owner, 0, None)
            self.assertEqual(newest, [current])
        self.assertEqual(set(reads), {keycards.current_entry})
        self.assertEqual(self.resolver.cache.bytes_held, 0)
        await self.database.run(keycards.add_entry, self.owner, stored(101))
        self.follower.tell(frozenset({self.owner}))
        self.assertEqual(len(self.resolver.cache), 0)
        current = await self.resolver.current(self.owner)
        assert current is not None
        self.assertEqual(current.number, 101)

    async def test_many_entries(self) -> None:
        """A card of very many entries is large, however short they are."""
        await self.database.run(add_card, self.owner, 1, CACHEABLE // 64 + 1)
        self.assertEqual(await self.database.read(keycards.read_card, self.owner), [])

    async def test_change_elsewhere(self) -> None:
        """What another process adds is asked for so often that it is seen within a second."""
        clock = Clock()
        watch, resolver = self.make(clock)
        user = User(Organization())
        await self.add(user)
        watch.startService()
        self.addCleanup(watch.stopService)
        await until(lambda: watch.is_current)
        for _ in range(3):
            await resolver.current(self.owner)
            user.rotate(NOW + DAY)
            await self.add(user)
            known = watch.generation
            clock.advance(INTERVAL)
            await until(lambda: watch.generation > known)  # noqa: B023
            current = await resolver.current(self.owner)
            assert current is not None
            self.assertEqual(current.number, user.current.index)
        self.assertLessEqual(2 * INTERVAL, 1)
        self.assertLess(TRUST, 1)

    async def test_change_here(self) -> None:
        """What this process adds is seen at once, because it says so."""
        user = User(Organization())
        await self.add(user)
        await until(lambda: self.follower.is_current)
        await self.resolver.current(self.owner)
        user.rotate(NOW)
        await self.add(user)
        self.follower.tell(frozenset({self.owner}))
        current = await self.resolver.current(self.owner)
        assert current is not None
        self.assertEqual(current.number, 2)

    async def test_domain(self) -> None:
        """In which domain a workspace is, is read once a second; that one is not there is not remembered."""
        clock = Clock()
        _, self.resolver = self.make(clock)
        here, elsewhere = Domain.from_text("example.com"), Domain.from_text("example.net")
        late = WorkspaceID.random()
        self.assertFalse(await self.resolver.is_in(late, here))
        await self.database.run(add_card, late, 1, 0)
        self.assertTrue(await self.resolver.is_in(late, here))
        reads = self.count_reads()
        for _ in range(2):
            self.assertTrue(await self.resolver.is_in(self.owner, here))
            self.assertFalse(await self.resolver.is_in(self.owner, elsewhere))
        self.assertEqual(len(reads), 1)
        await self.database.run(
            lambda txn: txn.execute(
                "UPDATE workspaces SET status = 'archived', password_hash = NULL WHERE id = %s",
                (self.owner.uuid,),
            )
        )
        clock.advance(1)
        self.assertFalse(await self.resolver.is_in(self.owner, here))
        for _ in range(30):
            owner = WorkspaceID.random()
            await self.database.run(add_card, owner, 1, 0)
            self.assertTrue(await self.resolver.is_in(owner, here))
        self.assertLessEqual(len(self.resolver._domains), 10)

    async def test_not_asked(self) -> None:
        """A process that cannot ask what changed takes nothing from memory."""
        clock = Clock()
        watch, resolver = self.make(clock)
        await self.add(User(Organization()))
        await watch.read()
        await watch.read()
        await resolver.current(self.owner)
        reads = self.count_reads()
        await resolver.current(self.owner)
        self.assertEqual(len(reads), 0)
        clock.advance(1)
        await resolver.current(self.owner)
        self.assertEqual(len(reads), 1)

    async def test_changed_while_read(self) -> None:
        """A card that changed while it was read is not kept."""
        await self.add(User(Organization()))
        await self.follower.read()
        await self.follower.read()
        reading = Deferred.fromCoroutine(self.resolver.current(self.owner))
        self.follower.tell(frozenset({self.owner}))
        await reading
        self.assertEqual(len(self.resolver.cache), 0)

    async def test_at_once(self) -> None:
        """Many at once get the same."""
        user = User(Organization())
        await self.add(user)
        found = await gatherResults(
            [Deferred.fromCoroutine(self.resolver.current(self.owner)) for _ in range(20)]
        )
        self.assertEqual({entry.text for entry in found if entry is not None}, {user.current.text})
