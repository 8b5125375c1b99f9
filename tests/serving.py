"""A server in this process: its own database and store, real sockets on loopback, and clients for it."""

import base64
import os
from datetime import UTC, datetime
from pathlib import Path

from attrs import define, field
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import clientFromString

from mensagod.client.connection import ClientConnection, connect
from mensagod.config import Config
from mensagod.config.listeners import parse_listener
from mensagod.config.tables import DatabaseTable, GlobalTable, NetworkTable, SecurityTable
from mensagod.crypto.cryptostring import CryptoString
from mensagod.crypto.passwords import PasswordHasher
from mensagod.crypto.sealing import EncryptionPair, SecretKey
from mensagod.identity import DeviceID, Domain, UserID, WAddress, WorkspaceID
from mensagod.keycards.making import OrganizationKeys, make_organization_root
from mensagod.keyring import protect
from mensagod.service import MensagoService
from mensagod.storage import keycards, keys, preregistrations, workspaces
from mensagod.storage.keycards import ORGANIZATION, StoredEntry
from mensagod.storage.rows import Transaction
from mensagod.tap import assemble
from mensagod.wire.status import Status
from tests.databases import DatabaseTestCase

DOMAIN = Domain.from_text("example.com")
ADMIN = WorkspaceID.from_text("11111111-1111-4111-8111-111111111111")
CODE = "correct-horse-battery"


@define
class Person:
    """Somebody with an account and one device."""

    workspace: WorkspaceID
    user_id: str | None
    password: str = field(factory=lambda: f"a password hash {os.urandom(8).hex()}")
    device: DeviceID = field(factory=DeviceID.random)
    keys: EncryptionPair = field(factory=EncryptionPair.generate)


def found(txn: Transaction, organization: OrganizationKeys, master: SecretKey) -> None:
    """Make an organization with a preregistered administrator."""
    for pair in (organization.primary, organization.encryption):
        keys.add_key(txn, protect(pair, master))
    now = datetime.now(UTC)
    entry = make_organization_root(organization, "Example", DOMAIN, WAddress(ADMIN, DOMAIN), now=now)
    stored = StoredEntry(1, entry.text, str(entry.hash), now, now.replace(year=now.year + 1))
    keycards.add_entry(txn, ORGANIZATION, stored)
    code = PasswordHasher(8192, 1, 1).hash(CODE)
    preregistrations.preregister(txn, ADMIN, UserID.from_text("admin"), DOMAIN, code)
    for alias in ("abuse", "support"):
        workspaces.add_name(txn, UserID.from_text(alias), DOMAIN, ADMIN, "alias")


class ServerTestCase(DatabaseTestCase):
    """A test with a running server.

    :ivar service: the server.
    :ivar organization: its keys.
    """

    service: MensagoService

    async def prepare(self) -> None:
        self.directory = Path(os.path.abspath(self.mktemp()))
        (self.directory / "data").mkdir(parents=True)
        master = SecretKey.generate()
        (self.directory / "organization.key").write_text(f"{master.secret}\n")
        (self.directory / "organization.key").chmod(0o600)
        self.organization = OrganizationKeys()
        await self.database.run(found, self.organization, master)
        self.service = await self.serve(self.configure(self.base_config()))

    def base_config(self) -> Config:
        return Config(
            path=self.directory / "serverconfig.toml",
            global_=GlobalTable(domain=DOMAIN, top_dir=self.directory / "data"),
            database=DatabaseTable(
                host=self.parameters["host"],
                name=self.parameters["dbname"],
                user=self.parameters["user"],
            ),
            network=NetworkTable(listen=(parse_listener("tcp:0:interface=127.0.0.1"),)),
            security=SecurityTable(
                argon2_memory=8192, argon2_time=1, failure_delay_sec=0, max_recipients_per_minute=0
            ),
        )

    def configure(self, config: Config) -> Config:
        """Change the configuration; for subclasses."""
        return config

    async def serve(self, config: Config) -> MensagoService:
        """Start a server, stopped after the test, and wait until it lets clients in."""
        service = assemble(reactor, config, {})
        ready: Deferred[object] = Deferred()
        service.announce = ready.callback
        service.listeners.privilegedStartService()
        service.startService()
        self.addCleanup(service.stopService)
        await ready
        return service

    @property
    def port(self) -> int:
        return int(self.service.listeners.addresses[0].rpartition(":")[2])

    async def client(self) -> ClientConnection:
        """Connect a client, cut off after the test."""
        client = await connect(clientFromString(reactor, f"tcp:127.0.0.1:{self.port}"))
        self.addCleanup(client.abort)
        return client

    async def register(self, client: ClientConnection, person: Person, code: str = CODE) -> None:
        await client.request(
            "REGCODE",
            {
                "Workspace-ID": person.workspace,
                "Reg-Code": code,
                "Password-Hash": person.password,
                "Device-ID": person.device,
                "Device-Key": person.keys.public,
            },
            Status.REGISTERED,
        )

    async def log_in(self, client: ClientConnection, person: Person) -> bool:
        """Log in; tell whether as the administrator."""
        challenge = base64.b85encode(os.urandom(32))
        sealed = self.organization.encryption.encryption_key.seal(challenge)
        answer = await client.request(
            "LOGIN",
            {"Login-Type": "PLAIN", "Workspace-ID": person.workspace, "Challenge": sealed},
            Status.CONTINUE,
        )
        assert answer.data["Response"] == challenge.decode()
        await client.request("PASSWORD", {"Password-Hash": person.password}, Status.CONTINUE)
        device = {"Device-ID": person.device, "Device-Key": person.keys.public}
        answer = await client.request("DEVICE", device, Status.CONTINUE)
        opened = person.keys.open(CryptoString.from_text(answer.data["Challenge"])).decode()
        answer = await client.request("DEVICE", {**device, "Response": opened}, Status.OK)
        return answer.data["Is-Admin"] == "True"

    async def admin(self) -> tuple[ClientConnection, Person]:
        client = await self.client()
        person = Person(ADMIN, "admin")
        await self.register(client, person)
        await self.log_in(client, person)
        return client, person

    async def member(self, admin: ClientConnection, user_id: str) -> tuple[ClientConnection, Person]:
        """Preregister, register and log in somebody."""
        answer = await admin.request("PREREG", {"User-ID": user_id}, Status.OK)
        person = Person(WorkspaceID.from_text(answer.data["Workspace-ID"]), user_id)
        client = await self.client()
        await self.register(client, person, answer.data["Reg-Code"])
        await self.log_in(client, person)
        return client, person
