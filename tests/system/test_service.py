"""The service: its start, its stop, and a configuration that is read again (spec 06)."""

import os
import resource
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from docutils.core import publish_doctree
from docutils.nodes import literal_block
from twisted.internet import reactor
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.logger import capturedLogs, formatEvent

import twisted.plugins
from mensagod.config import Config
from mensagod.lifecycle.parts import ServicePart
from mensagod.lifecycle.periodic import Periodic
from mensagod.organization.keyring import KeyringFault
from mensagod.process.accounts import give, service_account
from mensagod.process.open_files import usable_clients
from mensagod.server.assembly import EXPIRY_SECONDS
from mensagod.server.preparing import check_domain
from mensagod.server.service import MensagoService
from mensagod.server.tap import assemble
from mensagod.status import Status
from mensagod.storage.connections import connect
from mensagod.values.identity import Domain
from mensagod.wire.messages import Response
from tests.conversations import request
from tests.directories import scratch_of
from tests.system.connections import ConnectionTestCase, in_thread
from tests.system.processes import ServerProcess
from tests.system.sockets import Plug
from tests.system.test_faults import OwnCluster
from tests.waiting import until

IDLE = request("IDLE")


class ReadAgainTests(ConnectionTestCase):
    """SIGHUP."""

    def read_again(self) -> list[str]:
        """Read the configuration again; give what was logged."""
        with capturedLogs() as events:
            self.service.read_again()
        return [formatEvent(event) for event in events]

    async def test_limits(self) -> None:
        """Changed limits hold at once; sessions go on."""
        client, person = await self.admin()
        self.write_configuration("max_clients_per_ip = 1", "max_request_size = 4096", "port = 2002")
        lines = self.read_again()
        self.assertIn("network.max_clients_per_ip has changed", lines)
        self.assertIn("network.port has changed, which needs a restart", lines)
        self.assertIn("configuration and certificates read again", lines)
        self.assertEqual(self.service.server.config.network.port, 2001)
        await client.request("EXISTS", {"Path": f"/ wsp {person.workspace}"}, Status.OK)
        plug = await self.plug()
        self.assertIn(b'"Code":303', await in_thread(plug.greeting))
        other = await self.greeted(source="127.0.0.2")
        self.assertEqual((await in_thread(other.ask, request("ECHO", A="x" * 4096))).status, 414)

    async def test_warnings(self) -> None:
        """What is odd about the configuration is in the log, and disturbs nobody who reads it."""
        self.write_configuration('listen = ["tcp:2001:interface=127.0.0.1"]', "port = 2002")
        lines = self.read_again()
        self.assertEqual(len([line for line in lines if "network.port has no effect" in line]), 1)
        self.assertEqual(self.flushLoggedErrors(), [])

    async def test_few_descriptors(self) -> None:
        """Where the limit of open files allows fewer clients than configured, the log says so."""
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, limits)
        resource.setrlimit(resource.RLIMIT_NOFILE, (1000, limits[1]))
        self.write_configuration()
        lines = self.read_again()
        usable = usable_clients(self.service.server.config)
        self.assertLess(usable, 1000)
        self.assertEqual(self.service.factory.limits.total, usable)
        start = f"only {usable} of the 10000 clients"
        self.assertEqual(len([line for line in lines if line.startswith(start)]), 1)

    async def test_broken(self) -> None:
        """A broken configuration is refused, with a line for each fault; the one before stays in force."""
        config = self.service.server.config
        self.write_configuration('max_clients_per_ip = "many"', "port = 99999999")
        lines = self.read_again()
        self.assertEqual(len([line for line in lines if "configuration not read again" in line]), 2)
        self.assertIs(self.service.server.config, config)
        (self.directory / "serverconfig.toml").unlink()
        self.assertEqual(len(self.read_again()), 1)
        self.assertIs(self.service.server.config, config)


class StartTests(ConnectionTestCase):
    """What a start refuses."""

    async def test_other_domain(self) -> None:
        """A database of another organization is not served."""
        config = self.service.server.config
        await check_domain(self.database, config.global_.domain)
        with self.assertRaisesRegex(KeyringFault, "the database belongs to example.com"):
            await check_domain(self.database, Domain.from_text("other.example"))


class StopTests(ConnectionTestCase):
    """SIGTERM."""

    async def test_running_command(self) -> None:
        """A running command is answered; nobody new comes in; then it ends."""
        busy, idle = await self.greeted(), await self.greeted()
        await in_thread(busy.send, request("HOLD"))
        await until(lambda: bool(self.held.gates))
        port = self.port
        stopping = self.service.stopService()
        self.assertTrue(await in_thread(idle.ends))
        await until(lambda: not self.service.listeners._ports)
        await self.assertFailure(in_thread(type(idle), port), ConnectionRefusedError)
        self.assertFalse(stopping.called)
        self.held.gates[0].callback(Response(Status.OK, "done"))
        self.assertEqual((await in_thread(busy.answer)).info, "done")
        self.assertTrue(await in_thread(busy.ends))
        await stopping

    async def test_part_that_fails(self) -> None:
        """A part that does not stop in good order keeps no other from it: the process could never end."""
        server = self.service.assembly
        parts = (
            (self.service.factory, "drain"),
            (server.delivery, "stopService"),
            (server.keys, "stopService"),
        )
        for part, name in parts:
            self.patch(part, name, Failing(getattr(part, name)))
        await self.service.stopService()
        self.assertEqual(
            [workers.running for workers in (server.files, server.password_checks, server.code_checks)],
            [0, 0, 0],
        )
        self.assertFalse(server.database.available)
        self.assertEqual(len(self.flushLoggedErrors(LookupError)), len(parts))


class ForgettingTests(ConnectionTestCase):
    """Expired rows."""

    async def test_removed(self) -> None:
        """Failures whose time is over, lookups and events are removed every ten seconds."""
        await self.change(
            "INSERT INTO failures (kind, source, expires) VALUES"
            " ('password', 'x', now() - interval '1 s'), ('device', 'x', now() + interval '1 h')"
        )
        await self.change("INSERT INTO lookups (source, since) VALUES ('x', now() - interval '1 h')")
        await self.change("UPDATE events SET at = at - interval '2 h'")
        self.assertEqual(await self.value("SELECT count(*) FROM events"), 1)
        services = [part.service for part in self.service.parts.parts if isinstance(part, ServicePart)]
        [forgetting] = [service for service in services if type(service) is Periodic]
        await forgetting.run()
        for table, left in (("failures", 1), ("lookups", 0), ("events", 0)):
            self.assertEqual(await self.value(f"SELECT count(*) FROM {table}"), left)
        self.assertEqual(EXPIRY_SECONDS, 10)


class Failing:
    """Does what it is to do, and fails then."""

    def __init__(self, work: Callable[[], object]):
        self.work = work

    async def __call__(self) -> None:
        await maybeDeferred(self.work)
        raise LookupError


class ProcessTests(ConnectionTestCase):
    """The server as a process of its own."""

    def mktemp(self) -> str:
        """Name a place that every account can reach."""
        return str(scratch_of(self, "process") / "home")

    async def serve(self, config: Config) -> MensagoService:
        """Start ``twistd`` beside the server of the test, and wait until it listens."""
        self.write_configuration(
            'listen = ["tcp:0:interface=127.0.0.1"]',
            "[database]",
            f'host = "{self.parameters["host"]}"',
            f'name = "{self.parameters["dbname"]}"',
            f'user = "{self.parameters["user"]}"',
        )
        if os.geteuid() == 0:
            give([self.directory], service_account("nobody"))
        self.twistd = ServerProcess(self.directory)
        self.addCleanup(self.twistd.kill)
        self.twistd.start()
        await self.twistd.listens()
        return await super().serve(config)

    @property
    def port(self) -> int:
        return self.twistd.port

    async def test_signals(self) -> None:
        """SIGHUP keeps sessions, a broken configuration too; SIGTERM ends it with status 0."""
        plug = await self.greeted()
        self.twistd.process.send_signal(signal.SIGHUP)
        await until(lambda: "configuration and certificates read again" in self.twistd.log.read_text())
        (self.directory / "serverconfig.toml").write_text("broken")
        self.twistd.process.send_signal(signal.SIGHUP)
        await until(lambda: "configuration not read again" in self.twistd.log.read_text())
        self.assertEqual((await in_thread(plug.ask, IDLE)).status, 200)
        self.twistd.process.send_signal(signal.SIGTERM)
        self.assertTrue(await in_thread(plug.ends))
        self.assertEqual(await in_thread(self.twistd.process.wait, 60), 0, self.twistd.log.read_text())


class Waiting:
    """A reactor that does not run yet."""

    def __init__(self) -> None:
        self.work: list[Callable[[], object]] = []

    def callWhenRunning(self, work: Callable[[], object]) -> None:
        self.work.append(work)


class EarlyClientTests(ConnectionTestCase):
    """Clients that come before the server is ready."""

    async def serve(self, config: Config) -> MensagoService:
        """Have a client connect between the binding and the start."""
        self.service = assemble(reactor, config, {})
        ready: Deferred[object] = Deferred()
        self.service.announce = ready.callback
        self.service.listeners.privilegedStartService()
        self.early = await self.plug()
        await in_thread(self.early.send, IDLE)
        self.service.startService()
        self.addCleanup(self.service.stopService)
        await ready
        return self.service

    async def test_served(self) -> None:
        """They wait in the backlog and are served then."""
        self.assertIn(b'"Code":200', await in_thread(self.early.greeting))
        self.assertEqual((await in_thread(self.early.answer)).status, 200)


class EarlyStartTests(ConnectionTestCase):
    """The start, before the reactor runs."""

    async def serve(self, config: Config) -> MensagoService:
        """Start with a reactor that does not run yet; keep what it is to do then."""
        self.service = assemble(reactor, config, {})
        self.service.announce = (ready := Deferred[object]()).callback
        self.service.listeners.privilegedStartService()
        self.service.reactor = Waiting()
        self.service.startService()
        begin, self.service.reactor = self.service.reactor.work, reactor
        self.addCleanup(self.service.stopService)
        self.assertIsNone(self.service._boot)
        begin[0]()
        await ready
        return self.service

    async def test_begins_when_signals_can_end_it(self) -> None:
        """Nothing is begun until the reactor runs, for nothing could end it before."""
        await self.greeted()


class LateDatabaseTests(ConnectionTestCase):
    """The database is away at the start."""

    def make_database(self) -> dict[str, object]:
        self.own = OwnCluster()
        self.addCleanup(self.own.remove)
        return self.own.parameters

    async def serve(self, config: Config) -> MensagoService:
        await self.database.stopService()
        await in_thread(self.own.stop)
        service = assemble(reactor, config, {})
        ready: Deferred[object] = Deferred()
        service.announce = ready.callback
        service.listeners.privilegedStartService()
        service.startService()
        self.addCleanup(service.stopService)
        await ready
        return service

    async def test_served(self) -> None:
        """Clients are told 303 until it comes; then they are served."""
        plug = await self.plug()
        self.assertIn(b'"Code":303', await in_thread(plug.greeting))
        self.assertTrue(await in_thread(plug.ends))
        await in_thread(self.own.start)
        await until(lambda: self.service.server.ready)
        await self.greeted()
        connect(self.own.parameters).close()


class InterruptedStartTests(LateDatabaseTests):
    """A server that is stopped before its database has come."""

    async def test_served(self) -> None:
        """It stops at once, and leaves nothing behind."""
        server = self.service.assembly
        self.assertTrue(server.database.running)
        port = self.port
        await self.service.stopService()
        self.assertIsNone(self.service.fault)
        running = (server.files, server.database, server.follower, server.keys, server.delivery)
        self.assertEqual([bool(part.running) for part in running], [False] * 5)
        await self.assertFailure(in_thread(Plug, port), ConnectionRefusedError)
        await in_thread(self.own.start)


def examples() -> list[str]:
    """Give the blocks of code of the guide to commands, in their order."""
    page = Path(__file__).parents[2] / "docs" / "howto" / "write-a-command.rst"
    return [block.astext() for block in publish_doctree(page.read_text()).findall(literal_block)]


class OwnCommandTests(ConnectionTestCase):
    """A command of the operator's, from a package of its own: the one of the guide."""

    async def prepare(self) -> None:
        parent = Path(self.mktemp()).absolute()
        plugins = parent / "twisted" / "plugins"
        plugins.mkdir(parents=True)
        package = parent / "weather"
        package.mkdir()
        command, dropin, *_ = examples()
        (package / "command.py").write_text(command)
        (plugins / "weather_commands.py").write_text(dropin)
        sys.path.insert(0, str(parent))
        self.addCleanup(sys.path.remove, str(parent))
        twisted.plugins.__path__.append(str(plugins))
        self.addCleanup(twisted.plugins.__path__.remove, str(plugins))
        for name in ("weather.command", "weather", "twisted.plugins.weather_commands"):
            self.addCleanup(sys.modules.pop, name)
        await super().prepare()

    async def test_works(self) -> None:
        """It is there from the next start on, like a built-in one."""
        plug = await self.greeted()
        self.assertEqual((await in_thread(plug.ask, request("FORECAST"))).status, 401)
        client, _ = await self.admin()
        answer = await client.request("FORECAST", {"Days": 3}, Status.OK)
        self.assertEqual(dict(answer.data), {"Forecast": "rain in 3 days"})
        answer = await client.request("FORECAST", {}, Status.BAD_REQUEST)
        self.assertEqual(answer.info, "Missing required field Days")
