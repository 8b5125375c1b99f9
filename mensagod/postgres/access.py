"""Which PostgreSQL a configuration means, and how to reach it (spec 06, *Database*)."""

import os
import stat
from pathlib import Path

from mensagod.config import Config
from mensagod.postgres.cluster import Cluster
from mensagod.process.accounts import Account, AccountError
from mensagod.storage.connections import Description


def embedded_cluster(config: Config, account: Account | None) -> Cluster:
    """Give the cluster of the embedded PostgreSQL of a configuration; nothing is made or started.

    :param account: whom it runs as if we are root.
    """
    binaries = config.database.embedded_binaries
    return Cluster(
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


def check_top_dir(top_dir: Path) -> None:
    """Make sure that the store can be in a directory.

    :raises AccountError: if not; one sentence with what to do.
    """
    try:
        if not stat.S_ISDIR(top_dir.stat().st_mode):
            reason = "it is no directory"
        elif not os.access(top_dir, os.R_OK | os.W_OK | os.X_OK):
            reason = "it is not open to the account that serves: give it to that account"
        else:
            return
    except OSError as error:
        reason = f"{error.strerror or error}: is its disk mounted?"
    raise AccountError(f"{top_dir}, which is global.top_dir, cannot be used: {reason}")
