"""How long the organization's old private keys are kept (spec 03, *The server's duties*)."""

from datetime import UTC, datetime, timedelta
from typing import Any, cast

from attrs import define, evolve
from twisted.internet.task import Clock
from twisted.logger import capturedLogs

from mensagod.crypto.sealing import EncryptionPair, SecretKey
from mensagod.crypto.signing import SigningPair
from mensagod.organization.keyring import protect
from mensagod.organization.retention import LOOK_SECONDS, KeyRetention
from mensagod.storage import keys
from mensagod.storage.clocks import CONFIRM_SECONDS, ClockAgreement
from mensagod.storage.database import Database
from mensagod.storage.keys import Finding
from mensagod.storage.rows import Transaction
from tests.databases import DatabaseTestCase

YEARS = timedelta(days=3652)


def rotate(txn: Transaction, machine: datetime) -> None:
    """Replace the keys, as a machine does with that time."""
    keys.retire_current(txn, machine)
    for pair in (SigningPair.generate(), EncryptionPair.generate()):
        keys.add_key(txn, protect(pair, SecretKey.generate()))


@define
class LaterDatabase:
    """A database whose clock goes as the test lets time pass.

    :ivar ahead: how far it was set forward besides.
    """

    database: Database
    clock: Clock
    ahead: timedelta = timedelta()

    async def read(self, *arguments: Any) -> Finding:
        found: Finding = await self.database.read(*arguments)
        return evolve(found, now=found.now + timedelta(seconds=self.clock.seconds()) + self.ahead)

    async def run(self, *arguments: Any) -> Any:
        return await self.database.run(*arguments)


class KeyRetentionTests(DatabaseTestCase):
    """An organization that has rotated its keys once, some days ago."""

    async def prepare(self) -> None:
        self.clock = Clock()
        self.later = LaterDatabase(self.database, self.clock)
        clocks = ClockAgreement(self.clock.seconds, self.machine)
        self.retention = KeyRetention(self.clock, cast(Database, self.later), clocks)
        for _ in range(2):
            await self.database.run(rotate, self.machine())
        await self.change("UPDATE organization_keys SET created = now() - interval '90 days'")

    def machine(self) -> datetime:
        return datetime.now(UTC) + timedelta(seconds=self.clock.seconds())

    async def change(self, sql: str, *parameters: object) -> None:
        await self.database.run(lambda txn: txn.execute(sql, parameters))

    async def date(self, column: str, ahead: timedelta) -> None:
        """Set a time of the retired keys to so long ahead."""
        await self.change(
            f"UPDATE organization_keys SET {column} = now() + %s WHERE status = 'previous'", ahead
        )

    async def left(self, seconds: float = 0.0) -> int:
        """Let time pass, and look for old keys; give the number of private keys that there are then."""
        self.clock.advance(seconds)
        await self.retention.look()
        return len(await self.database.read(keys.live_keys))

    async def ages(self) -> list[int]:
        """Give for how many days the retired encryption keys have been so."""
        states = await self.database.read(keys.list_states)
        return [
            round((datetime.now(UTC) - state.retired) / timedelta(days=1))
            for state in states
            if state.retired and state.purpose == "encryption"
        ]

    async def test_erased(self) -> None:
        """A key is erased after 30 days, ten minutes after that was found out for the first time."""
        await self.date("retired", timedelta(days=-30, minutes=1))
        self.assertEqual([await self.left(), await self.left(CONFIRM_SECONDS)], [3, 3])
        await self.date("retired", timedelta(days=-30))
        self.assertEqual([await self.left(), await self.left(CONFIRM_SECONDS - 1)], [3, 3])
        with capturedLogs() as events:
            self.assertEqual(await self.left(1), 2)
        self.assertEqual([event["count"] for event in events if event.get("event") == "keys_erased"], [1])

    async def test_wrong_clock(self) -> None:
        """While the database's clock is wrong nothing is erased, and what was due before does not count."""
        await self.date("retired", timedelta(days=-31))
        await self.left()
        for ahead in (YEARS, -YEARS):
            self.later.ahead = ahead
            self.assertEqual([await self.left(CONFIRM_SECONDS) for _ in range(3)], [3] * 3)
        self.later.ahead = timedelta()
        self.assertEqual([await self.left(), await self.left(CONFIRM_SECONDS)], [3, 2])

    async def test_right_clock_again(self) -> None:
        """A key that was called due only by a wrong clock stays."""
        await self.date("retired", timedelta(days=-31))
        await self.left()
        await self.date("retired", timedelta(days=-1))
        self.assertEqual(await self.left(CONFIRM_SECONDS), 3)

    async def test_retired_ahead(self) -> None:
        """A key that was retired ten years ahead counts as retired now, once that is confirmed."""
        await self.date("retired", YEARS)
        await self.left()
        self.assertEqual(await self.ages(), [-3652])
        self.assertEqual(await self.left(CONFIRM_SECONDS), 3)
        self.assertEqual(await self.ages(), [0])

    async def test_retired_before_it_was_made(self) -> None:
        """So does one that was retired before it was made, whichever of both times is wrong."""
        for column, ahead in (("retired", -YEARS), ("created", YEARS)):
            await self.date("retired", timedelta(days=-31))
            await self.date("created", timedelta(days=-90))
            await self.date(column, ahead)
            self.assertEqual([await self.left(), await self.left(CONFIRM_SECONDS)], [3, 3])
            self.assertEqual(await self.ages(), [0])
        await self.date("retired", timedelta(days=-31))
        await self.date("created", timedelta(days=-90))
        self.assertEqual([await self.left(), await self.left(CONFIRM_SECONDS)], [3, 2])

    async def test_rotated_while_the_database_is_behind(self) -> None:
        """The machine's time counts for a rotation if it is the later one."""
        await self.database.run(rotate, datetime.now(UTC) + timedelta(days=4))
        self.assertEqual(sorted(await self.ages()), [-4, 0])
        await self.database.run(rotate, datetime.now(UTC) - YEARS)
        self.assertEqual(sorted(await self.ages()), [-4, 0, 0])

    async def test_erased_meanwhile(self) -> None:
        """What is erased is asked of the database once more: nothing if the key's date was changed."""
        await self.date("retired", timedelta(days=-31))
        found = await self.database.read(keys.find_over, 30)
        await self.date("retired", timedelta(days=-29))
        await self.database.run(keys.erase, [key.public for key in found.keys], 30)
        self.assertEqual((len(found.keys), len(await self.database.read(keys.live_keys))), (1, 3))

    async def test_found_twice(self) -> None:
        """Looking is frequent enough to find a key twice in the time that confirms it."""
        self.assertLessEqual(2 * LOOK_SECONDS, CONFIRM_SECONDS)
