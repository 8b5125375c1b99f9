"""An installation that is there, opened for a verb: whether its server runs or not."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg2

from mensagod.config import Config
from mensagod.installation.databases import one_line, open_database
from mensagod.installation.faults import InstallationFault
from mensagod.installation.founding import account_of
from mensagod.organization.keycard import Overtaken
from mensagod.organization.keyring import KeyringFault
from mensagod.process.accounts import AccountError
from mensagod.storage.connections import Connection
from mensagod.storage.migrations import SchemaError, installed_steps, pending


@contextmanager
def open_installation(config: Config) -> Iterator[Connection]:
    """Connect to the database of an installation, with the embedded PostgreSQL started if it does not run.

    What keys, keycards, schema, database and disk have against what is done within becomes a fault.

    :raises BadChoice: if libpq does not understand ``database.url``.
    :raises InstallationFault: one sentence with what helps.
    """
    try:
        steps = installed_steps()
        with open_database(config, account_of(config)) as connection:
            if pending(connection, steps):
                raise InstallationFault(
                    "The database has the schema of an older mensagod, or none: start the server once,"
                    " which brings it up to date"
                )
            yield connection
    except psycopg2.Error as error:
        raise InstallationFault(f"The database refused: {one_line(error)}") from error
    except OSError as error:
        raise InstallationFault(f"{error.filename or 'The disk'}: {error.strerror or error}") from error
    except (AccountError, KeyringFault, Overtaken, SchemaError) as error:
        raise InstallationFault(str(error)) from error
