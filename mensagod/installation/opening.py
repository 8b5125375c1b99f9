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
    """Connect to the database of an installation; start the embedded PostgreSQL if it does not run.

    Errors of keys, keycards, schema, database and disk within the context become :exc:`InstallationFault`.

    :raises BadChoice: if libpq cannot parse ``database.url``.
    :raises InstallationFault: if that fails; the text says what to do.
    """
    try:
        steps = installed_steps()
        with open_database(config, account_of(config)) as connection:
            if pending(connection, steps):
                raise InstallationFault(
                    "The schema of the database is older than this version of mensagod, or missing: start the"
                    " server once, which updates it"
                )
            yield connection
    except psycopg2.Error as error:
        raise InstallationFault(f"The database reported an error: {one_line(error)}") from error
    except OSError as error:
        raise InstallationFault(f"{error.filename or 'The disk'}: {error.strerror or error}") from error
    except (AccountError, KeyringFault, Overtaken, SchemaError) as error:
        raise InstallationFault(str(error)) from error
