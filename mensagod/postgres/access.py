"""How to connect to the PostgreSQL of a configuration (spec 06, *Database*)."""

from mensagod.config import Config
from mensagod.postgres.cluster import Cluster
from mensagod.process.accounts import UnixAccount
from mensagod.storage.connections import Description


def embedded_cluster(config: Config, account: UnixAccount | None) -> Cluster:
    """Give the cluster of a configuration's embedded PostgreSQL, without creating or starting it.

    :param account: the account that it runs as if this process is root.
    """
    binaries = config.database.embedded_binaries
    return Cluster(
        config.global_.top_dir / "postgresql",
        None if binaries is None else str(binaries),
        account,
        config.database.pool_max,
    )


def describe_database(config: Config) -> Description:
    """Give the connection parameters of a PostgreSQL that is not embedded."""
    database = config.database
    if database.url is not None:
        return database.url.reveal()
    password = {} if database.password is None else {"password": database.password.reveal()}
    named = {"host": database.host, "port": database.port, "dbname": database.name, "user": database.user}
    return {**named, **password}
