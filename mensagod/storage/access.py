"""Which PostgreSQL a configuration means, and how to reach it (spec 06, *Database*)."""

from typing import Any

from mensagod.accounts import Account
from mensagod.config import Config
from mensagod.storage.connections import Description
from mensagod.storage.embedded import EmbeddedPostgres


def embedded_postgres(reactor: Any, config: Config, account: Account | None) -> EmbeddedPostgres:
    """Make the embedded PostgreSQL of a configuration; nothing is started."""
    binaries = config.database.embedded_binaries
    return EmbeddedPostgres(
        reactor,
        config.global_.top_dir / "postgresql",
        None if binaries is None else str(binaries),
        account,
        config.database.pool_max,
    )


def describe_database(config: Config) -> Description:
    """Tell how to reach a PostgreSQL that is not embedded."""
    database = config.database
    if database.url is not None:
        return database.url.reveal()
    password = {} if database.password is None else {"password": database.password.reveal()}
    named = {"host": database.host, "port": database.port, "dbname": database.name, "user": database.user}
    return {**named, **password}
