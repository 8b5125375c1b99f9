"""Two processes of one installation, the second of which has joined it, and two people."""

import os
import time
from datetime import UTC, datetime
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.endpoints import clientFromString
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from mensagod.client import accounts, control, login, sending
from mensagod.client.connection import ClientConnection, connect
from mensagod.config.listeners import parse_listener
from mensagod.crypto.cryptostring import CryptoString
from mensagod.crypto.sealing import EncryptionPair
from mensagod.delivery.envelopes import seal_message
from mensagod.installation.founding import found
from mensagod.organization.keycard import current_entry
from mensagod.values.identity import MAddress, UserID, WAddress, WorkspaceID
from tests.cli.processes import TWISTD, Command
from tests.cli.running import Outcome, run
from tests.installation.places import (
    ENVIRONMENT,
    choose,
    execute,
    fresh_database,
    make_directory,
    url_of,
)
from tests.serving import DOMAIN, Person

LISTEN = "tcp:0:interface=127.0.0.1"
CHANGED = "the organization's keys have changed"
PROMISED_SECONDS = 1
SLACK_SECONDS = 2
"""The machine of a test may be busy."""


class JoinedTestCase(TestCase):
    """Alice is connected to the first process, Bob to the second.

    :ivar configs: the configurations of both.
    :ivar servers: both processes; one is started by ``mensagod run``, the other by ``twistd``.
    """

    timeout = 60

    async def setUp(self) -> None:  # type: ignore[override]
        self.directory = make_directory(self)
        self.parameters = fresh_database(self)
        url = url_of(self.parameters)
        founded = found(choose(self.directory, url, listen=(parse_listener(LISTEN),)), ENVIRONMENT)
        second = self.directory / "second" / "serverconfig.toml"
        self.configs = (founded.config.path, second)
        key = founded.config.organization_key
        options = ("--top-dir", founded.config.global_.top_dir, "--organization-key", key)
        joined = run("--config", second, "join", "--database-url", url, "--listen", LISTEN, *options)
        self.assertEqual(joined.status, 0, joined.err)
        self.servers = (
            Command.start(self, self.directory, "--config", self.configs[0], "run"),
            Command.start(self, self.directory, "--config", second, program=TWISTD),
        )
        self.ports = [int(server.line("listening on tcp:").rpartition(":")[2]) for server in self.servers]
        admin = await self.client(0)
        boss = Person(founded.admin, "admin")
        await accounts.register_with_code(
            admin, boss.workspace, founded.code, boss.password, boss.credentials
        )
        await self.log_in(admin, boss)
        self.alice = await self.register(admin, "alice")
        self.bob = await self.register(admin, "bob")
        self.near = await self.enter(self.alice, 0)
        self.far = await self.enter(self.bob, 1)

    async def client(self, place: int) -> ClientConnection:
        """Connect to one of the processes."""
        client = await connect(clientFromString(reactor, f"tcp:127.0.0.1:{self.ports[place]}"))
        self.addCleanup(client.abort)
        return client

    async def register(self, admin: ClientConnection, name: str) -> Person:
        made = await accounts.preregister(admin, user_id=UserID.from_text(name))
        person = Person(made.account.workspace, name)
        client = await self.client(0)
        await accounts.register_with_code(
            client, person.workspace, made.code, person.password, person.credentials
        )
        await client.close()
        return person

    async def enter(self, person: Person, place: int) -> ClientConnection:
        """Connect to one of the processes, and log in."""
        client = await self.client(place)
        await self.log_in(client, person)
        return client

    async def log_in(self, client: ClientConnection, person: Person) -> None:
        await login.log_in(client, person.workspace, person.password, person.credentials, self.key)

    @property
    def key(self) -> CryptoString:
        """The organization's current encryption key, by the database."""
        return execute(self.parameters, current_entry).encryption_key

    def letter(
        self,
        sender: Person,
        to: Person | WorkspaceID,
        key: CryptoString | None = None,
        send_time: datetime | None = None,
    ) -> str:
        """Seal a message to a key of the organization, the current one unless told."""
        recipient: MAddress | WAddress = to.address if isinstance(to, Person) else WAddress(to, DOMAIN)
        key = key or self.key
        return seal_message(
            os.urandom(8),
            sender.address,
            recipient,
            sender_org_key=key,
            recipient_org_key=key,
            recipient_key=EncryptionPair.generate().public,
            date=datetime.now(UTC),
            send_time=send_time,
        )

    async def told(self, client: ClientConnection) -> int:
        """Wait until a client is told of changes by others; give how many."""
        while not client.update_count:
            await control.idle(client)
            await deferLater(reactor, 0.02)
        count, client.update_count = client.update_count, None
        return count

    async def exchange(self, key: CryptoString | None = None) -> None:
        """Send from each process to the session at the other, which is told within a second."""
        for sender, letter, receiver in (
            (self.near, self.letter(self.alice, self.bob, key), self.far),
            (self.far, self.letter(self.bob, self.alice, key), self.near),
        ):
            await sending.send(sender, letter, DOMAIN)
            begun = time.monotonic()
            await self.told(receiver)
            self.assertLess(time.monotonic() - begun, PROMISED_SECONDS + SLACK_SECONDS)

    def org(self, place: int, *arguments: str) -> Outcome:
        """Run a verb with the configuration of one process."""
        outcome = run("--config", self.configs[place], "--json", "--yes", "org", *arguments)
        self.assertEqual((outcome.status, outcome.err), (0, ""))
        return outcome

    def logged(self, *lines: str) -> None:
        """Check that the processes, in their order, log lines within a second."""
        begun = time.monotonic()
        for server, line in zip(self.servers, lines, strict=True):
            server.line(line)
        self.assertLess(time.monotonic() - begun, PROMISED_SECONDS + SLACK_SECONDS)

    def at_once(self, *arguments: str) -> list[tuple[int, str]]:
        """Run a verb with both configurations at the same time; give statuses and errors, success first."""
        commands = [
            Command.start(self, self.directory, "--config", config, "org", *arguments)
            for config in self.configs
        ]
        texts = [command.rest()[1] for command in commands]
        return sorted(
            (command.process.returncode, text) for command, text in zip(commands, texts, strict=True)
        )

    def key_files(self) -> list[Path]:
        return [config.with_name("organization.key") for config in self.configs]
