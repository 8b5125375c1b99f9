"""Stored times that were written under a clock ten years ahead or behind (spec 06, *Clocks lie*).

``docs/reference/times.rst`` says of each stored time what happens then. Those of keys are tested in
``tests/organization/test_retention.py``.
"""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

from mensagod.storage import (
    buckets,
    contents,
    events,
    failures,
    keycards,
    lookups,
    preregistrations,
    processes,
    queue,
    sends,
    submissions,
    workspaces,
)
from mensagod.storage.contents import Owned
from mensagod.storage.events import CardChange
from mensagod.storage.failures import Limit
from mensagod.storage.lookups import Allowance
from mensagod.storage.queue import BUCKETS
from mensagod.storage.rows import Transaction, many
from mensagod.storage.submissions import NewSubmission, Submitted
from mensagod.values.identity import DeviceID, Domain, WorkspaceID
from mensagod.values.paths import FileName
from tests.databases import DatabaseTestCase

YEARS = timedelta(days=3652)
SOURCE = "192.0.2.1"
DOMAIN = Domain.from_text("example.com")
MISSES = Limit("lookup", 3, timedelta(minutes=5), timedelta(minutes=30))
ALICE = WorkspaceID(UUID(int=1))
DEVICE = DeviceID(UUID(int=2))
OURS, OTHER = UUID(int=3), UUID(int=4)
PAGE = Path(__file__).parents[2] / "docs" / "reference" / "times.rst"


class WrongTimesTests(DatabaseTestCase):
    """Whatever happened is written under the right clock, and moved then."""

    async def prepare(self) -> None:
        await self.execute(
            "INSERT INTO workspaces (id, domain, status, password_hash)"
            " VALUES (%s, 'example.com', 'active', 'x')",
            ALICE.uuid,
        )
        await self.execute(
            "INSERT INTO devices (workspace, id, key, status) VALUES (%s, %s, 'x', 'registered')",
            *(ALICE.uuid, DEVICE.uuid),
        )

    async def execute(self, sql: str, *parameters: object) -> None:
        await self.database.run(lambda txn: txn.execute(sql, parameters))

    async def move(self, table: str, column: str, ahead: timedelta) -> None:
        """Have the times of a column be as far ahead as the clock was when they were written."""
        await self.execute(f"UPDATE {table} SET {column} = {column} + %s", ahead)

    async def move_all(self, table: str, ahead: timedelta) -> None:
        """Do that with an array of times."""
        await self.execute(
            f"UPDATE {table} SET times = ARRAY(SELECT time + %s"
            " FROM unnest(times) WITH ORDINALITY AS slot (time, number) ORDER BY number)",
            ahead,
        )

    async def count(self, table: str) -> int:
        def count(txn: Transaction) -> int:
            txn.execute(f"SELECT count(*) AS total FROM {table}")
            return int(many(lambda row: row.total, txn)[0])

        return await self.database.read(count)

    async def miss(self, times: int) -> list[bool]:
        """Count failures; tell of each whether it locked out."""
        return [
            await self.database.write(failures.note_failure, MISSES, SOURCE) is not None for _ in range(times)
        ]

    async def test_lockout(self) -> None:
        """A lockout is over, and the next one needs as many failures as the first."""
        for ahead in (YEARS, -YEARS):
            self.assertEqual(await self.miss(3), [False, False, True])
            await self.move("failures", "locked_until", ahead)
            self.assertIsNone(await self.database.read(failures.find_lock, MISSES, SOURCE))
            self.assertIsNone(await self.database.write(failures.restart_lock, MISSES, SOURCE))
            self.assertEqual(await self.miss(3), [False, False, True])
            await self.database.write(failures.clear, MISSES, SOURCE)

    async def test_failures(self) -> None:
        """Failures do not count any more."""
        for ahead in (YEARS, -YEARS):
            await self.miss(2)
            await self.move_all("failures", ahead)
            self.assertEqual(await self.miss(3), [False, False, True])
            await self.database.write(failures.clear, MISSES, SOURCE)

    async def test_expired_failures(self) -> None:
        """Rows are removed."""
        for ahead in (YEARS, -YEARS):
            await self.miss(1)
            await self.move("failures", "expires", ahead)
            await self.database.run(failures.forget_expired)
            self.assertEqual(await self.count("failures"), 0)

    async def test_lookups(self) -> None:
        """A minute of lookups is over, and its row removed."""
        allowance = Allowance(4, 4, MISSES)
        for ahead in (YEARS, -YEARS):
            taken = [await self.database.write(lookups.take_share, SOURCE, allowance) for _ in range(5)]
            self.assertEqual((sum(share.lookups for share in taken), taken[-1].lookups), (4, 0))
            await self.move("lookups", "since", ahead)
            share = await self.database.write(lookups.take_share, SOURCE, allowance)
            self.assertEqual((share.lookups, share.seconds > 59), (1, True))
            await self.move("lookups", "since", ahead)
            await self.database.run(lookups.forget_old)
            self.assertEqual(await self.count("lookups"), 0)

    async def test_sends(self) -> None:
        """Messages that a device handed in do not count any more."""

        async def send() -> None:
            await self.database.run(sends.note_send, (ALICE, DEVICE), 2)

        for ahead in (YEARS, -YEARS):
            await send()
            await send()
            with self.assertRaises(sends.TooManyMessages):
                await send()
            await self.move_all("device_sends", ahead)
            await send()
            await send()
            with self.assertRaises(sends.TooManyMessages):
                await send()
            await self.move_all("device_sends", ahead)

    async def test_processes(self) -> None:
        """A process that shows no life is dead; one that lives has a minute to say so, as after a silence."""

        async def beat(process: UUID) -> None:
            await self.database.run(processes.enroll, process, "a name")

        for ahead in (YEARS, -YEARS):
            await beat(OURS)
            await beat(OTHER)
            await self.move("processes", "seen", ahead)
            await beat(OURS)
            self.assertEqual(await self.count("processes"), 2)
            await beat(OTHER)
            await beat(OURS)
            self.assertEqual(await self.count("processes"), 2)
            await self.move("processes", "seen", ahead)
            await beat(OURS)
            await beat(OURS)
            self.assertEqual(await self.count("processes"), 1)

    async def test_events(self) -> None:
        """An event is removed; who has not read it finds that it is missing."""
        for last, ahead in enumerate((YEARS, -YEARS)):
            await self.database.run(events.add, CardChange(ALICE))
            await self.move("events", "at", ahead)
            await self.database.run(events.forget_old)
            found = await self.database.read(events.read_after, last)
            self.assertEqual((found.events, found.last - last), ((), 1))

    async def test_submissions(self) -> None:
        """A message that was handed in is forgotten: it can be sent again."""
        message = Submitted(ALICE, DOMAIN, b"x" * 32)

        async def submit() -> FileName | None:
            new = NewSubmission(message, FileName.make(1795862880, 5), 5, None)
            prospects = await self.database.run(submissions.add, [new])
            return prospects[message].known

        for ahead in (YEARS, -YEARS):
            self.assertIsNone(await submit())
            self.assertIsNotNone(await submit())
            await self.move("submissions", "at", ahead)
            self.assertIsNone(await submit())
            await self.move("submissions", "at", ahead)
            await self.database.run(submissions.forget_old)
            self.assertEqual(await self.count("submissions"), 0)

    async def test_queue(self) -> None:
        """A message that would be tried only in years is due; one that is scheduled keeps its time."""
        columns = (
            "(bucket, id, destination, sender, device, sender_domain, domain, name, time, size, content,"
            " data, due, send_time, accepted)"
        )
        for send_time in ("NULL", "now() + interval '10 years'"):
            await self.execute(
                f"INSERT INTO queue {columns} SELECT 0, gen_random_uuid(), 'example.org', %s, %s,"
                " 'example.com', 'example.org', '1.0.' || gen_random_uuid(), 1, 0, gen_random_uuid(), '',"
                f" now() + interval '10 years', {send_time}, now() + interval '10 years'",
                *(ALICE.uuid, DEVICE.uuid),
            )
        self.assertEqual(await self.database.write(queue.hasten), 1)
        (due,) = await self.database.read(queue.list_due, [0], 9)
        self.assertLess(due.accepted, datetime.now(UTC) + timedelta(minutes=1))
        self.assertEqual(await self.count("queue"), 2)

    async def test_workers_of_the_queue(self) -> None:
        """A process whose row lies ahead, or behind, has no buckets any more."""
        for ahead in (YEARS, -YEARS):
            await self.database.run(buckets.take_share, OTHER)
            await self.move("queue_workers", "until", ahead)
            share = await self.database.run(buckets.take_share, OURS)
            self.assertEqual((len(share.buckets), share.workers), (BUCKETS, 1))
            await self.database.run(buckets.give_back, OURS)

    async def test_writings(self) -> None:
        """A content that is being written counts as given up."""
        for ahead in (YEARS, -YEARS):
            await self.database.run(contents.begin_writing, ALICE)
            self.assertEqual(await self.database.read(contents.list_dead_writings, 9), [])
            await self.move("writings", "until", ahead)
            dead = await self.database.read(contents.list_dead_writings, 9)
            self.assertEqual(len(dead), 1)
            await self.database.run(contents.discard_writings, dead)
        self.assertEqual(await self.count("garbage"), 2)

    async def test_garbage(self) -> None:
        """A content that became garbage under a wrong clock is kept for as long as one of now."""
        for ahead in (YEARS, -YEARS):
            key = await self.database.run(contents.begin_writing, ALICE)
            await self.database.run(contents.discard_writings, [Owned(ALICE, key)])
            self.assertEqual(await self.database.write(contents.date_garbage_anew), 0)
            await self.move("garbage", "since", ahead)
            self.assertEqual(await self.database.write(contents.date_garbage_anew), 1)
            old = await self.database.read(contents.find_old_garbage, 1)
            self.assertEqual(old.hours, ())
            await self.database.run(contents.forget_garbage, [Owned(ALICE, key)])

    async def test_entries(self) -> None:
        """Entries that were added to a card do not count against its limit."""
        await self.execute(
            "INSERT INTO keycard_entries (owner, workspace, number, text, hash, signed, expires)"
            " SELECT id, id, number, 'x', 'x', now(), now() FROM workspaces, generate_series(1, 3) AS number"
        )

        async def grown() -> bool:
            return await self.database.read(keycards.has_grown, ALICE, 3, timedelta(hours=1))

        for ahead in (YEARS, -YEARS):
            self.assertTrue(await grown())
            await self.move("keycard_entries", "created", ahead)
            self.assertFalse(await grown())
            await self.move("keycard_entries", "created", -ahead)

    async def test_preregistrations(self) -> None:
        """A registration code holds, whenever it was made."""
        await self.database.run(workspaces.add_preregistered, WorkspaceID(OURS), DOMAIN)
        await self.execute("INSERT INTO preregistrations (workspace, code_hash) VALUES (%s, 'x')", OURS)
        for ahead in (YEARS, -2 * YEARS):
            await self.move("preregistrations", "created", ahead)
            self.assertIsNotNone(
                await self.database.read(preregistrations.find_by_workspace, WorkspaceID(OURS), DOMAIN)
            )


class PageTests(DatabaseTestCase):
    async def test_complete(self) -> None:
        """The page about stored times names each of the schema, and no other."""

        def columns(txn: Transaction) -> list[str]:
            txn.execute(
                "SELECT table_name || '.' || column_name AS name FROM information_schema.columns"
                " WHERE table_schema = 'public' AND udt_name IN ('timestamptz', '_timestamptz')"
            )
            return many(lambda row: str(row.name), txn)

        named = re.findall(r"^   \* - ``(\w+\.\w+)``$", PAGE.read_text(), re.MULTILINE)
        self.assertEqual(sorted(named), sorted(await self.database.read(columns)))
