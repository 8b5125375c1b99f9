"""An overview of an installation, read from its database."""

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
    """The organization and the administrator of an installation.

    :ivar entry: the organization's current entry.
    :ivar admin: the administrator's workspace; ``None`` if it is archived.
    :ivar code_hash: the hash of the administrator's registration code; ``None`` after it was used.
    """

    entry: OrganizationEntry
    admin: WorkspaceID | None
    code_hash: str | None = field(repr=False)

    def unused_code(self, file: Path) -> str | None:
        """Give the registration code in a file, if it has not been used; remove or empty the file if it has.

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
        # The directory belongs to root.
        os.truncate(file, 0)


def read_overview(config: Config, account: UnixAccount | None = None) -> Overview:
    """Read the overview from a running database; blocks.

    :raises mensagod.installation.faults.InstallationFault: if the database cannot be reached.
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
