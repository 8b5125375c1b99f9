"""An installation that is there, and its people."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from twisted.trial.unittest import SynchronousTestCase

from mensagod.config import Config
from mensagod.crypto.cryptostring import CryptoString
from mensagod.crypto.sealing import SecretKey
from mensagod.installation.founding import Founded, found
from mensagod.keycards.entries import OrganizationEntry, UserEntry
from mensagod.keycards.making import UserKeys, countersign, make_user_root, rotate_user, sign_user
from mensagod.organization.key_file import read_organization_key
from mensagod.organization.keycard import current_entry
from mensagod.organization.keyring import Keyring
from mensagod.storage import keycards, keys, workspaces
from mensagod.storage.rows import Transaction
from mensagod.values.identity import Domain, UserID, WorkspaceID
from tests.installation.places import ENVIRONMENT, choose, execute, fresh_database, make_directory

DOMAIN = Domain.from_text("example.com")


def sign_entry(txn: Transaction, master: SecretKey, base: UserEntry, pairs: UserKeys) -> UserEntry:
    """Have the organization and its owner sign an entry, and store it."""
    keyring = Keyring.from_stored(keys.usable_keys(txn), master)
    before = keycards.list_entries(txn, base.workspace, 0, None)
    previous = UserEntry.from_text(before[0].text) if before else None
    entry = sign_user(countersign(base, keyring.signing, current_entry(txn), previous), pairs)
    keycards.add_entry(txn, base.workspace, keycards.StoredEntry.of(entry))
    return entry


class InstalledTestCase(SynchronousTestCase):
    """A test with an installation whose server does not run."""

    founded: Founded
    config: Config

    def setUp(self) -> None:
        self.directory = make_directory(self)
        self.parameters = fresh_database(self)
        host = quote(self.parameters["host"], safe="")
        url = f"postgresql://test@/{self.parameters['dbname']}?host={host}"
        self.founded = found(choose(self.directory, url), ENVIRONMENT)
        self.config = self.founded.config
        self.key_file: Path = self.config.organization_key

    @property
    def master(self) -> SecretKey:
        return read_organization_key(self.key_file)

    def do(self, interaction: Any, *args: Any) -> Any:
        """Run an interaction in a transaction of its own."""
        return execute(self.parameters, interaction, *args)

    def keyring(self, master: SecretKey | None = None) -> Keyring:
        return Keyring.from_stored(self.do(keys.usable_keys), master or self.master)

    def card(self) -> list[OrganizationEntry]:
        entries = self.do(keycards.list_entries, keycards.ORGANIZATION, 1, None)
        return [OrganizationEntry.from_text(entry.text) for entry in entries]

    def kept(self) -> dict[str, set[CryptoString]]:
        """Give the public keys whose private ones are in the database, by their purpose."""
        found: dict[str, set[CryptoString]] = {"signing": set(), "encryption": set()}
        for key in self.do(keys.live_keys):
            found[key.purpose].add(key.public)
        return found

    def add_person(self, name: str, pairs: UserKeys | None = None) -> WorkspaceID:
        """Make a workspace with a name and a keycard."""
        workspace = WorkspaceID.random()
        pairs = pairs or UserKeys()

        def add(txn: Transaction) -> None:
            workspaces.add_preregistered(txn, workspace, DOMAIN)
            workspaces.add_name(txn, UserID.from_text(name), DOMAIN, workspace, "current")
            activate(txn, workspace)
            base = make_user_root(pairs, workspace, DOMAIN, datetime.now(UTC), {"User-ID": name})
            sign_entry(txn, self.master, base, pairs)

        self.do(add)
        return workspace

    def renew(self, workspace: WorkspaceID, old: UserKeys, new: UserKeys) -> None:
        """Add the next entry to somebody's keycard."""

        def add(txn: Transaction) -> None:
            [current] = keycards.list_entries(txn, workspace, 0, None)
            entry = UserEntry.from_text(current.text)
            base = rotate_user(entry, old.contact_signing, new, datetime.now(UTC))
            sign_entry(txn, self.master, base, new)

        self.do(add)


def activate(txn: Transaction, workspace: WorkspaceID) -> None:
    """Make a preregistered workspace one that can be found."""
    credentials = workspaces.Credentials("$argon2id$nobody", "", "", "")
    workspaces.activate(txn, workspace, credentials)
