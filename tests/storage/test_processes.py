"""Which processes live, and whose sessions go with them (spec 06, *Running many*)."""

from uuid import UUID

from mensagod.storage import processes
from mensagod.storage.connections import Connection
from mensagod.storage.rows import Transaction
from tests.databases import DatabaseTestCase

OURS, OTHER, SESSION = UUID(int=1), UUID(int=2), UUID(int=3)


class EnrollTests(DatabaseTestCase):
    """Two processes, a session at the other one."""

    async def prepare(self) -> None:
        self.connection: Connection = self.connect()
        self.enroll(OURS)
        self.enroll(OTHER)
        self.execute(
            "INSERT INTO workspaces (id, domain, status) VALUES (%s, 'example.com', 'preregistered')", OURS
        )
        self.execute(
            "INSERT INTO sessions (id, process, workspace, device, address) VALUES (%s, %s, %s, %s, '')",
            *(SESSION, OTHER, OURS, OURS),
        )

    def enroll(self, process: UUID) -> None:
        with self.connection, self.connection.cursor() as cursor:
            processes.enroll(Transaction(cursor), process, "a name")

    def execute(self, sql: str, *parameters: object) -> None:
        with self.connection, self.connection.cursor() as cursor:
            cursor.execute(sql, parameters)

    def silence(self, process: UUID, seconds: int) -> None:
        self.execute(
            "UPDATE processes SET seen = now() - %s * interval '1 second' WHERE id = %s", seconds, process
        )

    def count(self, table: str) -> int:
        with self.connection, self.connection.cursor() as cursor:
            cursor.execute(f"SELECT count(*) FROM {table}")
            ((count,),) = cursor.fetchall()
        return int(count)

    def test_dead(self) -> None:
        """A process that is silent for a minute is forgotten, with its sessions."""
        self.silence(OTHER, 59)
        self.enroll(OURS)
        self.assertEqual((self.count("processes"), self.count("sessions")), (2, 1))
        self.silence(OTHER, 61)
        self.enroll(OURS)
        self.assertEqual((self.count("processes"), self.count("sessions")), (1, 0))

    def test_database_was_away(self) -> None:
        """After a minute without database, which silenced all, nobody is taken for dead at once."""
        for process in (OURS, OTHER):
            self.silence(process, 300)
        self.enroll(OURS)
        self.enroll(OTHER)
        self.enroll(OURS)
        self.assertEqual((self.count("processes"), self.count("sessions")), (2, 1))

    def test_newcomer(self) -> None:
        """A process that has just started has seen nobody live, and buries nobody before its second word."""
        self.silence(OTHER, 300)
        newcomer = UUID(int=9)
        self.enroll(newcomer)
        self.assertEqual(self.count("sessions"), 1)
        self.enroll(newcomer)
        self.assertEqual(self.count("sessions"), 0)

    def test_orphans(self) -> None:
        """A session of a process without a row is forgotten with the next process that is."""
        self.execute("UPDATE sessions SET process = %s", UUID(int=8))
        self.enroll(OURS)
        self.assertEqual(self.count("sessions"), 1)
        self.silence(OTHER, 61)
        self.enroll(OURS)
        self.assertEqual((self.count("processes"), self.count("sessions")), (1, 0))

    def test_dismissed(self) -> None:
        """A process that stops takes its sessions with it, and no others."""
        self.execute(
            "INSERT INTO sessions (id, process, workspace, device, address) VALUES (%s, %s, %s, %s, '')",
            *(UUID(int=4), OURS, OURS, OURS),
        )
        with self.connection, self.connection.cursor() as cursor:
            processes.dismiss(Transaction(cursor), OTHER)
        self.assertEqual((self.count("processes"), self.count("sessions")), (1, 1))
