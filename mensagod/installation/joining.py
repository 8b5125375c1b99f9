"""Joining an installation: the configuration of one more process of it (spec 06, ``join``).

Everything is checked before anything is written. The database and the content store are only read. What is
written is the configuration and, beside it, a copy of ``organization.key``.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from uuid import UUID

import psycopg2
from attrs import field, frozen
from twisted.python.filepath import FilePath

from mensagod.config import Config, load
from mensagod.config.listeners import Listener
from mensagod.config.toml import write_configuration
from mensagod.contents.file_store import FileStore
from mensagod.contents.interfaces import WrongStore
from mensagod.contents.store_id import STORE_ID
from mensagod.crypto.sealing import SecretKey
from mensagod.errors import BadValue
from mensagod.installation.certificates import read_pins
from mensagod.installation.databases import connected, one_line
from mensagod.installation.faults import BadChoice, InstallationFault
from mensagod.installation.founding import account_of, explain_disk, refuse_existing
from mensagod.installation.membership import Membership, read_membership
from mensagod.installation.reversible import ReversibleFiles
from mensagod.organization.key_file import read_organization_key, write_organization_key
from mensagod.organization.keyring import KeyringFault
from mensagod.postgres.access import describe_database
from mensagod.postgres.directory import ClusterDirectory
from mensagod.process.accounts import AccountError, UnixAccount, acting_as
from mensagod.storage.connections import Connection
from mensagod.storage.migrations import SchemaError
from mensagod.values.identity import Domain

EMBEDDED: Final = (
    "The embedded PostgreSQL can be reached on its own machine only, and ends with the first process: move"
    " the database with pg_dump and pg_restore to a PostgreSQL server that all machines reach, set"
    " database.url of the first process to it, and give the same URL with --database-url"
)
"""Why an embedded database cannot be joined, and what to do."""

_CURE: Final = "mount the store of the other processes there, or name its directory with --top-dir"
_UNKNOWN: Final = Domain.from_text("invalid")


@frozen(kw_only=True)
class Joining:
    """The operator's choices.

    :ivar config: the configuration file to write.
    :ivar top_dir: absolute, or relative to that file; ``None`` for the default.
    :ivar listen: the listeners; empty for the default.
    :ivar database_url: ``None`` if the environment sets the database.
    :ivar organization_key: the file to copy ``organization.key`` from; ``None`` if it is in its place.
    """

    config: Path
    top_dir: Path | None = None
    listen: tuple[Listener, ...] = ()
    database_url: str | None = field(default=None, repr=False)
    organization_key: Path | None = None

    def document(self, domain: Domain, extra_domains: tuple[Domain, ...]) -> str:
        """Give the text of the configuration file; raise :class:`BadChoice` for a value it cannot contain."""
        try:
            return write_configuration(
                {
                    "global.domain": domain,
                    "global.extra_domains": extra_domains or None,
                    "global.top_dir": self.top_dir,
                    "database.url": self.database_url,
                    "network.listen": self.listen or None,
                }
            )
        except BadValue as error:
            raise BadChoice(str(error)) from error


@frozen
class Joined:
    """A process that can be started.

    :ivar membership: what its database says of the installation.
    """

    config: Config
    membership: Membership


def join(choices: Joining, environ: Mapping[str, str]) -> Joined:
    """Write the configuration of one more process; nothing is left of it if this fails.

    :param environ: as for :func:`mensagod.config.load`.
    :raises BadChoice: if a choice is not allowed.
    :raises mensagod.config.ConfigFaults: if the choices and the environment contradict each other.
    :raises InstallationFault: if database, store and key do not belong together, or cannot be used from here.
    """
    files = ReversibleFiles()
    try:
        return _join(choices, environ, files)
    except (psycopg2.Error, SchemaError) as error:
        raise InstallationFault(f"The database reported an error: {one_line(error)}") from error
    except OSError as error:
        raise InstallationFault(explain_disk(error)) from error
    except (AccountError, KeyringFault) as error:
        raise InstallationFault(str(error)) from error
    finally:
        files.remove()


def _join(choices: Joining, environ: Mapping[str, str], files: ReversibleFiles) -> Joined:
    path = choices.config.absolute()
    refuse_existing(path)
    # The domain comes from the database, which the rest says how to reach.
    draft = load(path, environ, text=choices.document(_UNKNOWN, ()))
    if draft.database.embedded:
        raise BadChoice(EMBEDDED)
    files.account = account_of(draft)
    key = _read_key(choices, draft, files.account)
    with connected(describe_database(draft)) as connection:
        _refuse_embedded(connection, draft)
        membership = read_membership(connection, key, choices.organization_key or draft.organization_key)
    document = choices.document(membership.domain, membership.extra_domains)
    config = load(path, environ, text=document)
    _check_domain(config, membership)
    _check_store(config, files.account, membership.store)
    _check_certificate(config, files.account)
    files.directory(path.parent, 0o755)
    files.file(path, document.encode("utf-8"))
    if not os.path.lexists(config.organization_key):
        files.file(config.organization_key, write_organization_key(key))
    files.keep()
    return Joined(config, membership)


def _read_key(choices: Joining, config: Config, account: UnixAccount | None) -> SecretKey:
    """Read the key; one that stays where it is with the rights of the account that the server becomes."""
    place, source = config.organization_key, choices.organization_key
    if source is not None and source.absolute() != place:
        if os.path.lexists(place):
            raise InstallationFault(
                f"{place} already exists and is not overwritten: leave --organization-key out to use it, or"
                " choose another directory with --config"
            )
        _refuse_missing(source)
        return read_organization_key(source)
    _refuse_missing(place)
    with acting_as(account):
        return read_organization_key(place)


def _refuse_missing(key: Path) -> None:
    if not os.path.lexists(key):
        raise InstallationFault(
            f"{key} is missing: copy organization.key from another process of the installation, and name the"
            " copy with --organization-key"
        )


def _refuse_embedded(connection: Connection, config: Config) -> None:
    """Refuse the socket of an embedded PostgreSQL, which runs only as long as its own process."""
    embedded = ClusterDirectory(config.global_.top_dir / "postgresql", None).socket_directory
    if Path(connection.info.host or "").resolve() == embedded.resolve():
        raise BadChoice(EMBEDDED)


def _check_domain(config: Config, membership: Membership) -> None:
    if config.global_.domain != membership.domain:
        raise BadChoice(
            f"The database belongs to {membership.domain}, but the environment sets global.domain to"
            f" {config.global_.domain}: remove MENSAGOD_GLOBAL__DOMAIN, or give another database"
        )


def _check_store(config: Config, account: UnixAccount | None, known: UUID | None) -> None:
    """Check that ``global.top_dir`` can be used, and is the store that the database knows.

    Nothing is written there, as a disk that is not mounted is found out by this.

    :param known: ``None`` if the database does not know its store yet.
    """
    top_dir = config.global_.top_dir
    with acting_as(account):
        found = _read_store(top_dir, account)
    if found == known:
        return
    if found is None:
        raise InstallationFault(
            f"{top_dir / STORE_ID} is missing, but the database belongs to the store {known}: {_CURE}"
        )
    whose = "does not know this store" if known is None else f"belongs to the store {known}"
    raise InstallationFault(f"{top_dir} is the store {found}, but the database {whose}: {_CURE}")


def _read_store(top_dir: Path, account: UnixAccount | None) -> UUID | None:
    if not os.access(top_dir, os.R_OK | os.W_OK | os.X_OK, effective_ids=True):
        raise InstallationFault(_explain_no_access(top_dir, account))
    try:
        return FileStore(FilePath(str(top_dir))).read_id()
    except NotADirectoryError:
        raise InstallationFault(
            f"{top_dir} is not a directory: name the store of the other processes with --top-dir"
        ) from None
    except WrongStore as error:
        if isinstance(error.__cause__, PermissionError):
            raise InstallationFault(_explain_no_access(top_dir / STORE_ID, account)) from None
        raise InstallationFault(str(error)) from error


def _explain_no_access(path: Path, account: UnixAccount | None) -> str:
    try:
        path.stat()
    except FileNotFoundError:
        return f"{path} does not exist: {_CURE}"
    except OSError:
        # What is above it cannot be passed, which has the same cure.
        pass
    return (
        f"{path} cannot be read and written by {_whom(account)}: the account needs the user ID and group ID"
        " that it has on the other machines"
    )


def _whom(account: UnixAccount | None) -> str:
    named = None if account is None else f"the server's account {account.name} (user ID {account.uid})"
    return named or "this account"


def _check_certificate(config: Config, account: UnixAccount | None) -> None:
    """Check that the certificate of the other processes is there: clients know its key from DNS."""
    if any(listener.kind == "tls" for listener in config.network.endpoints):
        for path in (config.network.tls_certificate, config.network.tls_key):
            with acting_as(account):
                is_readable = os.access(path, os.R_OK, effective_ids=True)
            if not is_readable:
                raise InstallationFault(
                    f"{path} is missing or cannot be read by {_whom(account)}: copy tls.crt and tls.key from"
                    " another process of the installation, because DNS says which key the certificate has"
                )
    read_pins(config)
