"""One address looks up names on as many connections as it may have (spec 04, GETWID)."""

from mensagod.status import Status
from tests.conversations import request
from tests.system.connections import ConnectionTestCase, in_thread

SOURCE = "127.0.0.2"
CONNECTIONS = 99
LOOKUPS = 4


class LookupFloodTests(ConnectionTestCase):
    """Whoever waits for the limit of a source is answered, however many do."""

    async def test_all_answered(self) -> None:
        """A hundred of a minute are answered with the workspace, all others with 414."""
        await self.settle("bob")
        plugs = [await self.greeted(source=SOURCE) for _ in range(CONNECTIONS)]
        for plug in plugs:
            plug.send(request("GETWID", User_ID="bob") * LOOKUPS)
        statuses = []
        for plug in plugs:
            statuses += [answer.status for answer in await in_thread(plug.exchange, b"", LOOKUPS)]
        self.assertEqual(statuses.count(Status.OK), 100)
        self.assertEqual(statuses.count(Status.LIMIT_REACHED), CONNECTIONS * LOOKUPS - 100)
