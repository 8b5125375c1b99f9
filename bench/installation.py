"""Makes an installation and its database: ``python -m bench.installation DIRECTORY TCP-PORT TLS-PORT``.

The process makes all files below the directory, runs PostgreSQL as for users (fsync on) until its standard
input ends, and prints one line of JSON with the data that the load generators need.
"""

import os
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import time

from attrs import define, field
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from twisted.internet import threads
from twisted.internet.defer import Deferred
from twisted.internet.task import react
from twisted.python.filepath import FilePath

from bench.processes import tell
from mensagod.contents.file_store import FileStore
from mensagod.crypto.passwords import PasswordHasher
from mensagod.crypto.sealing import EncryptionPair, SecretKey
from mensagod.delivery.envelopes import seal_message
from mensagod.keycards.making import OrganizationKeys, make_organization_root
from mensagod.organization.keyring import protect
from mensagod.postgres.cluster import Cluster
from mensagod.postgres.embedded import EmbeddedPostgres
from mensagod.process.accounts import UnixAccount, give, service_account
from mensagod.storage import contents, devices, files, keycards, keys, mailboxes, schema, workspaces
from mensagod.storage.connections import connect
from mensagod.storage.contents import Content, Owned
from mensagod.storage.devices import Presented
from mensagod.storage.files import Arrival
from mensagod.storage.keycards import ORGANIZATION, StoredEntry
from mensagod.storage.mailboxes import Change
from mensagod.storage.migrations import migrate
from mensagod.storage.rows import Transaction
from mensagod.storage.workspaces import Credentials
from mensagod.values.identity import SERVER_DEVICE, DeviceID, Domain, UserID, WAddress, WorkspaceID
from mensagod.values.paths import FileName, ServerPath

DOMAIN = Domain.from_text("example.com")
MEMBERS = 16
DOWNLOAD_SIZE = 10 * 1024 * 1024
PASSWORD = "what the client makes of a password"
BODY = b'{"body": "%s"}' % (b"words " * 100)

CONFIGURATION = """\
[global]
domain = "{domain}"
top_dir = "{data}"

[database]
embedded = true

[network]
listen = ["tcp:{tcp}:interface=127.0.0.1", "tls:{tls}:interface=127.0.0.1"]
max_clients_per_ip = 0

[security]
argon2_memory = 8192
argon2_time = 1
max_recipients_per_minute = 0
"""


@define
class Person:
    """A user with one device."""

    name: str
    workspace: WorkspaceID = field(factory=WorkspaceID.random)
    device: DeviceID = field(factory=DeviceID.random)
    keys: EncryptionPair = field(factory=EncryptionPair.generate)

    @property
    def address(self) -> WAddress:
        """The address that messages go to."""
        return WAddress(self.workspace, DOMAIN)

    def settle(self, txn: Transaction, password_hash: str) -> None:
        """Store the user's account, mailbox and device."""
        workspaces.add_preregistered(txn, self.workspace, DOMAIN)
        workspaces.activate(txn, self.workspace, Credentials(password_hash))
        workspaces.add_name(txn, UserID.from_text(self.name), DOMAIN, self.workspace, "current")
        mailboxes.create(txn, self.workspace, 0)
        devices.register(
            txn, self.workspace, Presented(self.device, self.keys.public, None, address="127.0.0.1")
        )


@define
class Installation:
    """The files and the rows of the installation."""

    directory: Path
    account: UnixAccount | None
    organization: OrganizationKeys = field(factory=OrganizationKeys)
    master: SecretKey = field(factory=SecretKey.generate)
    people: list[Person] = field(factory=lambda: [Person(f"member{number}") for number in range(MEMBERS)])

    @property
    def data(self) -> Path:
        """The data directory of the server."""
        return self.directory / "data"

    def lay_out(self, tcp: int, tls: int) -> None:
        """Write the configuration, the keys and the certificate."""
        self.data.mkdir()
        text = CONFIGURATION.format(domain=DOMAIN, data=self.data, tcp=tcp, tls=tls)
        (self.directory / "serverconfig.toml").write_text(text)
        _private(self.directory / "organization.key", f"{self.master.secret}\n".encode())
        certificate, key = make_certificate()
        (self.directory / "tls.crt").write_bytes(certificate)
        _private(self.directory / "tls.key", key)

    def hand_over(self) -> None:
        """Give all files to the Unix account of the server."""
        if self.account is not None:
            give([self.directory], self.account)

    def fill(self, postgresql: EmbeddedPostgres) -> str:
        """Fill the database; blocks. Give the path of the file to download."""
        connection = connect(postgresql.connection)
        try:
            list(migrate(connection, schema.DIRECTORY))
            with connection, connection.cursor() as cursor:
                txn = Transaction(cursor)
                self._found(txn)
                path = self._place_file(txn)
                txn.execute("CREATE TABLE bench_limit (id uuid PRIMARY KEY, name text NOT NULL)")
        finally:
            connection.close()
        return str(path)

    def describe(self, path: str) -> dict[str, object]:
        """Give the data that the load generators need."""
        return {
            "organization_key": str(self.organization.encryption.public),
            "download": path,
            "people": [
                {
                    "name": person.name,
                    "workspace": str(person.workspace),
                    "device": str(person.device),
                    "public": str(person.keys.public),
                    "private": str(person.keys.private),
                    "message": self._message(person, self.people[number - 1]),
                }
                for number, person in enumerate(self.people)
            ],
        }

    def _found(self, txn: Transaction) -> None:
        for pair in (self.organization.primary, self.organization.encryption):
            keys.add_key(txn, protect(pair, self.master))
        now = datetime.now(UTC)
        entry = make_organization_root(
            self.organization, "Benchmark", DOMAIN, self.people[0].address, now=now
        )
        until = now + timedelta(days=365)
        keycards.add_entry(txn, ORGANIZATION, StoredEntry(1, entry.text, str(entry.hash), now, until))
        password_hash = PasswordHasher(8192, 1, 1).hash(PASSWORD)
        for person in self.people:
            person.settle(txn, password_hash)

    def _place_file(self, txn: Transaction) -> ServerPath:
        owner = self.people[0].workspace
        data = os.urandom(DOWNLOAD_SIZE)
        key = contents.begin_writing(txn, owner)
        writer = FileStore(FilePath(str(self.data))).write(key)
        writer.write(data)
        written = writer.finish()
        contents.end_writings(txn, [Owned(owner, key)])
        content = Content(key.id, written.size, written.hash, key.day)
        growth = Change(bytes=content.size, files=1, updates=1)
        number = mailboxes.change_locked(txn, owner, growth) or 0
        arrival = Arrival(owner, FileName.make(int(time()), content.size), content, number)
        files.add_delivered(txn, [arrival], SERVER_DEVICE)
        return arrival.path

    def _message(self, sender: Person, recipient: Person) -> str:
        key = self.organization.encryption.public
        return seal_message(
            BODY,
            sender.address,
            recipient.address,
            sender_org_key=key,
            recipient_org_key=key,
            recipient_key=recipient.keys.public,
            date=datetime.now(UTC),
        )


def make_certificate() -> tuple[bytes, bytes]:
    """Make a self-signed certificate for loopback and its key, both in PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, SHA256())
    )
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return certificate.public_bytes(Encoding.PEM), private


def _private(path: Path, content: bytes) -> None:
    path.touch(mode=0o600)
    path.write_bytes(content)


async def _keep(reactor: object, directory: str, tcp: str, tls: str) -> None:
    """Make the installation, and run its database until standard input ends."""
    account = service_account("mensagod") if os.geteuid() == 0 else None
    installation = Installation(Path(directory), account)
    installation.lay_out(int(tcp), int(tls))
    installation.hand_over()
    cluster = Cluster(installation.data / "postgresql", account=account, pool_max=40)
    postgresql = EmbeddedPostgres(reactor, cluster)
    await postgresql.start()
    try:
        path = await threads.deferToThread(installation.fill, postgresql)
        installation.hand_over()
        description = installation.describe(path)
        tell({**description, "database": postgresql.connection, "postgresql": _version(postgresql)})
        end: Deferred[str] = threads.deferToThread(sys.stdin.read)
        await end
    finally:
        await postgresql.stop()


def _version(postgresql: EmbeddedPostgres) -> str:
    connection = connect(postgresql.connection)
    try:
        number = connection.server_version
    finally:
        connection.close()
    return f"{number // 10000}.{number % 10000}"


if __name__ == "__main__":
    react(lambda *given: Deferred.fromCoroutine(_keep(*given)), sys.argv[1:])
