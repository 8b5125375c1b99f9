"""The complete configuration as immutable, typed values (spec 06, *Configuration*)."""

from pathlib import Path

import attrs
from attrs import Factory, field, frozen

from mensagod.config.keys import Key, keys_of
from mensagod.config.process_tables import LogTable, MetricsTable, PluginsTable
from mensagod.config.tables import (
    ClusterTable,
    DatabaseTable,
    FederationTable,
    GlobalTable,
    NetworkTable,
    PerformanceTable,
    SecurityTable,
)

DEFAULT_PATH = Path("/etc/mensagod/serverconfig.toml")
#: The file beside the configuration with the key that the organization's private keys are encrypted with.
ORGANIZATION_KEY = "organization.key"


@frozen(kw_only=True)
class Config:
    """The configuration. Every value is of its type and within its bounds.

    :func:`mensagod.config.load.load` makes it from a file. The constructor uses the defaults, and leaves
    relative paths relative.

    :ivar path: the configuration file.
    :ivar warnings: warnings for the operator, a line each; ignored in comparisons.
    """

    global_: GlobalTable
    database: DatabaseTable = Factory(DatabaseTable)
    network: NetworkTable = Factory(NetworkTable)
    performance: PerformanceTable = Factory(PerformanceTable)
    security: SecurityTable = Factory(SecurityTable)
    federation: FederationTable = Factory(FederationTable)
    cluster: ClusterTable = Factory(ClusterTable)
    log: LogTable = Factory(LogTable)
    metrics: MetricsTable = Factory(MetricsTable)
    plugins: PluginsTable = Factory(PluginsTable)
    path: Path = DEFAULT_PATH
    warnings: tuple[str, ...] = field(default=(), eq=False)

    @property
    def organization_key(self) -> Path:
        """The file with the key that the organization's keys are encrypted with (spec 06, *Files*)."""
        return self.path.parent / ORGANIZATION_KEY


#: The class of each table, by the name that the table has in the file.
TABLES: dict[str, type[attrs.AttrsInstance]] = {
    "global": GlobalTable,
    "database": DatabaseTable,
    "network": NetworkTable,
    "performance": PerformanceTable,
    "security": SecurityTable,
    "federation": FederationTable,
    "cluster": ClusterTable,
    "log": LogTable,
    "metrics": MetricsTable,
    "plugins": PluginsTable,
}

#: Every key, by ``table.key``, in the order of the tables.
KEYS: dict[str, Key] = {
    found.path: found for table, owner in TABLES.items() for found in keys_of(table, owner)
}


def attribute_of(table: str) -> str:
    """Give the attribute of :class:`Config` for a table; ``global`` is a keyword of Python."""
    return "global_" if table == "global" else table


def value_of(config: Config, key: Key) -> object:
    """Give the value that a key has in a configuration."""
    return getattr(getattr(config, attribute_of(key.table)), key.attribute)
