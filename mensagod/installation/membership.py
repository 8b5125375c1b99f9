"""What a database says of the installation that it belongs to, for a process that wants to join it."""

from pathlib import Path
from uuid import UUID

from attrs import frozen

from mensagod.crypto.sealing import SecretKey
from mensagod.installation.faults import InstallationFault
from mensagod.organization.keycard import current_entry
from mensagod.organization.keyring import KeyringFault, choose_master
from mensagod.storage import installation, keys
from mensagod.storage.connections import Connection
from mensagod.storage.migrations import installed_steps, pending
from mensagod.storage.rows import Transaction, many, one
from mensagod.storage.transactions import transaction
from mensagod.values.identity import Domain


@frozen
class Membership:
    """An installation, by its database.

    :ivar extra_domains: the further domains in which it has workspaces or user IDs.
    :ivar store: the ID of its content store; ``None`` if the database does not know it yet.
    :ivar is_older: whether the start migrates its schema.
    """

    domain: Domain
    extra_domains: tuple[Domain, ...]
    store: UUID | None
    is_older: bool


def read_membership(connection: Connection, key: SecretKey, key_file: Path) -> Membership:
    """Check that a database can be used by a further process; it is only read.

    :param key: the key from ``organization.key``.
    :param key_file: where it was read, for the text of an error.
    :raises InstallationFault: if it has no installation, only reads, or ``key`` is not its key.
    :raises mensagod.storage.migrations.SchemaError: if its schema is newer than this program or changed, or
        its encoding is not UTF8.
    """
    steps = installed_steps()
    missing = pending(connection, steps)
    if len(missing) == len(steps):
        raise InstallationFault(
            "The database contains no Mensago server: give the database of the other processes, or run"
            " `mensagod init` for a new server"
        )
    with transaction(connection) as txn:
        _refuse_read_only(txn)
        domain = current_entry(txn).domain
        _check_key(txn, key, key_file)
        return Membership(domain, _extra_domains(txn, domain), _find_store(txn), bool(missing))


def _refuse_read_only(txn: Transaction) -> None:
    txn.execute("SELECT current_setting('transaction_read_only') = 'on' AS only_reads")
    if one(lambda row: bool(row.only_reads), txn):
        raise InstallationFault(
            "The database only reads, as a standby does: give the address at which it can be written"
        )
    txn.execute(
        "SELECT relname FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace"
        " WHERE relkind IN ('r', 'p') AND nspname = current_schema() AND NOT (has_table_privilege("
        "pg_class.oid, 'SELECT') AND has_table_privilege(pg_class.oid, 'INSERT') AND has_table_privilege("
        "pg_class.oid, 'UPDATE') AND has_table_privilege(pg_class.oid, 'DELETE')) ORDER BY relname"
    )
    closed = many(lambda row: str(row.relname), txn)
    if closed:
        raise InstallationFault(
            f"The database role may not change the table {closed[0]}: use the role of the other processes"
        )


def _check_key(txn: Transaction, key: SecretKey, key_file: Path) -> None:
    stored = keys.live_keys(txn)
    try:
        choose_master(stored, [key])
    except KeyringFault as fault:
        if not stored:
            raise
        raise InstallationFault(
            f"{key_file} does not decrypt the organization's private keys in this database: copy"
            " organization.key from another process of the installation, or give the right database"
        ) from fault


def _extra_domains(txn: Transaction, domain: Domain) -> tuple[Domain, ...]:
    txn.execute("SELECT domain FROM names UNION SELECT domain FROM workspaces ORDER BY domain")
    known = many(lambda row: Domain.from_text(row.domain), txn)
    return tuple(other for other in known if other != domain)


def _find_store(txn: Transaction) -> UUID | None:
    """Give the ID of the store; a schema of an earlier version has no place for it."""
    txn.execute("SELECT to_regclass('installation') IS NOT NULL AS has_table")
    return installation.find_store(txn) if one(lambda row: bool(row.has_table), txn) else None
