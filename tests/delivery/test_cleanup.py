"""Contents that nothing needs, in a real database and a store on the disk (spec 06, *Files*)."""

from datetime import UTC, date, datetime, timedelta
from uuid import uuid4

from twisted.internet.task import Clock

from mensagod.contents.keys import ContentKey
from mensagod.delivery import cleanup
from mensagod.delivery.cleanup import CLEAN_SECONDS, SWEEP_AFTER, SWEEP_DAYS, Cleanup
from mensagod.storage import clocks, contents
from mensagod.storage.clocks import ClockAgreement
from mensagod.storage.contents import WRITING_SECONDS, Content, Owned
from tests.delivery.fakes import InlineThreads
from tests.delivery.placed import PlacedTestCase

HOUR = 3600


class CleanupTestCase(PlacedTestCase):
    """A service that runs only when the test says so."""

    async def prepare(self) -> None:
        await super().prepare()
        self.config = self.base_config()
        self.hours = self.config.performance.garbage_hours
        self.clock = Clock()
        # Otherwise what is old has to be found so ten minutes later, too.
        self.patch(clocks, "CONFIRM_SECONDS", 0)
        self.cleanup = Cleanup(
            reactor=self.clock,
            config=lambda: self.config,
            database=self.database,
            store=self.store,
            threads=InlineThreads(),
            clocks=ClockAgreement(),
        )
        self.cleanup.running = True

    async def clean_twice(self) -> None:
        """Find out what is old, and erase it."""
        await self.cleanup.clean()
        await self.cleanup.clean()

    async def throw_away(self, content: Content) -> None:
        assert content.key is not None
        await self.database.run(contents.discard_writings, [Owned(self.alice.workspace, content.key)])

    async def age(self, hours: float) -> None:
        """Let garbage and writings be so many hours older."""
        past = timedelta(hours=hours)
        await self.change("UPDATE garbage SET since = since - %s", past)
        await self.change("UPDATE writings SET until = until - %s", past)

    def leave(self, day: date) -> ContentKey:
        """Put a content into the store that no row knows."""
        key = ContentKey(day, uuid4())
        writer = self.store.write(key)
        writer.write(b"hello")
        writer.finish()
        return key


class CleanTests(CleanupTestCase):
    """Garbage, and contents whose writers died."""

    async def test_erased(self) -> None:
        """Garbage is erased after its hours, and not before."""
        content = await self.stored(b"long")
        await self.throw_away(content)
        await self.age(self.hours - 1)
        await self.clean_twice()
        self.assertEqual(self.on_disk(), [str(content.id)])
        await self.age(2)
        await self.cleanup.clean()
        self.assertEqual(self.on_disk(), [str(content.id)])
        await self.cleanup.clean()
        self.assertEqual(self.on_disk(), [])
        self.assertEqual(await self.value("SELECT count(*) FROM garbage"), 0)

    async def test_wrong_clock(self) -> None:
        """Nothing is erased because a clock says so once: ten minutes later it must be old, too."""
        self.patch(clocks, "CONFIRM_SECONDS", 600)
        content = await self.stored(b"long")
        await self.throw_away(content)
        await self.age(2 * self.hours)
        await self.clean_twice()
        self.assertEqual(self.on_disk(), [str(content.id)])

    async def test_misdated(self) -> None:
        """What became garbage under a wrong clock is kept for as long as other garbage."""
        content = await self.stored(b"long")
        await self.throw_away(content)
        for ahead in (10, -10):
            await self.age(ahead * 365 * 24)
            await self.clean_twice()
            self.assertEqual(self.on_disk(), [str(content.id)])
        await self.age(self.hours + 1)
        await self.clean_twice()
        self.assertEqual(self.on_disk(), [])

    async def test_dead_writer(self) -> None:
        """A content that was never accepted becomes garbage when its writer has had its time."""
        content = await self.stored(b"long")
        await self.cleanup.clean()
        self.assertEqual(await self.value("SELECT count(*) FROM garbage"), 0)
        await self.age(WRITING_SECONDS / HOUR)
        await self.cleanup.clean()
        self.assertEqual(await self.value("SELECT key FROM garbage"), content.id)
        self.assertEqual(self.on_disk(), [str(content.id)])
        await self.assert_consistent()

    async def test_writer_of_another_clock(self) -> None:
        """A writer whose time lies further ahead than it can counts as dead, too."""
        await self.stored(b"long")
        await self.age(-10 * 365 * 24)
        await self.cleanup.clean()
        self.assertEqual(await self.value("SELECT count(*) FROM garbage"), 1)

    async def test_many(self) -> None:
        """However many there are, all are dealt with, some at a time."""
        self.patch(cleanup, "MOST", 2)
        for number in range(5):
            await self.stored(bytes(number + 1))
        await self.age(1)
        await self.cleanup.clean()
        await self.age(self.hours)
        await self.clean_twice()
        self.assertEqual(self.on_disk(), [])
        await self.assert_consistent()

    async def test_gone_already(self) -> None:
        """Garbage that a crash has kept in its table after it was erased is forgotten."""
        content = await self.stored(b"long")
        await self.throw_away(content)
        assert content.key is not None
        self.store.remove(content.key)
        await self.age(self.hours)
        await self.clean_twice()
        self.assertEqual(await self.value("SELECT count(*) FROM garbage"), 0)

    async def test_needed(self) -> None:
        """What files and messages have is never touched."""
        await self.accept(
            self.submission(self.bob, content=await self.stored(b"file")),
            self.submission(None, content=await self.stored(b"message")),
        )
        await self.age(10 * self.hours)
        await self.clean_twice()
        self.assertEqual(len(self.on_disk()), 2)
        await self.assert_consistent()

    async def test_by_itself(self) -> None:
        """A service that runs looks once a minute."""
        self.cleanup.running = False
        self.cleanup.startService()
        self.addCleanup(self.cleanup.stopService)
        await self.throw_away(await self.stored(b"long"))
        await self.age(self.hours)
        while self.on_disk():
            self.clock.advance(CLEAN_SECONDS)
            await self.value("SELECT 1")
        await self.until("SELECT count(*) = 0 FROM garbage")


class SweepTests(CleanupTestCase):
    """Contents that no row knows."""

    def day(self, age: timedelta) -> date:
        return (datetime.now(UTC) - age).date()

    async def test_set_aside(self) -> None:
        """They are named in the log and become garbage, but for young ones and those of long ago."""
        lines = self.captured_log()
        keys = [self.leave(self.day(SWEEP_AFTER)) for _ in range(3)]
        self.leave(self.day(SWEEP_AFTER - timedelta(days=1)))
        self.leave(self.day(SWEEP_AFTER + timedelta(days=SWEEP_DAYS + 1)))
        self.patch(cleanup, "MOST", 2)
        await self.cleanup.sweep()
        rows = await self.rows("SELECT key FROM garbage")
        self.assertEqual({row.key for row in rows}, {key.id for key in keys})
        self.assertEqual(len([line for line in lines if "belongs to nothing" in line]), 3)
        self.assertEqual(len(self.on_disk()), 5)

    async def test_known(self) -> None:
        """What a row knows, whichever, stays what it is."""
        writing, garbage = await self.stored(b"writing"), await self.stored(b"garbage")
        await self.throw_away(garbage)
        await self.accept(
            self.submission(self.bob, content=await self.stored(b"file")),
            self.submission(None, content=await self.stored(b"message")),
        )
        self.patch(cleanup, "SWEEP_AFTER", timedelta())
        await self.cleanup.sweep()
        self.assertEqual(await self.value("SELECT key FROM garbage"), garbage.id)
        self.assertEqual(await self.value("SELECT key FROM writings"), writing.id)

    async def test_ends_with_the_service(self) -> None:
        """A service that stops looks no further."""
        self.leave(self.day(SWEEP_AFTER))
        self.cleanup.running = False
        await self.cleanup.sweep()
        self.assertEqual(await self.value("SELECT count(*) FROM garbage"), 0)
