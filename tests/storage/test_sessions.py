"""The rows of sessions: ended by others, lost and made again (spec 06, *Running many*)."""

from uuid import UUID, uuid4

from mensagod.crypto.sealing import EncryptionPair
from mensagod.storage import devices, events, processes, sessions
from mensagod.storage.devices import Presented
from mensagod.storage.events import Ending
from mensagod.storage.rows import Transaction
from mensagod.storage.sessions import PresentSession
from mensagod.values.identity import DeviceID, WorkspaceID
from tests.databases import DatabaseTestCase
from tests.storage.waiting import until_someone_waits

PROCESS = UUID(int=1)
ALICE, BOB = WorkspaceID(UUID(int=2)), WorkspaceID(UUID(int=3))
PHONE, LAPTOP = DeviceID(UUID(int=4)), DeviceID(UUID(int=5))


def settle(txn: Transaction, workspace: WorkspaceID) -> None:
    txn.execute(
        "INSERT INTO workspaces (id, domain, status, password_hash)"
        " VALUES (%s, 'example.com', 'active', 'x')",
        (workspace.uuid,),
    )
    for device in (PHONE, LAPTOP):
        key = EncryptionPair.generate().public
        devices.register(txn, workspace, Presented(device, key, None, "192.0.2.1"))


class SessionRowsTestCase(DatabaseTestCase):
    """Alice and Bob, each logged in with two devices."""

    async def prepare(self) -> None:
        for workspace in (ALICE, BOB):
            await self.database.run(settle, workspace)
        await self.database.run(processes.enroll, PROCESS, "a name")
        self.present = [
            PresentSession(uuid4(), workspace, device, f"192.0.2.{number}")
            for number, (workspace, device) in enumerate(
                [(ALICE, PHONE), (ALICE, LAPTOP), (BOB, PHONE), (BOB, LAPTOP)]
            )
        ]
        for session in self.present:
            await self.add(session)

    async def add(self, session: PresentSession) -> None:
        shown = Presented(session.device, EncryptionPair.generate().public, None, session.address)
        await self.database.run(sessions.add_session, session.id, PROCESS, session.workspace, shown)

    async def rows(self) -> set[PresentSession]:
        def read(txn: Transaction) -> set[PresentSession]:
            txn.execute("SELECT id, workspace, device, address FROM sessions WHERE process = %s", (PROCESS,))
            return {
                PresentSession(row.id, WorkspaceID(row.workspace), DeviceID(row.device), row.address)
                for row in txn.fetchall()
            }

        return await self.database.read(read)

    async def change(self, sql: str, *parameters: object) -> None:
        await self.database.run(lambda txn: txn.execute(sql, parameters))


class EndTests(SessionRowsTestCase):
    async def end(self, device: DeviceID | None = None, spare: UUID | None = None) -> Ending:
        """End sessions of Alice's; give what the log has of it."""
        await self.database.run(sessions.end_sessions, ALICE, device=device, spare=spare, reason="why")
        found = await self.database.read(events.read_after, 0)
        ending = found.events[-1].subject
        assert isinstance(ending, Ending)
        return ending

    async def test_all(self) -> None:
        """All sessions of a workspace end, and of no other."""
        self.assertEqual(await self.end(), Ending(ALICE, None, None, "why"))
        self.assertEqual(await self.rows(), set(self.present[2:]))

    async def test_device(self) -> None:
        """Those of one device, which may have the same ID in another workspace."""
        self.assertEqual(await self.end(PHONE), Ending(ALICE, PHONE, None, "why"))
        self.assertEqual(await self.rows(), set(self.present[1:]))

    async def test_spare(self) -> None:
        """All but the one that asked for it."""
        spare = self.present[1].id
        self.assertEqual(await self.end(spare=spare), Ending(ALICE, None, spare, "why"))
        self.assertEqual(await self.rows(), set(self.present[1:]))

    async def test_no_rows(self) -> None:
        """It is told of also where there are no rows: they may have been lost."""
        await self.change("DELETE FROM sessions")
        self.assertEqual(await self.end(), Ending(ALICE, None, None, "why"))

    async def test_rollback(self) -> None:
        """Of a transaction that is undone nothing is left, rows and log alike."""

        def fail(txn: Transaction) -> None:
            sessions.end_sessions(txn, ALICE, reason="why")
            raise LookupError

        await self.assertFailure(self.database.run(fail), LookupError)
        self.assertEqual(len(await self.rows()), 4)
        self.assertEqual(await self.database.read(events.read_after, 0), events.Reading(0, ()))


class RestoreTests(SessionRowsTestCase):
    """The process was taken for dead."""

    async def lose(self) -> None:
        await self.change("DELETE FROM sessions")
        await self.change("DELETE FROM processes")
        self.assertEqual(await self.rows(), set())

    async def restore(self) -> set[PresentSession]:
        """Restore; give the sessions that are said to have rows, which must be those that have."""
        kept = await self.database.run(sessions.restore_sessions, PROCESS, self.present)
        self.assertEqual({row.id for row in await self.rows()}, kept)
        return await self.rows()

    async def test_lost(self) -> None:
        """The rows are there again, as they were."""
        await self.lose()
        self.assertEqual(await self.restore(), set(self.present))

    async def test_again(self) -> None:
        """Rows that are there stay."""
        await self.lose()
        await self.add(self.present[0])
        for _ in range(2):
            self.assertEqual(await self.restore(), set(self.present))

    async def test_none(self) -> None:
        """A process without sessions has none."""
        await self.lose()
        self.present = []
        self.assertEqual(await self.restore(), set())

    async def test_no_longer_admitted(self) -> None:
        """Whose workspace or device may not log in any more gets no row."""
        for change in (
            "UPDATE devices SET status = 'blocked' WHERE workspace = %s AND id = %s",
            "DELETE FROM devices WHERE workspace = %s AND id = %s",
        ):
            await self.lose()
            await self.change(change, ALICE.uuid, PHONE.uuid)
            self.assertEqual(await self.restore(), set(self.present[1:]))
        for status in ("suspended", "archived"):
            await self.lose()
            await self.change(
                "UPDATE workspaces SET status = %s, password_hash = %s WHERE id = %s",
                *(status, None if status == "archived" else "x", BOB.uuid),
            )
            self.assertEqual(await self.restore(), {self.present[1]})

    async def test_rightful(self) -> None:
        """Without restoring, only those count that have a row, and may log in."""
        await self.change("DELETE FROM sessions WHERE id = %s", self.present[0].id)
        await self.change("UPDATE devices SET status = 'pending' WHERE workspace = %s", BOB.uuid)
        kept = await self.database.read(sessions.rightful_sessions, self.present)
        self.assertEqual(kept, {self.present[1].id})

    async def test_known(self) -> None:
        """A process hears that it was forgotten, also where a login has made its row again."""
        self.assertTrue(await self.database.run(processes.enroll, PROCESS, "a name"))
        for prepare in (self.lose(), self.add(self.present[0])):
            await prepare
            self.assertFalse(await self.database.run(processes.enroll, PROCESS, "a name"))
            self.assertTrue(await self.database.run(processes.enroll, PROCESS, "a name"))
            await self.lose()


class OrderTests(SessionRowsTestCase):
    async def test_two_at_once(self) -> None:
        """Two who end the same sessions at once both do it, one after the other."""
        first = self.connect()
        with first.cursor() as cursor:
            sessions.end_sessions(Transaction(cursor), ALICE, reason="first")
        second = self.database.run(sessions.end_sessions, ALICE, reason="second")
        await self.database.read(until_someone_waits)
        first.commit()
        await second
        found = await self.database.read(events.read_after, 0)
        self.assertEqual(
            [event.subject for event in found.events],
            [Ending(ALICE, None, None, reason) for reason in ("first", "second")],
        )
        self.assertEqual(await self.rows(), set(self.present[2:]))
