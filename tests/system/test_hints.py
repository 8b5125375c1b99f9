"""What one server changes is told at another one on the same database (spec 06, *Running many*)."""

from statistics import median

from attrs import evolve
from psycopg2.extensions import make_dsn
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import Clock

from mensagod.client.connection import ClientConnection
from mensagod.config import Config, Secret
from mensagod.config.choices import Hints
from mensagod.config.tables import ClusterTable
from mensagod.sessions.who import LOOK_SECONDS
from mensagod.sharing.pg_hints import PgHints
from mensagod.status import Status
from tests.delivery.mail import MailTestCase
from tests.waiting import until

ROUNDS = 20
PROMISED_SECONDS = 1
SLACK_SECONDS = 2
"""The machine of a test may be busy."""


def now() -> float:
    return IReactorTime(reactor).seconds()


class HintsTestCase(MailTestCase):
    """Alice writes to Bob, who is logged in at the server that delivers, and at another one.

    :cvar hints: how the two work together.
    """

    hints = Hints.PG

    def configure(self, config: Config) -> Config:
        return evolve(config, cluster=evolve(config.cluster, hints=self.hints))

    async def introduce(self) -> None:
        await super().introduce()
        self.other = await self.serve(self.configure(self.base_config()))
        await self.other.assembly.delivery.stopService()
        for hints in (self.service.assembly.hints, self.other.assembly.hints):
            if isinstance(hints, PgHints):
                await until(lambda hints=hints: hints._reader is not None)  # type: ignore[misc]
        self.near = await self.enter(self.bob)
        self.far = await self.client(int(self.other.listeners.addresses[0].rpartition(":")[2]))
        await self.log_in(self.far, self.bob)
        for client in (self.near, self.far):
            # The first answer tells what happened until then.
            await self.count(client)

    async def count(self, client: ClientConnection) -> int:
        """Tell what the next answer says of updates."""
        answer = await self.assert_answer(client, "IDLE", {}, Status.OK)
        return int(answer.data.get("UpdateCount", 0))

    async def until_told(self, client: ClientConnection) -> float:
        """Ask until there is a count; give the time of that answer."""
        while not await self.count(client):
            pass
        return now()

    async def measure(self, rounds: int = ROUNDS) -> list[float]:
        """Deliver messages; give for each how much later it is told at the other server."""
        later = []
        for _ in range(rounds):
            await self.send()
            near, far = await gatherResults(
                [Deferred.fromCoroutine(self.until_told(client)) for client in (self.near, self.far)]
            )
            later.append(far - near)
        return later


class PgHintsTests(HintsTestCase):
    async def test_told(self) -> None:
        """With notifications each change is told within a second, and mostly much sooner."""
        later = await self.measure()
        self.assertLess(max(later), PROMISED_SECONDS + SLACK_SECONDS)
        self.assertLess(median(later), 0.3)

    async def test_lost(self) -> None:
        """Where a hint is lost the session looks by itself after a while."""
        await self.other.assembly.hints.stop()
        await self.send()
        await self.until_told(self.near)
        self.assertEqual(await self.count(self.far), 0)
        clock = Clock()
        clock.advance(now() + LOOK_SECONDS)
        self.other.server.reactor = clock
        self.assertEqual(await self.count(self.far), 1)
        self.assertEqual(await self.count(self.far), 0)

    async def test_connections_end(self) -> None:
        """What happens while no hints can be heard is told once they are again."""
        hints = self.other.assembly.hints
        assert isinstance(hints, PgHints)
        assert hints._reader is not None
        pid = hints._reader.connection._connection.info.backend_pid
        await self.change("SELECT pg_terminate_backend(%s)", pid)
        await self.send()
        await gatherResults(
            [Deferred.fromCoroutine(self.until_told(client)) for client in (self.near, self.far)]
        )


class PollHintsTests(HintsTestCase):
    hints = Hints.POLL

    async def test_told(self) -> None:
        """By asking, too, each change is told within a second."""
        self.assertLess(max(await self.measure()), PROMISED_SECONDS + SLACK_SECONDS)

    async def test_own_changes(self) -> None:
        """A change of the session's own is not told to it, and ends the asking for it no more than once."""
        await self.change("UPDATE mailboxes SET last_update = last_update + 1")
        await until(lambda: not self.other.assembly.sessions.unaware())
        self.assertEqual(await self.count(self.far), 0)
        self.assertNotEqual(self.other.assembly.sessions.unaware(), {})


class DirectConnectionTests(HintsTestCase):
    """The hints have a way to PostgreSQL of their own."""

    def configure(self, config: Config) -> Config:
        url = Secret(make_dsn(**self.direct(), application_name="direct"))
        return evolve(config, cluster=ClusterTable(listen_url=url))

    async def test_told(self) -> None:
        """It is what the configuration says, one for each process, and hints go there."""
        counting = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'direct'"
        self.assertEqual(await self.value(counting), 2)
        await self.send()
        await self.until_told(self.far)
