"""A server behind a real HAProxy (spec 06, *Running many*)."""

import os
import shutil
import socket
import subprocess
import tempfile
import warnings
from pathlib import Path
from typing import Any

from twisted.logger import capturedLogs, formatEvent

from mensagod.operations.lookups import ALLOWANCE
from tests.conversations import request
from tests.system.connections import in_thread
from tests.system.sockets import Plug
from tests.system.test_proxy_header import BalancedTestCase
from tests.system.test_tls import trusting
from tests.waiting import until
from tests.wire.proxy_headers import header_for

HAPROXY = shutil.which("haproxy", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")

_CONFIGURATION = """
global
    stats socket {directory}/stats
defaults
    mode tcp
    timeout connect 10s
    timeout client 120s
    timeout server 120s
listen plain
    bind fd@{plain_socket}
    option tcp-check
    tcp-check expect string '"Code":200'
    server one 127.0.0.1:{plain} send-proxy-v2 check check-send-proxy inter 100ms
listen tls
    bind fd@{tls_socket}
    server one 127.0.0.1:{tls} send-proxy-v2
"""
MISS = request("GETWID", User_ID="nobody-has-this")


class BalancerTests(BalancedTestCase):
    """Clients at several addresses of this machine, all of them behind one balancer."""

    network = {"max_clients_per_ip": 2}

    async def prepare(self) -> None:
        await super().prepare()
        # The path of a Unix socket is short, and that of a checkout may be long.
        self.place = Path(tempfile.mkdtemp(prefix="mensagod-"))
        self.addCleanup(shutil.rmtree, self.place)
        doors = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
        self.doors = [door.getsockname()[1] for door in doors]
        path = self.place / "haproxy.cfg"
        path.write_text(
            _CONFIGURATION.format(
                directory=self.place,
                plain_socket=doors[0].fileno(),
                tls_socket=doors[1].fileno(),
                plain=self.port_of(0),
                tls=self.port_of(1),
            )
        )
        self.start(path, [door.fileno() for door in doors])
        for door in doors:
            door.close()

    def start(self, path: Path, doors: list[int]) -> None:
        """Start the balancer, killed after the test; it gets the sockets that its clients connect to."""
        command = [HAPROXY or "haproxy", "-db", "-f", str(path)]
        with (self.place / "log").open("wb") as log:
            balancer = subprocess.Popen(command, stdout=log, stderr=log, pass_fds=doors)
        self.addCleanup(balancer.wait, 30)
        self.addCleanup(balancer.kill)

    async def through(self, host: str, door: int = 0, **options: Any) -> Plug:
        """Connect a client that comes from ``host`` to the balancer."""
        plug = await in_thread(Plug, self.doors[door], source=host, **options)
        self.addCleanup(plug.close)
        return plug

    def state(self) -> str:
        """Ask the balancer what its check of the server has found."""
        with socket.socket(socket.AF_UNIX) as client:
            if client.connect_ex(str(self.place / "stats")):
                return ""
            client.sendall(b"show stat\n")
            text = client.makefile().read()
        names, *lines = [line.split(",") for line in text.splitlines() if line]
        [server] = [line for line in lines if line[:2] == ["plain", "one"]]
        return server[names.index("check_status")].removeprefix("* ")

    async def test_known_apart(self) -> None:
        """Each client is known by its own address, in plain and over TLS, whatever it claims."""
        forged = header_for("192.0.2.9")
        plain = await self.through("127.0.0.2")
        over_tls = await self.through("127.0.0.3", 1, context=trusting())
        for plug in (plain, over_tls):
            self.assertIn(b'"Code":200', await in_thread(plug.greeting))
        forger = await self.through("127.0.0.4", first=forged)
        self.assertIn(b'"Code":200', await in_thread(forger.greeting))
        self.assertLessEqual({"127.0.0.2", "127.0.0.3"}, set(self.hosts))
        self.assertNotIn("192.0.2.9", self.hosts)
        self.assertEqual((await in_thread(forger.answer)).status, 400)
        self.assertTrue(await in_thread(forger.ends))
        forger = await self.through("127.0.0.4", 1, first=forged)
        self.assertTrue(await in_thread(forger.ends))

    async def test_limit_of_connections(self) -> None:
        """The limit of connections is each client's own."""
        codes = []
        for host in ("127.0.0.2", "127.0.0.2", "127.0.0.2", "127.0.0.3"):
            plug = await self.through(host)
            codes.append(b'"Code":200' in await in_thread(plug.greeting))
        self.assertEqual(codes, [True, True, False, True])

    async def test_lockout(self) -> None:
        """One client's wrong lookups lock that client out, and nobody else behind the same balancer."""
        culprit, neighbour = await self.through("127.0.0.2"), await self.through("127.0.0.3")
        for plug in (culprit, neighbour):
            await in_thread(plug.greeting)
        wrong = ALLOWANCE.misses.most
        answers = await in_thread(culprit.exchange, MISS * wrong, wrong)
        self.assertEqual([answer.status for answer in answers], [404] * (wrong - 1) + [405])
        again = await self.through("127.0.0.2")
        await in_thread(again.greeting)
        self.assertEqual((await in_thread(again.ask, MISS)).status, 407)
        self.assertEqual((await in_thread(neighbour.ask, MISS)).status, 404)
        await self.settle("somebody")
        found = request("GETWID", User_ID="somebody")
        self.assertEqual((await in_thread(neighbour.ask, found)).status, 200)

    async def test_health_checks(self) -> None:
        """The balancer's checks are greeted, and nothing of them is complained of."""
        with capturedLogs() as events:
            await until(lambda: self.state() == "L7OK")
        self.assertEqual([formatEvent(event) for event in events if event.get("event")], [])


if HAPROXY is None:
    # Debian's package has that name, and .ci/run installs it.
    warnings.warn("there is no haproxy here: nothing is tested behind a real balancer", stacklevel=1)
    del BalancerTests
