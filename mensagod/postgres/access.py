"""How to connect to the PostgreSQL of a configuration (spec 06, *Database*)."""

import os

from mensagod.config import Config
from mensagod.postgres.cluster import Cluster
from mensagod.process.accounts import UnixAccount
from mensagod.storage.connections import Description


def forget_environment() -> None:
    """Take libpq's variables out of our own environment: the embedded PostgreSQL is nowhere but in its place.

    libpq reads them for each connection, and for some, such as ``PGSERVICE`` and ``PGOPTIONS``, there is no
    other way to keep it from that. It has to be done before there are threads: to change the environment
    while another thread reads it is undefined.
    """
    for name in tuple(os.environ):
        if name.startswith("PG"):
            del os.environ[name]


def embedded_cluster(config: Config, account: UnixAccount | None) -> Cluster:
    """Give the cluster of a configuration's embedded PostgreSQL, without creating or starting it.

    From then on libpq's environment variables have no effect in this process (:func:`forget_environment`).

    :param account: the account that it runs as if this process is root.
    """
    forget_environment()
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
