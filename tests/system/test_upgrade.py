"""A server that is started with the database and the files of an earlier version."""

from typing import Any

from mensagod.contents.file_store import FileStore
from mensagod.contents.keys import ContentKey
from mensagod.storage.connections import connect
from tests.contents.contract import get
from tests.serving import ServerTestCase
from tests.storage.old_installation import OldInstallation, migrate_to_old


class UpgradeTests(ServerTestCase):
    """Schema 0007 and a tree of paths."""

    def make_template(self) -> str:
        return "template1"

    async def establish(self) -> None:
        """Make what the earlier version made."""
        connection = connect(self.parameters)
        self.addCleanup(connection.close)
        migrate_to_old(connection)
        await super().establish()
        self.old = OldInstallation(connection, self.directory / "data")
        self.old.make(2, 20, 0)

    async def test_contents(self) -> None:
        """When it listens, every file can be read from the content store."""
        rows: list[Any] = await self.rows(
            "SELECT files.workspace, name, key, day, contents.size, data FROM files JOIN contents"
            " ON contents.workspace = files.workspace AND key = content"
        )
        found = {(row.workspace, row.name): row for row in rows}
        store = FileStore(self.service.assembly.store.root)
        for old in self.old.files:
            row = found[old.owner, old.name]
            content = row.data
            if content is None:
                content = get(store, ContentKey(row.day, row.key), row.size)
            self.assertEqual(content, old.content)
        self.assertEqual(await self.value("SELECT store FROM installation"), store.read_id())
