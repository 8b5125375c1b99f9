"""Several server processes behind one HAProxy, one of them killed under load (spec 06, *Running many*)."""

import warnings
from random import Random

from twisted.internet import reactor
from twisted.internet.task import deferLater

from tests.system.balancing import HAPROXY, Balancer, configuration_of
from tests.system.correspondence import Correspondence, now
from tests.system.processes import ProcessTestCase, ServerProcess
from tests.waiting import until

PEOPLE = 8
PROMISED_SECONDS = 15
SLACK_SECONDS = 5
"""The machine of a test may be busy."""

_SECTION = """
listen servers
    bind fd@{door}
    balance roundrobin
    retries 3
    option redispatch 1
    option tcp-check
    tcp-check expect string '"Code":200'
    default-server send-proxy-v2 check check-send-proxy inter 100ms fall 1 rise 1
"""


class TwoProcessTests(ProcessTestCase):
    """Two processes.

    :cvar count: how many there are.
    """

    count = 2

    def network_lines(self) -> list[str]:
        listener = '["tcp:0:interface=127.0.0.1"]'
        return [f"listen = {listener}", f"proxy_protocol = {listener}"]

    async def prepare(self) -> None:
        await super().prepare()
        self.servers = [self.process(f"log-{number}") for number in range(self.count)]
        for server in self.servers:
            await server.listens()
        self.balancer = Balancer(self)
        [door] = self.balancer.descriptors
        lines = [f"    server s{number} 127.0.0.1:{one.port}" for number, one in enumerate(self.servers)]
        section = "\n".join([_SECTION.format(door=door), *lines])
        self.balancer.start(configuration_of(self.balancer, [section]))
        await until(lambda: list(self.balancer.states("servers").values()) == ["L7OK"] * self.count)

    async def workspaces_at(self, server: ServerProcess) -> set[object]:
        """Tell whose sessions a process has."""
        rows = await self.rows(
            "SELECT workspace FROM sessions JOIN processes ON processes.id = process WHERE name LIKE %s",
            f"%:{server.process.pid}",
        )
        return {row.workspace for row in rows}

    async def test_killed(self) -> None:
        """All that was acknowledged arrives once, and in time; who was elsewhere notices nothing."""
        mail = Correspondence(self, lambda: self.balancer.doors[0], Random())
        await mail.begin(PEOPLE)
        await mail.until_acknowledged(10 * PEOPLE)
        victim, *others = self.servers
        here = await self.workspaces_at(victim)
        elsewhere = set.union(*[await self.workspaces_at(server) for server in others])
        self.assertEqual((len(here), len(elsewhere)), (PEOPLE // self.count, PEOPLE - PEOPLE // self.count))
        killed = now()
        victim.kill()
        await mail.until_acknowledged(10 * PEOPLE)
        await deferLater(reactor, 1)
        await mail.end()
        await mail.settled(2 * PROMISED_SECONDS)
        self.assertLess(now() - killed, PROMISED_SECONDS + SLACK_SECONDS)
        self.assertEqual(await mail.faults(), [])
        lost = {one.person.workspace.uuid: one.losses for one in mail.people}
        self.assertEqual(lost, {**dict.fromkeys(here, 1), **dict.fromkeys(elsewhere, 0)})


class FourProcessTests(TwoProcessTests):
    """Four processes."""

    count = 4


if HAPROXY is None:
    warnings.warn("there is no haproxy here: no processes are tested behind a balancer", stacklevel=1)
    del TwoProcessTests, FourProcessTests
