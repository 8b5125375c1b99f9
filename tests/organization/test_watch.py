"""The organization's keys change under running servers with connected clients."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, cast

from attrs import define, evolve
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import Clock, deferLater
from twisted.logger import ILogObserver, LogEvent, globalLogPublisher

from mensagod.client.connection import ClientConnection
from mensagod.client.errors import RequestRefused
from mensagod.crypto import base85
from mensagod.crypto.cryptostring import CryptoString
from mensagod.crypto.sealing import EncryptionKey, EncryptionPair, SecretKey
from mensagod.delivery.envelopes import seal_message
from mensagod.keycards.entries import OrganizationEntry
from mensagod.organization import keycard
from mensagod.organization.key_file import adopt_next, read_organization_key, write_next
from mensagod.organization.keycard import Overtaken, Replacement, ReplacementStep
from mensagod.organization.keyring import KEEP_DAYS, KeyringFault
from mensagod.organization.watch import REFRESH_SECONDS, RETRY_SECONDS, KeyWatch
from mensagod.server.service import MensagoService
from mensagod.sharing.follower import INTERVAL, Follower, StoredEventLog
from mensagod.status import Status
from mensagod.storage import events, keys
from mensagod.storage.attempts import CommitUnknown, DatabaseUnavailable
from mensagod.storage.database import Database
from mensagod.storage.events import CardChange
from mensagod.storage.keycards import ORGANIZATION
from mensagod.storage.keys import StoredKey
from mensagod.storage.rows import Transaction
from mensagod.values.identity import WAddress, WorkspaceID
from tests.serving import DOMAIN, Person, ServerTestCase
from tests.sharing.logs import MemoryEventLog
from tests.waiting import until


class KeyWatchTestCase(ServerTestCase):
    async def prepare(self) -> None:
        self.events: list[LogEvent] = []
        observer = cast(ILogObserver, self.events.append)
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        await super().prepare()
        self.key_file = self.directory / "organization.key"
        self.master = read_organization_key(self.key_file)

    async def current(self) -> OrganizationEntry:
        return await self.database.read(keycard.current_entry)

    async def follow(self, step: ReplacementStep, master: SecretKey | None = None) -> Replacement:
        """Rotate or revoke as another process does, the command for instance."""
        masters, entry = [master or self.master], await self.current()
        return await self.database.run(step, masters, entry.hash, datetime.now(UTC))

    async def followed(self, *services: MensagoService, key: CryptoString) -> None:
        """Wait until all servers have a new encryption key."""
        await until(lambda: all(service.server.keyring.public_encryption_key == key for service in services))

    def logged(self, event: str) -> list[LogEvent]:
        return [one for one in self.events if one.get("event") == event]

    async def log_in_again(self, person: Person) -> ClientConnection:
        client = await self.client()
        await self.log_in(client, person)
        return client


class SuccessionTests(KeyWatchTestCase):
    async def test_rotation(self) -> None:
        """Sessions go on, and logins sealed to the old and to the new key both work."""
        client, person = await self.admin()
        change = await self.follow(keycard.rotate)
        await self.followed(self.service, key=change.entry.encryption_key)
        await client.request("IDLE", {"CountUpdates": "0"}, Status.OK)
        await self.log_in_again(person)
        new = self.service.server.keyring.encryption[0]
        self.organization = evolve(self.organization, encryption=new)
        await self.log_in_again(person)
        self.assertEqual(len(self.logged("keys_changed")), 1)

    async def test_revocation(self) -> None:
        """Sessions go on, and a login that is sealed to a revoked key is refused."""
        client, person = await self.admin()
        change = await self.follow(keycard.rotate)
        rotated = change.entry
        change = await self.follow(keycard.revoke)
        await self.followed(self.service, key=change.entry.encryption_key)
        await client.request("IDLE", {"CountUpdates": "0"}, Status.OK)
        with self.assertRaises(RequestRefused) as refused:
            await self.log_in_again(person)
        self.assertEqual(refused.exception.status, Status.KEY_FAILURE)
        self.organization = evolve(self.organization, encryption=self.service.server.keyring.encryption[0])
        await self.log_in_again(person)
        self.assertNotEqual(rotated.encryption_key, change.entry.encryption_key)
        self.assertEqual(len(self.service.server.keyring.encryption), 1)

    async def test_two_servers(self) -> None:
        """A change by one server is known there at once, and in the other soon."""
        other = await self.serve(self.configure(self.base_config()))
        entry = await self.current()
        change = await self.service.assembly.keys.apply(keycard.rotate, entry.hash)
        key = change.entry.encryption_key
        self.assertEqual(self.service.server.keyring.public_encryption_key, key)
        await self.followed(other, key=key)

    async def test_behind(self) -> None:
        """What is sealed to a key that a process has not heard of yet is opened all the same.

        The key stood on a card that a client was given: so neither a login nor a message is refused for it,
        and no message is given up.
        """
        client, alice = await self.admin()
        address = WAddress(alice.workspace, DOMAIN)
        old = self.organization.encryption.public
        self.service.assembly.keys.stopService()
        for part in ("LOGIN", "SEND", "delivery"):
            key = (await self.follow(keycard.rotate)).entry.encryption_key
            if part == "LOGIN":
                challenge = EncryptionKey.from_cryptostring(key).seal(base85.encode(bytes(32)).encode())
                fields = {
                    "Login-Type": "PLAIN",
                    "Workspace-ID": str(alice.workspace),
                    "Challenge": str(challenge),
                }
                await (await self.client()).request("LOGIN", fields, Status.CONTINUE)
                continue
            message = seal_message(
                part.encode(),
                address,
                address,
                sender_org_key=key if part == "SEND" else old,
                recipient_org_key=key,
                recipient_key=EncryptionPair.generate().public,
                date=datetime.now(UTC),
            )
            await client.request("SEND", {"Message": message, "Domain": str(DOMAIN)}, Status.OK)
        while await self.value("SELECT count(*) FROM queue WHERE state <> 'failed'"):
            await deferLater(reactor, 0.05)
        self.assertEqual(await self.value("SELECT count(*) FROM files"), 2)

    async def test_shared_reading(self) -> None:
        """Who does not open anything costs one reading of the database for all who ask at once."""
        watch, readings = self.service.assembly.keys, []
        watch.stopService()
        read = self.service.assembly.database.read

        def count(*args: Any) -> Any:
            if args[0] is keys.usable_keys:
                readings.append(args)
            return read(*args)

        self.patch(self.service.assembly.database, "read", count)
        keyring = self.service.server.keyring
        found = await gatherResults([Deferred.fromCoroutine(watch.newer(keyring)) for _ in range(20)])
        self.assertEqual((found, len(readings)), ([None] * 20, 1))

    async def test_events(self) -> None:
        """Whatever changes the card or the stored keys tells the other processes."""
        before = await self.database.read(events.newest)
        await self.follow(keycard.rotate)
        await self.follow(keycard.revoke)
        await self.database.run(keycard.reencrypt, self.master, self.master)
        found = await self.database.read(events.read_after, before)
        self.assertEqual([event.subject for event in found.events], [CardChange(ORGANIZATION)] * 3)

    async def test_card(self) -> None:
        """The new entry is served at once, and signs what follows."""
        client, _ = await self.admin()
        change = await self.follow(keycard.rotate)
        async with client.turn() as turn:
            await turn.request("GETCARD", {"Start-Index": "0"}, Status.TRANSFER)
            answer = await turn.request("TRANSFER", {}, Status.OK)
        self.assertIn(change.entry.text, answer.data["Card-Data"])

    async def test_race(self) -> None:
        """Of two at once one wins, and the other hears of it."""
        entry = await self.current()
        now = datetime.now(UTC)
        steps = (keycard.rotate, keycard.revoke, keycard.rotate)
        races = [self.database.run(step, [self.master], entry.hash, now) for step in steps]
        results = await gatherResults([race.addErrback(lambda failure: failure.value) for race in races])
        self.assertEqual(
            sorted(type(result).__name__ for result in results), ["Overtaken", "Overtaken", "Replacement"]
        )
        self.assertIn("org show", str(Overtaken()))
        self.assertEqual((await self.current()).index, 2)

    async def test_old_key_goes(self) -> None:
        """A running server uses an old key until it is erased."""
        change = await self.follow(keycard.rotate)
        await until(lambda: len(self.service.server.keyring.encryption) == 2)
        await self.change(
            "UPDATE organization_keys SET created = created - interval '40 days',"
            " retired = retired - interval '31 days'"
        )
        await self.service.assembly.keys.refresh()
        self.assertEqual(len(self.service.server.keyring.encryption), 2)
        await self.database.run(keys.erase, [change.before.encryption_key], KEEP_DAYS)
        await self.service.assembly.keys.refresh()
        self.assertEqual(len(self.service.server.keyring.encryption), 1)
        self.assertTrue(self.service.server.ready)


@define
class ReadDatabase:
    """A database that gives the same keys again and again.

    :ivar readings: how often.
    :ivar fault: what it raises instead.
    """

    stored: list[StoredKey]
    readings: int = 0
    fault: Exception | None = None

    async def read(self, *_: Any) -> list[StoredKey]:
        self.readings += 1
        if self.fault is not None:
            raise self.fault
        return self.stored

    async def run(self, *_: Any) -> None:
        """Erase nothing."""


class PaceTests(KeyWatchTestCase):
    """When the stored keys are read, by the clock."""

    async def prepare(self) -> None:
        await super().prepare()
        self.clock = Clock()
        self.reads = ReadDatabase(await self.database.read(keys.usable_keys))
        self.log = MemoryEventLog()
        self.changes = Follower(self.clock, self.log)
        database = cast(Database, self.reads)
        self.watch = KeyWatch(self.clock, database, self.changes, (self.master,), lambda: (self.master,))
        self.patch(self.watch._warning, "startService", lambda: None)
        self.patch(self.watch._warning, "stopService", lambda: None)
        await self.watch.load()
        self.changes.startService()
        self.watch.startService()
        self.addCleanup(self.watch.stopService)
        self.addCleanup(self.changes.stopService)
        self.reads.readings = 0

    def pass_seconds(self, seconds: float) -> int:
        """Let time pass; tell how often the keys were read in it."""
        before = self.reads.readings
        self.clock.pump([RETRY_SECONDS] * round(seconds / RETRY_SECONDS))
        return self.reads.readings - before

    async def test_told(self) -> None:
        """They are read as soon as the follower hears of a change of the organization's, not of others'."""
        self.log.add(CardChange(WorkspaceID.random()))
        self.assertEqual(self.pass_seconds(INTERVAL), 0)
        self.log.add(CardChange(ORGANIZATION))
        self.assertEqual(self.pass_seconds(INTERVAL), 1)
        self.assertEqual(self.pass_seconds(REFRESH_SECONDS / 2), 0)

    async def test_missed(self) -> None:
        """They are read when events were missed."""
        self.log.last += 1
        self.assertEqual(self.pass_seconds(INTERVAL), 1)

    async def test_now_and_then(self) -> None:
        """They are read every half a minute at least, without being told to."""
        self.assertEqual(self.pass_seconds(4 * REFRESH_SECONDS), 4)
        self.assertLessEqual(REFRESH_SECONDS, 30)

    async def test_failure(self) -> None:
        """A reading that fails is tried again twice a second."""
        self.log.add(CardChange(ORGANIZATION))
        self.reads.fault = DatabaseUnavailable()
        self.pass_seconds(INTERVAL)
        self.assertEqual(self.pass_seconds(2), 4)
        self.reads.fault = None
        self.assertEqual(self.pass_seconds(2), 1)

    async def test_unusable(self) -> None:
        """So are keys that cannot be used, until they can."""
        stored, self.reads.stored = self.reads.stored, []
        self.log.add(CardChange(ORGANIZATION))
        self.pass_seconds(INTERVAL)
        await until(lambda: self.watch.keyring is None)
        self.reads.stored = stored
        self.clock.advance(RETRY_SECONDS)
        await until(lambda: self.watch.keyring is not None)


@define
class LeavingDatabase:
    """A database that goes away once a change is committed.

    :ivar tells: whether it still says that it was.
    """

    database: Database
    tells: bool

    async def run(self, work: Callable[..., Any], *arguments: Any) -> Any:
        result = await self.database.run(work, *arguments)
        if not self.tells:
            raise CommitUnknown
        return result

    async def read(self, *_: Any) -> Any:
        raise DatabaseUnavailable


class LeavingTests(KeyWatchTestCase):
    def watch(self, tells: bool) -> KeyWatch:
        """Give one whose database goes away; what it tells of is in ``told``."""
        self.told: list[frozenset[WorkspaceID] | None] = []
        changes = Follower(reactor, StoredEventLog(self.database))
        changes.watch(self.told.append)
        database = cast(Database, LeavingDatabase(self.database, tells))
        return KeyWatch(reactor, database, changes, (self.master,), lambda: (self.master,))

    async def test_after_the_commit(self) -> None:
        """A change is given, although the new keys cannot be read yet."""
        change = await self.watch(tells=True).apply(keycard.revoke, (await self.current()).hash)
        self.assertEqual(change.entry.text, (await self.current()).text)
        self.assertEqual(self.told, [frozenset({ORGANIZATION})])

    async def test_during_the_commit(self) -> None:
        """A change of which nobody knows whether it was made is told of, as if it had been."""
        changing = self.watch(tells=False).apply(keycard.rotate, (await self.current()).hash)
        with self.assertRaises(CommitUnknown):
            await changing
        self.assertEqual(self.told, [frozenset({ORGANIZATION})])


class KeyFileTests(KeyWatchTestCase):
    async def rekey(self) -> SecretKey:
        """Encrypt the keys anew; the new file is written, and not yet in its place."""
        new = SecretKey.generate()
        write_next(self.key_file, new)
        await self.database.run(keycard.reencrypt, self.master, new)
        return new

    async def test_rekey(self) -> None:
        """A running server goes on after a rekey, and takes over what is encrypted with the new key."""
        _, person = await self.admin()
        new = await self.rekey()
        adopt_next(self.key_file)
        await until(lambda: len(self.logged("keys_changed")) == 1)
        await self.log_in_again(person)
        change = await self.follow(keycard.rotate, new)
        await self.followed(self.service, key=change.entry.encryption_key)
        self.assertEqual(self.logged("keys_faulty"), [])

    async def test_interrupted_rekey(self) -> None:
        """A server starts with either file, wherever a rekey stopped."""
        write_next(self.key_file, SecretKey.generate())
        await self.serve(self.configure(self.base_config()))
        new = await self.rekey()
        other = await self.serve(self.configure(self.base_config()))
        change = await self.follow(keycard.rotate, new)
        await self.followed(self.service, other, key=change.entry.encryption_key)

    async def test_other_machine(self) -> None:
        """Where the new file was not copied to, the server goes on, says so, and gives up only when the keys
        change; with the file it goes on again.
        """
        _, person = await self.admin()
        old = self.key_file.read_bytes()
        new = await self.rekey()
        adopt_next(self.key_file)
        right = self.key_file.read_bytes()
        self.key_file.write_bytes(old)
        await until(lambda: len(self.logged("keys_faulty")) == 1)
        self.assertIn("next start would fail", self.logged("keys_faulty")[0]["complaint"])
        await self.log_in_again(person)
        await self.follow(keycard.revoke, new)
        await until(lambda: not self.service.server.ready)
        for _ in range(3):
            await self.service.assembly.keys.refresh()
            await self.service.assembly.keys.warn()
        [_, unusable] = self.logged("keys_faulty")
        self.assertIn("cannot be used", unusable["complaint"])
        self.assertNotIn("goes on", unusable["complaint"])
        self.key_file.write_bytes(right)
        await until(lambda: self.service.server.ready)

    async def test_lost(self) -> None:
        """A running server complains of a lost file, and cannot start again without it."""
        self.key_file.unlink()
        await self.service.assembly.keys.warn()
        [event] = self.logged("keys_faulty")
        self.assertIn("organization.key is missing", event["complaint"])
        self.assertTrue(self.service.server.ready)

    async def test_wrong(self) -> None:
        """A server does not load keys that its file does not open."""
        stored = await self.database.read(keys.usable_keys)
        self.assertEqual(len(stored), 2)
        running = self.service.assembly.keys
        wrong = (SecretKey.generate(),)
        watch = KeyWatch(reactor, self.database, running.changes, wrong, lambda: wrong)
        with self.assertRaises(KeyringFault) as refused:
            await watch.load()
        self.assertIn("restore the file that belongs to this database", str(refused.exception))


class ExpiryTests(KeyWatchTestCase):
    async def end_in(self, days: int) -> list[LogEvent]:
        """Have the organization's entry end in some days, and look at it."""
        end = datetime.now(UTC).date().toordinal() + days
        entry = (await self.current()).with_line("Expires", datetime.fromordinal(end).date())

        def replace(txn: Transaction) -> None:
            txn.execute("UPDATE keycard_entries SET text = %s", (entry.text,))

        await self.database.run(replace)
        self.events.clear()
        await self.service.assembly.keys.warn()
        return self.logged("organization_expires")

    async def test_warning(self) -> None:
        """From 30 days before the end the log has a warning, at the start and every day."""
        self.assertEqual(self.logged("organization_expires"), [])
        self.assertEqual(await self.end_in(31), [])
        [event] = await self.end_in(30)
        self.assertEqual(event["days"], 30)
        self.assertIn("mensagod org rotate", event["text"])
        [event] = await self.end_in(-1)
        self.assertIn("expired on", event["text"])
        self.events.clear()
        await self.serve(self.configure(self.base_config()))
        await until(lambda: bool(self.logged("organization_expires")))


class DeliveryTests(KeyWatchTestCase):
    """Messages that were sealed before a change, and handed in after it."""

    async def handed_in(self, step: ReplacementStep) -> tuple[ClientConnection, str]:
        """Seal a message, change the keys, and have two people ready for it."""
        admin, _ = await self.admin()
        alice_client, alice = await self.member(admin, "alice")
        bob_client, bob = await self.member(admin, "bob")
        old = self.organization.encryption.public
        message = seal_message(
            b'{"body":"hello"}',
            WAddress(alice.workspace, DOMAIN),
            WAddress(bob.workspace, DOMAIN),
            sender_org_key=old,
            recipient_org_key=old,
            recipient_key=EncryptionPair.generate().public,
            date=datetime.now(UTC),
        )
        change = await self.follow(step)
        await self.followed(self.service, key=change.entry.encryption_key)
        self.bob, self.bob_client = bob, bob_client
        return alice_client, message

    async def test_rotation(self) -> None:
        """After a rotation what was sealed to the old key is delivered."""
        client, message = await self.handed_in(keycard.rotate)
        await client.request("SEND", {"Message": message, "Domain": "example.com"}, Status.OK)
        path = f"/ wsp {self.bob.workspace} new"
        while not (await self.bob_client.request("LIST", {"Path": path}, Status.OK)).data.get("Files"):
            await deferLater(reactor, 0.02)
        self.assertEqual(len(self.service.server.keyring.encryption), 2)

    async def test_revocation(self) -> None:
        """After a revocation it is refused."""
        client, message = await self.handed_in(keycard.revoke)
        with self.assertRaises(RequestRefused) as refused:
            await client.request("SEND", {"Message": message, "Domain": "example.com"}, Status.OK)
        self.assertGreaterEqual(int(refused.exception.status), 400)
