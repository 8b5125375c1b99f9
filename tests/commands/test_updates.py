"""GETUPDATES and what sessions are told of others' changes (spec 04, *Update notification*)."""

from typing import Any
from uuid import uuid4

from twisted.internet.defer import ensureDeferred

from mensagod.client.control import idle
from mensagod.client.updates import get_updates
from mensagod.status import Status
from mensagod.storage import files, logins, updates
from mensagod.storage.contents import Content
from mensagod.storage.files import Arrival
from mensagod.storage.rows import Transaction
from mensagod.values.identity import SERVER_DEVICE, DeviceID, RandomID
from mensagod.values.paths import FileName
from tests.commands.cases import CommandTestCase
from tests.serving import Person


def note(txn: Transaction, person: Person, device: DeviceID, count: int = 1) -> list[str]:
    """Make files, and so records; give their data in the order of their numbers."""
    arrivals = [Arrival(person.workspace, FileName.make(1000, 1), Content.in_row(b"x")) for _ in range(count)]
    assert files.place(txn, arrivals, device, wait=True)
    return [str(arrival.path) for arrival in arrivals]


class UpdatesTestCase(CommandTestCase):
    """Somebody with a mailbox, logged in."""

    async def prepare(self) -> None:
        await super().prepare()
        self.alice = await self.settle("alice")
        self.client_ = await self.enter(self.alice)

    async def note(self, device: DeviceID = SERVER_DEVICE, count: int = 1) -> list[str]:
        """Make records and wake the sessions, as a delivery does; give their data."""
        made = await self.database.run(note, self.alice, device, count)
        self.service.assembly.sessions.wake(self.alice.workspace)
        return made

    async def at(self, times: dict[int, str]) -> None:
        """Move records in time."""
        for number, time in times.items():
            await self.change("UPDATE updates SET time = %s WHERE number = %s", time, number)


class GetUpdatesTests(UpdatesTestCase):
    """Asking for records."""

    async def test_login(self) -> None:
        """A login is needed, which is asked for first."""
        await self.assert_answer(
            await self.client(), "GETUPDATES", {"Time": "x"}, Status.UNAUTHORIZED, "Login required"
        )

    async def test_fields(self) -> None:
        """Time and Since are checked in their turn."""
        await self.assert_fields(
            self.client_,
            "GETUPDATES",
            {"Time": "0"},
            {"Time": ("-1", "x", "1.5", str(2**63), "2024-01-01T00:00:00Z")},
            {"Since": ("x", "0", str(uuid4())[:-1])},
        )

    async def test_records(self) -> None:
        """Records come in the order in which they happened, each with its five parts."""
        await self.note(self.alice.device)
        await self.note(count=2)
        answer = await self.assert_answer(self.client_, "GETUPDATES", {"Time": "0"}, Status.OK)
        self.assertEqual(set(answer.data), {"UpdateCount", "Update0", "Update1", "Update2", "Remaining"})
        rows = await self.rows(
            "SELECT id, data, floor(extract(epoch FROM time))::bigint, device FROM updates ORDER BY number"
        )
        expected = [f"{id_},CREATE,{data},{time},{device}" for id_, data, time, device in rows]
        self.assertEqual([answer.data[f"Update{number}"] for number in range(3)], expected)
        self.assertEqual((answer.data["UpdateCount"], answer.data["Remaining"]), ("3", "0"))

    async def test_time(self) -> None:
        """Records of that very second are among them, those of the second before are not."""
        made = await self.note(count=3)
        seconds = "2030-01-01 00:00:0"
        await self.at({1: f"{seconds}0.999999Z", 2: f"{seconds}1Z", 3: f"{seconds}1.999999Z"})
        second = 1893456001
        for time, numbers in ((second - 1, [0, 1, 2]), (second, [1, 2]), (second + 1, [])):
            found = await get_updates(self.client_, time)
            self.assertEqual([made.index(record.data) for record in found.records], numbers)
            self.assertEqual(await idle(self.client_, time), len(numbers))
        found = await get_updates(self.client_, 2**31 - 1)
        self.assertEqual((found.records, found.remaining), ([], 0))

    async def test_since(self) -> None:
        """After a record come all that are later, whatever the time says; after the last come none."""
        await self.note(count=3)
        first, second, third = (await get_updates(self.client_, 0)).records
        await self.at({2: "2001-01-01Z", 3: "2001-01-01Z"})
        found = await get_updates(self.client_, 2**31, RandomID(first.id.uuid))
        self.assertEqual([record.id for record in found.records], [second.id, third.id])
        self.assertEqual((await get_updates(self.client_, 0, third.id)).records, [])

    async def test_unknown_since(self) -> None:
        """A record that is unknown, purged or another workspace's has the client start over."""
        await self.note()
        bob = await self.settle("bob")
        await self.database.run(note, bob, SERVER_DEVICE)
        theirs = await self.value("SELECT id FROM updates WHERE workspace = %s", bob.workspace.uuid)
        for since in (uuid4(), theirs):
            fields = {"Time": "0", "Since": since}
            answer = await self.assert_answer(self.client_, "GETUPDATES", fields, Status.NOT_FOUND)
            self.assertNotIn("UpdateCount", answer.data)
        # What it was not told it is told now.
        answer = await self.assert_answer(self.client_, "IDLE", {}, Status.OK)
        self.assertEqual(answer.data, {"UpdateCount": "1"})

    async def test_many(self) -> None:
        """At most 1000 come at once, with the number of the rest; nothing is missed on the way."""
        made = await self.note(count=2300)
        seen: list[str] = []
        found = await get_updates(self.client_, 0)
        while True:
            seen += [record.data for record in found.records]
            if not found.remaining:
                break
            self.assertEqual(len(found.records), 1000)
            found = await get_updates(self.client_, 0, found.records[-1].id)
        self.assertEqual(seen, made)
        self.assertEqual(await idle(self.client_, 0), 2300)


class PushTests(UpdatesTestCase):
    """Being told without asking."""

    async def pushed(self) -> str | None:
        answer = await self.assert_answer(self.client_, "LIST", {}, Status.OK)
        return answer.data.get("UpdateCount")

    async def test_once(self) -> None:
        """The next 200 tells how many records others made, once."""
        self.assertIsNone(await self.pushed())
        await self.note(count=3)
        self.assertEqual(await self.pushed(), "3")
        self.assertIsNone(await self.pushed())
        await self.note()
        self.assertEqual(await self.pushed(), "1")

    async def test_own_changes_are_no_news(self) -> None:
        """What this device did itself is not counted."""
        await self.note(self.alice.device)
        self.assertIsNone(await self.pushed())
        await self.note(self.alice.device)
        await self.note(DeviceID.random())
        self.assertEqual(await self.pushed(), "1")

    async def test_since_the_login(self) -> None:
        """What was there at the login is no news."""
        await self.note()
        client = await self.enter(self.alice)
        await self.note()
        answer = await self.assert_answer(client, "IDLE", {}, Status.OK)
        self.assertEqual(answer.data, {"UpdateCount": "1"})

    async def test_while_the_login_is_answered(self) -> None:
        """What comes right after the login, before its session can be woken, is told with the next answer."""
        server = self.service.server
        run = server.database.run

        async def hold_up(interaction: Any, *args: Any, **kwargs: Any) -> Any:
            result = await run(interaction, *args, **kwargs)
            if interaction is logins.log_in:
                await self.note(count=2)
            return result

        self.patch(server.database, "run", lambda *args, **kwargs: ensureDeferred(hold_up(*args, **kwargs)))
        client = await self.enter(self.alice)
        answer = await self.assert_answer(client, "IDLE", {}, Status.OK)
        self.assertEqual(answer.data, {"UpdateCount": "2"})
        answer = await self.assert_answer(client, "IDLE", {}, Status.OK)
        self.assertEqual(answer.data, {})

    async def test_only_with_200(self) -> None:
        """A refusal, and a first step, carry no news; it comes with the next 200."""
        await self.note()
        missing = {"Path": f"/ wsp {self.alice.workspace} {uuid4()}"}
        answer = await self.assert_answer(self.client_, "SELECT", missing, Status.NOT_FOUND)
        self.assertEqual(answer.data, {})
        answer = await self.assert_answer(self.client_, "GETCARD", {"Start-Index": "1"}, Status.TRANSFER)
        self.assertNotIn("UpdateCount", answer.data)
        answer = await self.assert_answer(self.client_, "TRANSFER", {}, Status.OK)
        self.assertEqual(answer.data["UpdateCount"], "1")

    async def test_asked_for_is_told(self) -> None:
        """Who asked with GETUPDATES or IDLE has been told."""
        await self.note()
        await get_updates(self.client_, 0)
        self.assertIsNone(await self.pushed())
        await self.note()
        self.assertEqual(await idle(self.client_, 0), 2)
        self.assertIsNone(await self.pushed())
        # Even if the answer was that there is nothing for that time.
        await self.note()
        await get_updates(self.client_, 2**31)
        self.assertIsNone(await self.pushed())

    async def test_others_workspaces(self) -> None:
        """Nobody is told of others' mailboxes."""
        bob = await self.settle("bob")
        client = await self.enter(bob)
        await self.note()
        answer = await self.assert_answer(client, "IDLE", {}, Status.OK)
        self.assertEqual(answer.data, {})


class NumberingTests(UpdatesTestCase):
    """The order of records."""

    pool_max = 8

    async def test_concurrent_changes(self) -> None:
        """However many change one workspace at once: no number twice, none missing, no time going back."""
        work = [self.database.run(note, self.alice, SERVER_DEVICE, 3) for _ in range(40)]
        seen: list[str] = []
        since = None
        while len(seen) < 120:
            # Who follows with Since while they are made gets each once, in order.
            found = await get_updates(self.client_, 0, since)
            seen += [str(record.id) for record in found.records]
            since = found.records[-1].id if found.records else since
        for one in work:
            await one
        rows = await self.rows("SELECT number, id::text, time FROM updates ORDER BY number")
        self.assertEqual([row.number for row in rows], list(range(1, 121)))
        self.assertEqual([row.time for row in rows], sorted(row.time for row in rows))
        self.assertEqual([row.id for row in rows], seen)

    async def test_clock_set_back(self) -> None:
        """While the clock is behind the last record nothing is missed by who goes on from its time."""
        before = await self.note(count=2)
        await self.at({1: "2130-01-01Z", 2: "2130-01-01 00:00:01Z"})
        last = (await get_updates(self.client_, 0)).records[-1]
        after = await self.note(count=2)
        found = (await get_updates(self.client_, last.time)).records
        self.assertEqual([record.data for record in found], [before[1], *after])
        self.assertEqual({record.time for record in found}, {last.time})
        self.assertEqual(await idle(self.client_, last.time), 3)

    async def test_record_between_the_statements(self) -> None:
        """A record that is made while an empty answer is composed is not taken for one that was told."""
        found: list[updates.Updates] = []
        connection = self.connect()

        class Interrupted(Transaction):
            """A transaction in which, before its second statement, somebody else commits."""

            def execute(self, sql: str, parameters: object = None) -> None:
                if "to_timestamp" in sql:
                    with connection, connection.cursor() as cursor:
                        note(Transaction(cursor), alice, SERVER_DEVICE)
                super().execute(sql, parameters)  # type: ignore[arg-type]

        alice = self.alice
        other = self.connect()
        with other, other.cursor() as cursor:
            found.append(updates.list_since_time(Interrupted(cursor), alice.workspace, 2**31))
        self.assertEqual((found[0].records, found[0].last), ([], 0))
