"""Preparing the database at the start: schema migration, and checks of domain and content store."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import psycopg2
from attrs import frozen
from twisted.internet.threads import deferToThread
from twisted.logger import Logger

from mensagod.contents.interfaces import IContentStore
from mensagod.organization import keycard
from mensagod.organization.keyring import KeyringFault
from mensagod.storage.connections import Connection, connect
from mensagod.storage.database import Database, DatabaseUnavailable
from mensagod.storage.installation import agree_on_store
from mensagod.storage.migrations import Preparation, Step, apply_all
from mensagod.storage.sqlstates import is_not_now
from mensagod.values.identity import Domain


@frozen
class Migration:
    """Brings the schema up to date.

    :ivar steps: all steps, read in advance because the server's account may not be able to read them.
    :ivar preparations: by the version of the step that needs it.
    """

    database: Database
    steps: Sequence[Step]
    preparations: Mapping[int, Preparation] = MappingProxyType({})

    _log = Logger(namespace="mensagod.service")

    async def run(self) -> None:
        """Apply the steps that the database lacks.

        :raises mensagod.storage.migrations.SchemaError: if the schema cannot be migrated.
        :raises psycopg2.OperationalError: while the database cannot be reached.
        :raises DatabaseUnavailable: while it refuses.
        """
        await deferToThread(self._apply)

    def _apply(self) -> None:
        """Apply the steps over a separate connection. Runs in a thread."""
        connection: Connection = connect(self.database.parameters)
        try:
            for step in apply_all(connection, self.steps, self.preparations):
                self._log.info("schema step {step} applied", step=step.file_name)
        except psycopg2.Error as error:
            if is_not_now(error.pgcode):
                raise DatabaseUnavailable(str(error).strip()) from error
            raise
        finally:
            connection.close()


async def check_domain(database: Database, domain: Domain) -> None:
    """Check that the configuration and the database belong to the same organization.

    :raises KeyringFault: if they do not, which ends the start.
    """
    entry = await database.read(keycard.current_entry)
    if entry.domain != domain:
        raise KeyringFault(
            f"the database belongs to {entry.domain}, but global.domain is {domain}: restore"
            " the right database, or correct global.domain"
        )


async def check_store(database: Database, store: IContentStore) -> None:
    """Check that the content store and the database belong together, and use no other store from now on.

    A database that knows no store yet gets to know this one.

    :raises WrongStore: if they do not belong together, which ends the start.
    """
    known = await database.run(agree_on_store, store, lambda: bool(store.list_days()))
    await deferToThread(store.require_id, known)
