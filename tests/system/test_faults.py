"""What goes wrong around a server: its database, its clients (spec 01, spec 06 *Database*)."""

import os
import resource
import shlex
import signal
import subprocess
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from twisted.internet.defer import gatherResults

from mensagod.config import Config
from mensagod.process.accounts import service_account
from mensagod.status import Status
from mensagod.storage import schema
from mensagod.storage.connections import connect
from mensagod.storage.migrations import migrate
from tests.conversations import request
from tests.databases import Cluster
from tests.system.connections import ConnectionTestCase, in_thread
from tests.system.sockets import Plug
from tests.waiting import until

IDLE = request("IDLE")
MANY = 5000


class OwnCluster:
    """A PostgreSQL for one test, which can stop and come back.

    :param settings: those that differ from those of most tests.
    """

    def __init__(self, settings: Mapping[str, str] | None = None) -> None:
        self.cluster = Cluster.start(settings or {})
        self.again: subprocess.Popen[bytes] | None = None
        connection = connect(self.parameters)
        try:
            migrate(connection, schema.DIRECTORY)
        finally:
            connection.close()

    @property
    def parameters(self) -> dict[str, Any]:
        return self.cluster.parameters("postgres")

    @property
    def data(self) -> Path:
        return self.cluster.directory / "data"

    def stop(self) -> None:
        """Stop PostgreSQL and wait until it is gone."""
        pid = int((self.data / "postmaster.pid").read_text().split()[0])
        subprocess.run(["kill", f"-{signal.SIGINT.value}", str(pid)], check=True)
        if self.again is not None:
            self.again.wait(30)
        while (self.data / "postmaster.pid").exists():
            subprocess.run(["sleep", "0.05"], check=True)

    def start(self) -> None:
        """Start it again."""
        command = shlex.split((self.data / "postmaster.opts").read_text())
        arguments = service_account("nobody").subprocess_arguments() if os.geteuid() == 0 else {}
        with (self.cluster.directory / "log").open("ab") as log:
            self.again = subprocess.Popen(command, stdout=log, stderr=log, cwd="/", **arguments)
        self.cluster.wait()

    def remove(self) -> None:
        if self.again is not None:
            self.again.send_signal(signal.SIGQUIT)
            self.again.wait(30)
        self.cluster.stop()


class DatabaseAwayTests(ConnectionTestCase):
    """PostgreSQL goes and comes back."""

    def make_database(self) -> dict[str, Any]:
        self.own = OwnCluster()
        self.addCleanup(self.own.remove)
        return self.own.parameters

    async def test_goes_and_comes(self) -> None:
        """303 in between, also in greetings; then all is as before, for the same session."""
        client, person = await self.admin()
        path = f"/ wsp {person.workspace}"
        await client.request("EXISTS", {"Path": path}, Status.OK)
        await in_thread(self.own.stop)
        answer = await client.request("EXISTS", {"Path": path}, Status.SERVER_UNAVAILABLE)
        self.assertNotIn("psycopg", answer.info)
        await client.request("IDLE", {}, Status.OK)
        await until(lambda: not self.service.assembly.database.available)
        plug = await self.plug()
        self.assertIn(b'"Code":303,"Status":"SERVER UNAVAILABLE"', await in_thread(plug.greeting))
        self.assertTrue(await in_thread(plug.ends))
        await in_thread(self.own.start)
        await until(lambda: self.service.assembly.database.available)
        await client.request("EXISTS", {"Path": path}, Status.OK)
        await self.greeted()


class ClientTests(ConnectionTestCase):
    """Clients that do not behave."""

    network = {"transfer_timeout": 1}

    async def test_half_a_frame(self) -> None:
        """Half a frame and silence is the end."""
        plug = await self.greeted()
        await in_thread(plug.send, IDLE[:10])
        self.assertTrue(await in_thread(plug.ends))

    async def test_never_reads(self) -> None:
        """A client that never reads is cut off, while others are served."""
        plug = await self.greeted(buffer=4096)
        other = await self.greeted()
        requests = b"".join(request("ECHO", A="x" * 40_000) for _ in range(1000))
        sending = self.assertFailure(in_thread(plug.send, requests), OSError)
        self.assertEqual((await in_thread(other.ask, IDLE)).status, 200)
        await sending
        self.assertEqual((await in_thread(other.ask, IDLE)).status, 200)
        await until(lambda: len(self.service.factory._connections) == 1)

    async def test_last_answer(self) -> None:
        """Who is still sending when the server has had enough gets the answer."""
        for _ in range(10):
            plug = await self.greeted()
            await in_thread(plug.send, b"\x33\x00\x0899999999" + bytes(200_000))
            self.assertEqual((await in_thread(plug.answer)).status, 414)
            self.assertTrue(await in_thread(plug.ends))


def memory() -> int:
    """How much this process has in memory, in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


class CrowdTests(ConnectionTestCase):
    """Very many clients."""

    # However long it takes until all are there.
    network = {"login_timeout": 0}

    def open_files(self) -> None:
        """Allow this process as many sockets as the test needs, for its time."""
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = 3 * MANY
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, max(hard, wanted)))
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, max(hard, wanted)))

    def configure(self, config: Config) -> Config:
        """Make room before the server counts how many clients it can have."""
        self.open_files()
        return super().configure(config)

    async def test_silent(self) -> None:
        """5,000 connections that say nothing are greeted and cost little; others are served meanwhile."""
        self.crowd: list[Plug] = []
        stack = ExitStack()
        self.addCleanup(stack.close)

        def gather(address: int) -> None:
            for _ in range(100):
                plug = Plug(self.port, source=f"127.0.1.{address}")
                stack.callback(plug.close)
                if b'"Code":200' not in plug.greeting():
                    raise AssertionError("not greeted")
                self.crowd.append(plug)

        client = await self.client()
        before = memory()
        await gatherResults([in_thread(gather, address) for address in range(1, MANY // 100 + 1)])
        self.assertEqual(len(self.service.factory._connections), MANY + 1)
        self.assertLess((memory() - before) / MANY, 30_000)
        for _ in range(20):
            await client.request("IDLE", {}, Status.OK)
        late = await self.plug(source="127.0.1.1")
        self.assertIn(b'"Code":303', await in_thread(late.greeting))
        stopping = self.service.stopService()
        self.assertTrue(await in_thread(lambda: all(plug.ends() for plug in self.crowd)))
        await stopping
        self.assertEqual(len(self.service.factory._connections), 0)
