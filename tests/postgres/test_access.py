"""Which PostgreSQL a configuration means."""

import os
from collections.abc import Mapping
from pathlib import Path

from mensagod.config import Config
from mensagod.config.tables import DatabaseTable, GlobalTable
from mensagod.postgres.access import describe_database, embedded_cluster
from mensagod.storage.connections import connect
from mensagod.values.identity import Domain
from tests.postgres.test_embedded import EmbeddedTestCase

MISLEADING = {
    "PGSERVICE": "nowhere",
    "PGHOSTADDR": "127.0.0.1",
    "PGOPTIONS": "-c default_transaction_read_only=on",
    "PGSSLMODE": "verify-full",
    "PGTZ": "Nowhere/Land",
    "PGREQUIREAUTH": "scram-sha-256",
}


class EnvironmentTests(EmbeddedTestCase):
    """The variables of libpq in the environment."""

    def setUp(self) -> None:
        super().setUp()
        before = dict(os.environ)
        self.addCleanup(self.restore, before)
        os.environ.update(MISLEADING)

    def restore(self, environ: Mapping[str, str]) -> None:
        for name in MISLEADING:
            os.environ.pop(name, None)
        os.environ.update(environ)

    def config(self, *, embedded: bool) -> Config:
        return Config(
            path=Path("serverconfig.toml"),
            global_=GlobalTable(domain=Domain.from_text("example.com"), top_dir=self.directory.parent),
            database=DatabaseTable(embedded=embedded),
        )

    def test_embedded(self) -> None:
        """The embedded PostgreSQL takes nothing from them."""
        cluster = embedded_cluster(self.config(embedded=True), self.account)
        self.addCleanup(cluster.stop)
        cluster.start()
        connection = connect(cluster.connection)
        with connection, connection.cursor() as cursor:
            cursor.execute("SELECT current_setting('default_transaction_read_only')")
            self.assertEqual(cursor.fetchone(), ("off",))
        connection.close()

    def test_external(self) -> None:
        """For a database of the operator's they count as ever."""
        describe_database(self.config(embedded=False))
        self.assertEqual({name: os.environ.get(name) for name in MISLEADING}, MISLEADING)
