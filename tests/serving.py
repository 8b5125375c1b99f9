"""A server in this process: its own database and store, real sockets on loopback, and clients for it."""

import os
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from attrs import define, evolve, field
from psycopg2.extensions import make_dsn
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import clientFromString

from mensagod.client import login
from mensagod.client.accounts import preregister, register_with_code
from mensagod.client.connection import ClientConnection, connect
from mensagod.client.devices import DeviceCredentials
from mensagod.config import Config, Secret
from mensagod.config.listeners import parse_listener
from mensagod.config.tables import ClusterTable, DatabaseTable, GlobalTable, NetworkTable, SecurityTable
from mensagod.crypto.passwords import PasswordHasher
from mensagod.crypto.sealing import EncryptionPair, SecretKey
from mensagod.keycards.making import OrganizationKeys, make_organization_root
from mensagod.organization.keyring import protect
from mensagod.server.service import MensagoService
from mensagod.server.tap import assemble
from mensagod.storage import keycards, keys, preregistrations, workspaces
from mensagod.storage.devices import Presented
from mensagod.storage.keycards import ORGANIZATION, StoredEntry
from mensagod.storage.preregistrations import Preregistration
from mensagod.storage.rows import Transaction
from mensagod.storage.workspaces import Credentials
from mensagod.values.identity import DeviceID, Domain, UserID, WAddress, WorkspaceID
from tests.databases import POOLED, DatabaseTestCase

DOMAIN = Domain.from_text("example.com")
ADMIN = WorkspaceID.from_text("11111111-1111-4111-8111-111111111111")
CODE = "correct-horse-battery"
CHEAP = PasswordHasher(8192, 1, 1)
"""The policy of the servers under test."""


@define
class Person:
    """Somebody with an account and one device."""

    workspace: WorkspaceID
    user_id: str | None
    password: str = field(factory=lambda: f"a password hash {os.urandom(8).hex()}")
    device: DeviceID = field(factory=DeviceID.random)
    keys: EncryptionPair = field(factory=EncryptionPair.generate)
    domain: Domain = DOMAIN

    @property
    def address(self) -> WAddress:
        return WAddress(self.workspace, self.domain)

    @property
    def device_fields(self) -> dict[str, object]:
        """The fields of a request that present the device."""
        return dict(self.credentials.presented.to_data())

    @property
    def credentials(self) -> DeviceCredentials:
        return DeviceCredentials(self.device, self.keys)


def found(txn: Transaction, organization: OrganizationKeys, master: SecretKey) -> None:
    """Make an organization with a preregistered administrator."""
    for pair in (organization.primary, organization.encryption):
        keys.add_key(txn, protect(pair, master))
    now = datetime.now(UTC)
    entry = make_organization_root(organization, "Example", DOMAIN, WAddress(ADMIN, DOMAIN), now=now)
    stored = StoredEntry(1, entry.text, str(entry.hash), now, now.replace(year=now.year + 1))
    keycards.add_entry(txn, ORGANIZATION, stored)
    preregistrations.preregister(txn, ADMIN, UserID.from_text("admin"), DOMAIN, CHEAP.hash(CODE))
    for alias in ("abuse", "support"):
        workspaces.add_name(txn, UserID.from_text(alias), DOMAIN, ADMIN, "alias")


def settle(txn: Transaction, person: Person, quota: int) -> None:
    """Give somebody an account, without the server."""
    user_id = None if person.user_id is None else UserID.from_text(person.user_id)
    preregistrations.preregister(txn, person.workspace, user_id, person.domain, "none")
    preregistrations.complete(
        txn,
        Preregistration(person.workspace, person.domain, "none"),
        Credentials(CHEAP.hash(person.password)),
        Presented(person.device, person.keys.public, None, "127.0.0.1"),
        quota,
    )


def make_config(directory: Path, parameters: Mapping[str, Any]) -> Config:
    """Configure a server on loopback.

    :param directory: has the organization's key, and the store in ``data``.
    :param parameters: how to reach the database.
    """
    return Config(
        path=directory / "serverconfig.toml",
        global_=GlobalTable(domain=DOMAIN, top_dir=directory / "data"),
        database=DatabaseTable(host=parameters["host"], name=parameters["dbname"], user=parameters["user"]),
        network=NetworkTable(listen=(parse_listener("tcp:0:interface=127.0.0.1"),)),
        security=SecurityTable(
            argon2_memory=8192, argon2_time=1, failure_delay_sec=0, max_recipients_per_minute=0
        ),
    )


class ServerTestCase(DatabaseTestCase):
    """A test with a running server.

    :ivar service: the server.
    :ivar organization: its keys.
    """

    service: MensagoService

    async def prepare(self) -> None:
        await self.establish()
        self.service = await self.serve(self.configure(self.base_config()))

    async def establish(self) -> None:
        """Make what a server needs before it starts."""
        self.directory = Path(os.path.abspath(self.mktemp()))
        (self.directory / "data").mkdir(parents=True)
        master = SecretKey.generate()
        (self.directory / "organization.key").write_text(f"{master.secret}\n")
        (self.directory / "organization.key").chmod(0o600)
        self.organization = OrganizationKeys()
        await self.database.run(found, self.organization, master)

    def base_config(self) -> Config:
        config = make_config(self.directory, self.parameters)
        if POOLED:
            config = evolve(config, cluster=ClusterTable(listen_url=self.way_around()))
        return config

    def way_around(self) -> Secret:
        """Say how hints reach PostgreSQL if not through a pooler."""
        return Secret(make_dsn(**self.direct()))

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

    async def client(self, port: int | None = None) -> ClientConnection:
        """Connect a client, cut off after the test."""
        client = await connect(clientFromString(reactor, f"tcp:127.0.0.1:{port or self.port}"))
        self.addCleanup(client.abort)
        return client

    async def register(self, client: ClientConnection, person: Person, code: str = CODE) -> None:
        await register_with_code(client, person.workspace, code, person.password, person.credentials)

    async def log_in(self, client: ClientConnection, person: Person) -> bool:
        """Log in; tell whether as the administrator."""
        key = self.organization.encryption.public
        result = await login.log_in(client, person.workspace, person.password, person.credentials, key)
        return result.is_admin

    async def admin(self) -> tuple[ClientConnection, Person]:
        client = await self.client()
        person = Person(ADMIN, "admin")
        await self.register(client, person)
        await self.log_in(client, person)
        return client, person

    async def member(self, admin: ClientConnection, user_id: str) -> tuple[ClientConnection, Person]:
        """Preregister, register and log in somebody."""
        made = await preregister(admin, user_id=UserID.from_text(user_id))
        person = Person(made.account.workspace, user_id)
        client = await self.client()
        await self.register(client, person, made.code)
        await self.log_in(client, person)
        return client, person

    async def settle(self, user_id: str | None = None, *, domain: Domain = DOMAIN, quota: int = 0) -> Person:
        """Make an account in the database; much faster than registering."""
        person = Person(WorkspaceID.random(), user_id, domain=domain)
        await self.database.run(settle, person, quota)
        return person

    async def enter(self, person: Person) -> ClientConnection:
        """Connect, and log in."""
        client = await self.client()
        await self.log_in(client, person)
        return client

    def open_stored_files(self) -> list[str]:
        """Give the files of the store that this process has open."""
        found = []
        for link in Path("/proc/self/fd").iterdir():
            with suppress(FileNotFoundError):  # it may have been closed meanwhile
                found.append(os.readlink(link))
        return [name for name in found if name.startswith(f"{self.directory}/data/")]

    async def rows(self, sql: str, *parameters: object) -> list[Any]:
        """Run a statement; give the rows that it returns."""

        def fetch(txn: Transaction) -> list[Any]:
            txn.execute(sql, parameters)
            return txn.fetchall()

        return await self.database.run(fetch)

    async def change(self, sql: str, *parameters: object) -> None:
        """Run a statement that returns nothing."""
        await self.database.run(lambda txn: txn.execute(sql, parameters))

    async def value(self, sql: str, *parameters: object) -> Any:
        """Run a statement that returns one value."""
        ((value,),) = await self.rows(sql, *parameters)
        return value
