"""A server behind a real HAProxy (spec 06, *Running many*)."""

import warnings
from typing import Any

from twisted.logger import capturedLogs, formatEvent

from mensagod.operations.lookups import ALLOWANCE
from tests.conversations import request
from tests.system.balancing import HAPROXY, Balancer, configuration_of
from tests.system.connections import in_thread
from tests.system.sockets import Plug
from tests.system.test_proxy_header import BalancedTestCase
from tests.system.test_tls import trusting
from tests.waiting import until
from tests.wire.proxy_headers import header_for

_PLAIN = """
listen plain
    bind fd@{door}
    option tcp-check
    tcp-check expect string '"Code":200'
    server one 127.0.0.1:{port} send-proxy-v2 check check-send-proxy inter 100ms
"""
_TLS = """
listen tls
    bind fd@{door}
    server one 127.0.0.1:{port} send-proxy-v2
"""
MISS = request("GETWID", User_ID="nobody-has-this")


class BalancerTests(BalancedTestCase):
    """Clients at several addresses of this machine, all of them behind one balancer."""

    network = {"max_clients_per_ip": 2}

    async def prepare(self) -> None:
        await super().prepare()
        self.balancer = Balancer(self, 2)
        sections = [
            section.format(door=door, port=self.port_of(number))
            for number, (section, door) in enumerate(
                zip((_PLAIN, _TLS), self.balancer.descriptors, strict=True)
            )
        ]
        self.balancer.start(configuration_of(self.balancer, sections))

    async def through(self, host: str, door: int = 0, **options: Any) -> Plug:
        """Connect a client that comes from ``host`` to the balancer."""
        plug = await in_thread(Plug, self.balancer.doors[door], source=host, **options)
        self.addCleanup(plug.close)
        return plug

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
            await until(lambda: self.balancer.states("plain") == {"one": "L7OK"})
        self.assertEqual([formatEvent(event) for event in events if event.get("event")], [])


if HAPROXY is None:
    warnings.warn("there is no haproxy here: nothing is tested behind a real balancer", stacklevel=1)
    del BalancerTests
