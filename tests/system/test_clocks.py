"""A server and a database whose clocks are set ten years forward and back (spec 06, *Clocks lie*)."""

import threading
import warnings
from datetime import UTC, datetime
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import clientFromString
from twisted.trial.unittest import TestCase

from mensagod.client import login
from mensagod.client.accounts import preregister, register_with_code
from mensagod.client.connection import ClientConnection, connect
from mensagod.client.sending import send
from mensagod.config.listeners import parse_listener
from mensagod.crypto.sealing import EncryptionPair
from mensagod.delivery.envelopes import seal_message
from mensagod.installation.founding import found
from mensagod.operations.lookups import ALLOWANCE
from mensagod.organization import keycard
from mensagod.organization.key_file import read_organization_key
from mensagod.status import Status
from mensagod.storage import failures, keys, sessions
from mensagod.storage.rows import Transaction
from mensagod.values.identity import UserID
from tests.cli.processes import Command
from tests.databases import Cluster
from tests.directories import scratch_of
from tests.installation.places import ENVIRONMENT, choose, execute, url_of
from tests.serving import DOMAIN, Person
from tests.system.faketime import FakeClock, find_library
from tests.waiting import until

TEN_YEARS = 3652
LIBRARY = find_library()


class ClocksTests(TestCase):
    """An organization that has rotated its keys; Alice and Bob. The database's clock is ahead at first."""

    timeout = 180

    def setUp(self) -> Deferred[None]:  # type: ignore[override]
        return Deferred.fromCoroutine(self.prepare())

    async def prepare(self) -> None:
        directory = scratch_of(self, "clocks")
        self.clocks = {name: FakeClock(LIBRARY or "", directory / name) for name in ("database", "server")}
        cluster = Cluster.start(variables=self.clocks["database"].variables)
        self.addCleanup(cluster.stop)
        self.parameters = cluster.parameters("postgres")
        listen = (parse_listener("tcp:0:interface=127.0.0.1"),)
        made = found(choose(directory, url_of(self.parameters), listen=listen), ENVIRONMENT)
        master = read_organization_key(made.config.organization_key)
        now = datetime.now(UTC)
        change = execute(self.parameters, keycard.rotate, [master], made.entry.hash, now)
        self.old_key, self.key = change.before.encryption_key, change.entry.encryption_key
        self.clocks["database"].set_ahead(TEN_YEARS)
        variables: dict[str, Any] = {**self.clocks["server"].variables}
        self.server = Command.start(self, directory, "--config", made.config.path, "run", **variables)
        self.log: list[str] = []
        threading.Thread(target=self.read_log, daemon=True).start()
        self.port = int((await self.logged("listening on tcp:")).rpartition(":")[2])
        admin = Person(made.admin, "admin")
        admin_client = await self.register(admin, made.code)
        self.alice, self.alice_client = await self.member(admin_client, "alice")
        self.bob, self.bob_client = await self.member(admin_client, "bob")
        self.sent = 0

    def read_log(self) -> None:
        """Read what the server logs until it ends."""
        for line in self.server.process.stdout or ():
            self.log.append(line.decode().strip())

    async def logged(self, part: str) -> str:
        """Wait for a line in the log."""
        await until(lambda: any(part in line for line in self.log))
        return next(line for line in self.log if part in line)

    async def client(self, host: str = "127.0.0.1") -> ClientConnection:
        """Connect from an address of this machine."""
        endpoint = clientFromString(reactor, f"tcp:127.0.0.1:{self.port}:bindAddress={host}")
        client = await connect(endpoint)
        self.addCleanup(client.abort)
        return client

    async def enter(self, person: Person) -> ClientConnection:
        """Log in."""
        client = await self.client()
        await login.log_in(client, person.workspace, person.password, person.credentials, self.key)
        return client

    async def register(self, person: Person, code: str) -> ClientConnection:
        """Register somebody, and log in."""
        client = await self.client()
        await register_with_code(client, person.workspace, code, person.password, person.credentials)
        return await self.enter(person)

    async def member(self, admin: ClientConnection, name: str) -> tuple[Person, ClientConnection]:
        """Make an account, and log in."""
        made = await preregister(admin, user_id=UserID.from_text(name))
        person = Person(made.account.workspace, name)
        return person, await self.register(person, made.code)

    async def send(self, send_time: datetime | None = None) -> None:
        """Have Alice write to Bob twice: with the present key of the organization, and with the old one."""
        for key in (self.key, self.old_key):
            message = seal_message(
                b"hello",
                self.alice.address,
                self.bob.address,
                sender_org_key=key,
                recipient_org_key=key,
                recipient_key=EncryptionPair.generate().public,
                date=datetime.now(UTC),
                send_time=send_time,
            )
            await send(self.alice_client, message, DOMAIN)
            self.sent += 1

    async def all_delivered(self) -> None:
        """Wait until all messages have come to Bob, by what he sees."""
        path = f"/ wsp {self.bob.workspace} new"
        files: list[str] = []
        while len(files) < self.sent:
            answer = await self.bob_client.request("LIST", {"Path": path}, Status.OK)
            files = [name for name in answer.data.get("Files", "").split(",") if name]
        self.assertEqual(len(files), self.sent)

    async def look_up(self, host: str) -> Status:
        """Look up a name from somewhere that nobody has; give the answer."""
        client = await self.client(host)
        async with client.turn() as turn:
            answer = await turn.ask("GETWID", {"User-ID": "nobody-has-this"})
        client.abort()
        return answer.status

    async def lock_out(self, host: str) -> None:
        """Have failures lock out who comes from there, as another process counts them."""

        def fail(txn: Transaction) -> None:
            for _ in range(ALLOWANCE.misses.most):
                failures.note_failure(txn, ALLOWANCE.misses, host)

        execute(self.parameters, fail)
        self.assertEqual(await self.look_up(host), Status.UNAVAILABLE)

    async def end_session(self) -> None:
        """End Bob's session from elsewhere, which the server notices by a timer; then he logs in again."""
        execute(self.parameters, sessions.end_sessions, self.bob.workspace, reason="for a test")
        await self.bob_client.wait_closed()
        self.bob_client = await self.enter(self.bob)

    def count(self, table: str) -> int:
        def count(txn: Transaction) -> int:
            txn.execute(f"SELECT count(*) AS total FROM {table}")
            [row] = txn.fetchall()
            return int(row.total)

        return int(execute(self.parameters, count))

    async def live_through(self, clock: str, host: str, days: int) -> None:
        """Set a clock, write messages, be locked out, be logged out; set it right, and find all in order.

        Some of the messages are scheduled, so that they wait if the clock is behind.

        :param host: where who is locked out comes from.
        """
        self.clocks[clock].set_ahead(days)
        await self.send()
        await self.lock_out(host)
        await self.end_session()
        await self.send(send_time=datetime.now(UTC))
        self.clocks[clock].set_ahead(0)
        await self.send()
        await self.all_delivered()
        await self.end_session()
        self.assertEqual(len(execute(self.parameters, keys.live_keys)), 3)
        self.assertEqual((self.count("processes"), self.count("sessions")), (1, 3))
        await self.alice_client.request("IDLE", {"CountUpdates": "0"}, Status.OK)
        self.assertEqual([line for line in self.log if "Traceback" in line], [])

    async def test_ten_years(self) -> None:
        """Nothing is lost, locked out or stopped by a clock that was ten years ahead or behind.

        Lockouts go by the database's clock: they are over if that was wrong, and hold if the server's was.
        """
        await self.logged("the clocks disagree: the database's says")
        await self.live_through("database", "127.0.0.2", TEN_YEARS)
        await self.live_through("database", "127.0.0.3", -TEN_YEARS)
        await self.live_through("server", "127.0.0.4", TEN_YEARS)
        await self.live_through("server", "127.0.0.5", -TEN_YEARS)
        answers = [await self.look_up(f"127.0.0.{last}") for last in (2, 3, 4, 5)]
        self.assertEqual(answers, [Status.NOT_FOUND] * 2 + [Status.UNAVAILABLE] * 2)


if LIBRARY is None:
    # It is in Debian's package libfaketime, which .ci/run installs.
    warnings.warn("there is no libfaketime here: nothing is tested with wrong clocks", stacklevel=1)
    del ClocksTests
