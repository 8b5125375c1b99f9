"""Shares of what a source may look up (spec 04, GETWID)."""

from datetime import timedelta

from twisted.internet.defer import gatherResults

from mensagod.storage import lookups
from mensagod.storage.failures import Limit
from mensagod.storage.lookups import Allowance, Share
from mensagod.storage.rows import Transaction
from tests.databases import DatabaseTestCase

ALLOWANCE = Allowance(100, 10, Limit("lookup", 50, timedelta(minutes=5), timedelta(minutes=30)))
SOURCE = "192.0.2.1"


class SharesTests(DatabaseTestCase):
    """Shares are taken once, and never more than there is."""

    async def take(self, allowance: Allowance = ALLOWANCE, source: str = SOURCE) -> Share:
        return await self.database.write(lookups.take_share, source, allowance)

    async def take_all(self) -> list[int]:
        """Take shares until there is nothing left."""
        shares = [await self.take()]
        while shares[-1].lookups:
            shares.append(await self.take())
        return [share.lookups for share in shares]

    async def move(self, seconds: int) -> None:
        """Have the window begin later by so many seconds."""
        await self.database.write(
            lambda txn: txn.execute("UPDATE lookups SET since = since + %s * interval '1 second'", (seconds,))
        )

    async def count(self) -> int:
        def rows(txn: Transaction) -> int:
            txn.execute("SELECT count(*) AS total FROM lookups")
            row = txn.fetchone()
            return -1 if row is None else int(row.total)

        return await self.database.read(rows)

    async def test_shares(self) -> None:
        """Together they are the limit; the last are of one, so that little lies idle elsewhere."""
        taken = await self.take_all()
        self.assertEqual((sum(taken), taken[:7], taken[-5:]), (100, [10] * 7, [1, 1, 1, 1, 0]))
        self.assertEqual((await self.take()).lookups, 0)
        self.assertEqual((await self.take(source="192.0.2.2")).lookups, 10)

    async def test_at_once(self) -> None:
        """However many processes take at the same time, they get no more."""
        shares = await gatherResults(
            [self.database.write(lookups.take_share, SOURCE, ALLOWANCE) for _ in range(40)]
        )
        self.assertEqual(sum(share.lookups for share in shares), 100)

    async def test_small_limits(self) -> None:
        """A limit below the usual share is kept, too."""
        for most in (1, 2, 5, 11):
            source = f"192.0.2.{most}"
            allowance = Allowance(most, 10, ALLOWANCE.misses)
            taken = [(await self.take(allowance, source)).lookups for _ in range(12)]
            self.assertEqual(sum(taken), most)

    async def test_window(self) -> None:
        """A window lasts a minute from its first lookup; then the next begins."""
        self.assertTrue(59 < (await self.take()).seconds <= 60)
        await self.take_all()
        await self.move(-50)
        share = await self.take()
        self.assertEqual((share.lookups, share.seconds <= 10), (0, True))
        await self.move(-10)
        share = await self.take()
        self.assertEqual((share.lookups, share.seconds > 59), (10, True))

    async def test_smaller_limit(self) -> None:
        """Who has taken more than a new limit allows gets nothing."""
        await self.take_all()
        self.assertEqual((await self.take(Allowance(50, 10, ALLOWANCE.misses))).lookups, 0)

    async def test_clock_set_back(self) -> None:
        """A window that begins more than a minute from now is over; one that begins sooner goes on."""
        await self.take_all()
        await self.move(30)
        self.assertEqual((await self.take()).lookups, 0)
        await self.move(60)
        self.assertEqual((await self.take()).lookups, 10)

    async def test_forgotten(self) -> None:
        """Windows that are over are removed, and those of a wrong clock."""
        for seconds, left in ((0, 1), (59, 1), (62, 0), (-59, 1), (-61, 0)):
            await self.database.write(lambda txn: txn.execute("DELETE FROM lookups"))
            await self.take()
            await self.move(seconds)
            await self.database.run(lookups.forget_old)
            self.assertEqual(await self.count(), left, seconds)
