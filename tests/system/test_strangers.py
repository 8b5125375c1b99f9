"""What strangers ask the database for, beside those who have logged in (spec 06, *Database*)."""

from twisted.internet.defer import gatherResults

from mensagod.client.files import list_files, select
from mensagod.status import Status
from mensagod.values.paths import ServerPath
from tests.commands.cases import CommandTestCase
from tests.waiting import until


class StrangersTests(CommandTestCase):
    async def test_locked_table(self) -> None:
        """Lookups of strangers that wait for a locked table keep nobody from his files."""
        alice = await self.settle("alice")
        client = await self.enter(alice)
        clients = [await self.client() for _ in range(14)]
        with self.connect() as beside, beside.cursor() as cursor:
            cursor.execute("LOCK failures")
            lookups = [
                stranger.request("GETWID", {"User-ID": "alice"}, Status.OK, Status.LIMIT_REACHED)
                for stranger in clients
            ]
            database = self.service.assembly.database
            await until(lambda: len(database._running) >= len(lookups))
            await select(client, ServerPath.from_text(f"/ wsp {alice.workspace} new"))
            self.assertEqual(await list_files(client), [])
            self.assertFalse(any(lookup.called for lookup in lookups))
        answers = await gatherResults(lookups)
        self.assertEqual({answer.status for answer in answers}, {Status.OK})
