"""Setting up an installation: configuration, keys, schema, root keycard, administrator (spec 06, ``init``).

If a step fails, everything that was made before is removed.
"""

import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from uuid import uuid4

import psycopg2
from attrs import field, frozen

from mensagod.config import Config, load
from mensagod.config.choices import Registration
from mensagod.config.listeners import Listener
from mensagod.config.toml import write_configuration
from mensagod.contents.store_id import STORE_ID, id_line
from mensagod.crypto.cryptostring import CryptoString
from mensagod.crypto.passwords import PasswordHasher
from mensagod.crypto.sealing import SecretKey
from mensagod.errors import BadValue
from mensagod.installation.certificates import certificate_names, make_self_signed, read_pins
from mensagod.installation.databases import one_line, open_database, refuse_data
from mensagod.installation.faults import BadChoice, InstallationFault
from mensagod.installation.reversible import ReversibleFiles
from mensagod.keycards.entries import OrganizationEntry
from mensagod.keycards.fields import check_client_name
from mensagod.keycards.making import OrganizationKeys, make_organization_root
from mensagod.operations.preregistration import NewAccount, RegistrationCode, preregister
from mensagod.organization.dns_records import Record, make_records, public_port
from mensagod.organization.key_file import write_organization_key
from mensagod.organization.keyring import protect
from mensagod.process.accounts import AccountError, UnixAccount, service_account
from mensagod.process.ownership import Ownership
from mensagod.storage import schema, workspaces
from mensagod.storage.connections import Connection
from mensagod.storage.installation import add_store
from mensagod.storage.keycards import ORGANIZATION, StoredEntry, add_entry
from mensagod.storage.keys import add_key
from mensagod.storage.migrations import SchemaError, apply_next, read_steps
from mensagod.storage.rows import SYNCHRONOUS, Transaction
from mensagod.values.identity import SERVER_WORKSPACE, Domain, UserID, WAddress, WorkspaceID

ADMINISTRATOR: Final = UserID.from_text("admin")
"""The administrator's user ID, in the main domain (spec 02, *User IDs*)."""

ALIASES: Final = tuple(map(UserID.from_text, ("abuse", "support")))
"""The administrator's aliases in every domain."""

_OUR_DIRECTORIES: Final = ("content", "wsp", "out", "tmp", "keys")


@frozen(kw_only=True)
class Choices:
    """The operator's choices.

    :ivar config: the configuration file to write.
    :ivar top_dir: absolute, or relative to that file; ``None`` for the default.
    :ivar listen: the listeners; empty for the default.
    :ivar database_url: ``None`` if ``embedded`` is true or the environment sets the database.
    """

    config: Path
    domain: Domain
    organization: str
    top_dir: Path | None = None
    listen: tuple[Listener, ...] = ()
    embedded: bool = False
    database_url: str | None = field(default=None, repr=False)
    registration: Registration = Registration.PRIVATE
    admin: WorkspaceID = field(factory=WorkspaceID.random)

    def check(self) -> None:
        """Check the choices before anything is made.

        :raises BadChoice: if one is not allowed.
        """
        try:
            self.organization.encode("utf-8")
            check_client_name(self.organization)
        except (BadValue, UnicodeEncodeError) as error:
            raise BadChoice(f"The organization's name is not allowed: {error}") from error
        if self.admin == SERVER_WORKSPACE:
            raise BadChoice("The administrator's workspace ID must not be all zeros")
        if self.embedded and self.database_url is not None:
            raise BadChoice("Only one of --embedded and --database-url is allowed")

    def document(self) -> bytes:
        """Give the text of the configuration file; raise :class:`BadChoice` for a value it cannot contain."""
        try:
            text = write_configuration(
                {
                    "global.domain": self.domain,
                    "global.top_dir": self.top_dir,
                    "global.registration": self.registration,
                    "database.embedded": self.embedded or None,
                    "database.url": self.database_url,
                    "network.listen": self.listen or None,
                }
            )
        except BadValue as error:
            raise BadChoice(str(error)) from error
        return text.encode("utf-8")


@frozen
class Founded:
    """A new installation."""

    config: Config
    admin: WorkspaceID
    registration: RegistrationCode
    entry: OrganizationEntry
    pins: tuple[CryptoString, ...]

    @property
    def code(self) -> str:
        """The administrator's registration code; the database contains only its hash."""
        return self.registration.text

    @property
    def records(self) -> list[Record]:
        """The DNS records to publish."""
        port = public_port(self.config.network.endpoints)
        return make_records(self.entry, self.config.global_.domains, self.pins, port)


def found(choices: Choices, environ: Mapping[str, str]) -> Founded:
    """Set up an installation; blocks, for seconds if it creates a database cluster.

    :param environ: as for :func:`mensagod.config.load`.
    :raises BadChoice: if a choice is not allowed.
    :raises mensagod.config.ConfigFaults: if the choices and the environment contradict each other.
    :raises InstallationFault: if the machine or the database does not allow it.
    """
    choices.check()
    document = choices.document()
    files = ReversibleFiles()
    try:
        return _found(choices, document, environ, files)
    except (psycopg2.Error, SchemaError) as error:
        raise InstallationFault(f"The database reported an error: {one_line(error)}") from error
    except OSError as error:
        raise InstallationFault(explain_disk(error)) from error
    except AccountError as error:
        raise InstallationFault(str(error)) from error
    finally:
        files.remove()


def explain_disk(error: OSError) -> str:
    """Say what kept the files of an installation from being made, and what to do."""
    reason = f"{error.filename or 'The disk'}: {error.strerror or error}"
    if not isinstance(error, PermissionError):
        return reason
    return f"{reason}: run the command as root, or choose other places with --config and --top-dir"


def _found(choices: Choices, document: bytes, environ: Mapping[str, str], files: ReversibleFiles) -> Founded:
    path = choices.config.absolute()
    refuse_existing(path)
    files.directory(path.parent, 0o755)
    files.file(path, document)
    # Not from the file: root must not obey what others may have put in its place.
    config = load(path, environ, text=document.decode("utf-8"))
    refuse_existing(config.organization_key)
    _check_top_dir(config)
    files.account = account_of(config)
    files.hand_over(path)
    files.directory(config.global_.top_dir, 0o700)
    files.give(config.global_.top_dir)
    _make_certificate(config, files)
    files.tree(config.global_.top_dir / "postgresql")
    with open_database(config, files.account) as connection:
        return _establish(choices, config, connection, files)


def _establish(choices: Choices, config: Config, connection: Connection, files: ReversibleFiles) -> Founded:
    """Write all rows in one transaction, and ``store-id`` and ``organization.key`` just before the commit."""
    master, keys = SecretKey.generate(), OrganizationKeys()
    admin = WAddress(choices.admin, config.global_.domain)
    contacts = dict.fromkeys(("Contact-Abuse", "Contact-Support"), str(admin))
    now = datetime.now(UTC)
    entry = make_organization_root(keys, choices.organization, admin.domain, admin, now=now, more=contacts)
    security = config.security
    hasher = PasswordHasher(security.argon2_memory, security.argon2_time, security.argon2_parallelism)
    code = RegistrationCode.make(hasher, security.diceware_wordcount)
    founded = Founded(config, choices.admin, code, entry, tuple(read_pins(config)))
    with connection, connection.cursor() as cursor:
        txn = Transaction(cursor, SYNCHRONOUS)
        refuse_data(connection, txn)
        _migrate(txn)
        # Again, now under the lock of migrations: another process may have set a server up meanwhile.
        refuse_data(connection, txn)
        for pair in (keys.primary, keys.encryption):
            add_key(txn, protect(pair, master))
        _add_rows(txn, founded)
        _make_store(txn, config, files)
        files.file(config.organization_key, write_organization_key(master))
    files.keep()
    return founded


def _make_store(txn: Transaction, config: Config, files: ReversibleFiles) -> None:
    """Give the content store and the database the same ID."""
    store = uuid4()
    add_store(txn, store)
    files.file(config.global_.top_dir / STORE_ID, id_line(store), Ownership.private_to(files.account))


def _migrate(txn: Transaction) -> None:
    steps = read_steps(schema.DIRECTORY)
    while apply_next(txn, steps) is not None:
        continue


def _add_rows(txn: Transaction, founded: Founded) -> None:
    entry, config = founded.entry, founded.config
    add_entry(txn, ORGANIZATION, StoredEntry.of(entry))
    admin = NewAccount(workspace=founded.admin, user_id=ADMINISTRATOR, domain=config.global_.domain)
    preregister(txn, admin, founded.registration)
    for domain in config.global_.domains:
        for alias in ALIASES:
            workspaces.add_name(txn, alias, domain, founded.admin, "alias")


def _make_certificate(config: Config, files: ReversibleFiles) -> None:
    """Make a self-signed certificate for ``tls:`` listeners, unless there is a certificate."""
    pair = (config.network.tls_certificate, config.network.tls_key)
    if not any(listener.kind == "tls" for listener in config.network.endpoints):
        return
    there = [path for path in pair if os.path.lexists(path)]
    if len(there) == 1:
        [missing] = set(pair) - set(there)
        raise InstallationFault(f"{there[0]} exists, but {missing} does not: provide both files, or neither")
    if not there:
        made = make_self_signed(certificate_names(config), datetime.now(UTC))
        for path, content in zip(pair, (made.certificate, made.key), strict=True):
            files.directory(path.parent, 0o755)
            files.file(path, content)


def refuse_existing(path: Path) -> None:
    """Check that a file does not exist; raise :class:`InstallationFault` if it does."""
    if os.path.lexists(path):
        raise InstallationFault(
            f"{path} already exists and is not overwritten: choose another directory with --config"
        )


def _check_top_dir(config: Config) -> None:
    """Refuse a directory that is not empty, because everything in it will belong to the server's account."""
    top_dir = config.global_.top_dir
    if not top_dir.exists():
        return
    allowed = {"lost+found", *(("postgresql",) if config.database.embedded else ())}
    for member in sorted(top_dir.iterdir()):
        is_empty = member.name in _OUR_DIRECTORIES and not any(member.iterdir())
        if member.name not in allowed and not is_empty:
            raise InstallationFault(
                f"{top_dir} is not empty, it contains {member.name}: give an empty directory with --top-dir"
            )


def account_of(config: Config) -> UnixAccount | None:
    """Give the account that the server changes to; ``None`` if this process is not root."""
    return service_account(config.global_.user) if os.geteuid() == 0 else None
