"""The limit of open files."""

import errno
import resource
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from mensagod.config import Config
from mensagod.config.listeners import Listener, parse_listener
from mensagod.config.tables import DatabaseTable, GlobalTable, NetworkTable, PerformanceTable
from mensagod.process.open_files import MAX_WAITING, RESERVE, are_exhausted, raise_limit, usable_clients
from mensagod.values.identity import Domain


def configured(clients: int, *proxied: Listener) -> Config:
    """Make a configuration for so many clients."""
    return Config(
        path=Path("serverconfig.toml"),
        global_=GlobalTable(domain=Domain("example.com")),
        database=DatabaseTable(pool_max=10),
        network=NetworkTable(proxy_protocol=proxied),
        performance=PerformanceTable(max_clients=clients),
    )


class LimitTests(SynchronousTestCase):
    def setUp(self) -> None:
        """Have a low soft limit."""
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, limits)
        self.hard = limits[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (1000, self.hard))

    def test_raised(self) -> None:
        """The soft limit becomes the hard one."""
        self.assertEqual(raise_limit(), (1000, self.hard))
        self.assertEqual(resource.getrlimit(resource.RLIMIT_NOFILE), (self.hard, self.hard))
        self.assertEqual(raise_limit(), (self.hard, self.hard))

    def test_clients(self) -> None:
        """No more clients are let in than there is room for; without a number, as many."""
        room = 1000 - RESERVE - 10
        for wanted, usable in ((5, 5), (room, room), (room + 1, room), (10_000, room), (0, room)):
            self.assertEqual(usable_clients(configured(wanted)), usable)

    def test_balancer(self) -> None:
        """Connections that wait for their PROXY header have descriptors of their own."""
        proxied = parse_listener("tls:2001")
        self.assertEqual(usable_clients(configured(0, proxied)), 1000 - RESERVE - 10 - MAX_WAITING)

    def test_narrow(self) -> None:
        """One is let in in any case."""
        resource.setrlimit(resource.RLIMIT_NOFILE, (RESERVE, self.hard))
        self.assertEqual(usable_clients(configured(5)), 1)

    def test_exhausted(self) -> None:
        """Only what means that no more files can be opened counts as that."""
        for number in (errno.EMFILE, errno.ENFILE):
            self.assertTrue(are_exhausted(OSError(number, "")))
        for error in (OSError(errno.EIO, ""), KeyError(errno.EMFILE), None):
            self.assertFalse(are_exhausted(error))
