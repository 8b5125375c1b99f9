"""One address asks for more password checks than the server can do (spec 04, PASSWORD)."""

import threading
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from attrs import evolve
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import clientFromString

from mensagod.client.connection import ClientConnection, connect
from mensagod.client.errors import Disconnected
from mensagod.config import Config
from mensagod.status import Status
from mensagod.threads.fair_queue import Client
from mensagod.threads.pool import WorkerPool
from mensagod.wire.messages import Response
from tests.commands.cases import CommandTestCase
from tests.serving import Person
from tests.waiting import until

P = ParamSpec("P")
T = TypeVar("T")

FLOOD = "127.0.0.2"
HONEST = "127.0.0.1"
CONNECTIONS = 4
ROUNDS = 10


class WatchedCrew(WorkerPool):
    """Notes whose checks are asked for and begun; none ends before :attr:`gate` is open."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.asked: list[str] = []
        self.begun: list[str] = []
        self.gate = threading.Event()

    async def run_for(self, client: Client, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        def check() -> T:
            self.begun.append(client.source)
            self.gate.wait()
            return work(*args, **kwargs)

        self.asked.append(client.source)
        return await super().run_for(client, check)


class LoginFloodTests(CommandTestCase):
    """Logins from another address wait behind the checks that run, and no others."""

    def configure(self, config: Config) -> Config:
        return evolve(config, security=evolve(config.security, max_password_checks=1))

    async def prepare(self) -> None:
        await super().prepare()
        self.alice = await self.settle("alice")
        self.workers = WatchedCrew(reactor, "watched", 1)
        self.workers.startService()
        self.addCleanup(self.workers.stopService)
        self.addCleanup(self.workers.gate.set)
        self.service.assembly.password_checks.stopService()
        self.service.server.password_checks = self.workers

    async def try_passwords(self, count: int) -> list[tuple[ClientConnection, Deferred[Response]]]:
        """Come from the other address with wrong passwords, whose checks are asked for and not waited for."""
        before = len(self.workers.asked)
        tries = [self.try_password() for _ in range(count)]
        made = await gatherResults([Deferred.fromCoroutine(one) for one in tries])
        await until(lambda: len(self.workers.asked) == before + count)
        return made

    async def try_password(self) -> tuple[ClientConnection, Deferred[Response]]:
        endpoint = clientFromString(reactor, f"tcp:127.0.0.1:{self.port}:bindAddress={FLOOD}")
        client = await connect(endpoint)
        self.addCleanup(client.abort)
        login = client.request("LOGIN", self.login_fields(self.alice), Status.CONTINUE)
        wrong = {"Password-Hash": "wrong" * 4}
        answer = client.request("PASSWORD", wrong, Status.SERVER_UNAVAILABLE, Status.AUTHENTICATION_FAILURE)
        await login
        return client, answer

    async def assert_login(self, person: Person) -> None:
        """Log in from the usual address once the gate opens, behind no check that was not running."""
        client = await self.client()
        login = Deferred.fromCoroutine(self.log_in(client, person))
        await until(lambda: HONEST in self.workers.asked)
        self.workers.gate.set()
        await login
        self.assertEqual(self.workers.begun[:2], [FLOOD, HONEST])

    async def test_come_and_go(self) -> None:
        """Clients that ask and hang up, four at a time: their checks are not even made."""
        for _ in range(ROUNDS):
            for client, answer in await self.try_passwords(CONNECTIONS):
                client.abort()
                await self.assertFailure(answer, Disconnected)
            await until(lambda: self.service.factory.limits.count == 0)
        await self.assert_login(self.alice)
        self.assertEqual(self.workers.begun, [FLOOD, HONEST])

    async def test_stay(self) -> None:
        """Many clients that stay: a few wait, behind others' logins; the rest is refused at once."""
        tries = await self.try_passwords(40)
        await until(lambda: sum(answer.called for _, answer in tries) == 40 - 1 - 16)
        await self.assert_login(self.alice)
        answers = await gatherResults([answer for _, answer in tries])
        statuses = [answer.status for answer in answers]
        self.assertEqual(statuses.count(Status.SERVER_UNAVAILABLE), 40 - 1 - 16)
        self.assertEqual(self.workers.begun, [FLOOD, HONEST] + [FLOOD] * 16)
