"""What an installation is like, as the database has it."""

import os
from pathlib import Path

from attrs import field, frozen

from mensagod.config import Config
from mensagod.crypto.passwords import PasswordHasher
from mensagod.installation.databases import connected
from mensagod.installation.founding import ADMINISTRATOR
from mensagod.keycards.entries import OrganizationEntry
from mensagod.postgres.access import describe_database, embedded_cluster
from mensagod.process.accounts import UnixAccount
from mensagod.storage import keycards, preregistrations, workspaces
from mensagod.storage.connections import Description
from mensagod.storage.rows import Transaction
from mensagod.values.identity import WorkspaceID


@frozen
class Overview:
    """What there is to say of an installation that begins.

    :ivar entry: the organization's current entry.
    :ivar admin: the administrator's workspace; ``None`` if it is archived.
    :ivar code_hash: of the code that the administrator has not used yet; ``None`` once it was.
    """

    entry: OrganizationEntry
    admin: WorkspaceID | None
    code_hash: str | None = field(repr=False)

    def unused_code(self, file: Path) -> str | None:
        """Give the code from a file if it still is the one to register with; remove or empty it if none is.

        Takes as long as a password check.
        """
        try:
            code = file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError):
            return None
        if self.code_hash is None:
            _remove_or_empty(file)
            return None
        return code if PasswordHasher(8192, 1, 1).verify(self.code_hash, code) else None


def _remove_or_empty(file: Path) -> None:
    try:
        file.unlink()
    except PermissionError:
        # Its directory is root's.
        os.truncate(file, 0)


def read_overview(config: Config, account: UnixAccount | None = None) -> Overview:
    """Read it from a database that runs; blocks.

    :raises mensagod.installation.faults.InstallationFault: if it cannot be reached.
    """
    with connected(_describe(config, account)) as connection, connection, connection.cursor() as cursor:
        return _read(Transaction(cursor), config)


def _describe(config: Config, account: UnixAccount | None) -> Description:
    if config.database.embedded:
        return embedded_cluster(config, account).connection
    return describe_database(config)


def _read(txn: Transaction, config: Config) -> Overview:
    [stored] = keycards.list_entries(txn, keycards.ORGANIZATION, 0, None)
    entry = OrganizationEntry.from_text(stored.text)
    domain = config.global_.domain
    waiting = preregistrations.find_by_name(txn, ADMINISTRATOR, domain)
    if waiting is not None:
        return Overview(entry, waiting.workspace, waiting.code_hash)
    return Overview(entry, workspaces.find_registered(txn, ADMINISTRATOR, domain), None)
