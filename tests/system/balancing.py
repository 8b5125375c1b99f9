"""A real HAProxy in front of servers."""

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

HAPROXY = shutil.which("haproxy", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
"""The program; Debian's package has that name, and .ci/run installs it."""


class Balancer:
    """A HAProxy, killed after the test.

    :ivar place: its own directory. The path of a Unix socket is short, and that of a checkout may be long.
    :ivar doors: the ports that its clients connect to.
    """

    def __init__(self, test: SynchronousTestCase, doors: int = 1):
        self._test = test
        self.place = Path(tempfile.mkdtemp(prefix="mensagod-"))
        test.addCleanup(shutil.rmtree, self.place)
        self._sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(doors)]
        self.doors = [door.getsockname()[1] for door in self._sockets]

    @property
    def descriptors(self) -> list[int]:
        """The sockets of the doors, as the configuration names them."""
        return [door.fileno() for door in self._sockets]

    def start(self, configuration: str) -> None:
        """Start it."""
        path = self.place / "haproxy.cfg"
        path.write_text(configuration)
        with (self.place / "log").open("wb") as log:
            command = [HAPROXY or "haproxy", "-db", "-f", str(path)]
            process = subprocess.Popen(command, stdout=log, stderr=log, pass_fds=self.descriptors)
        self._test.addCleanup(process.wait, 30)
        self._test.addCleanup(process.kill)
        for door in self._sockets:
            door.close()

    def states(self, section: str) -> dict[str, str]:
        """Ask what its checks of the servers of a section have found."""
        with socket.socket(socket.AF_UNIX) as client:
            if client.connect_ex(str(self.place / "stats")):
                return {}
            client.sendall(b"show stat\n")
            text = client.makefile().read()
        names, *lines = [line.split(",") for line in text.splitlines() if line]
        return {
            line[1]: line[names.index("check_status")].removeprefix("* ")
            for line in lines
            if line[0] == section and line[1] not in {"FRONTEND", "BACKEND"}
        }


def configuration_of(balancer: Balancer, sections: Sequence[str]) -> str:
    """Write a configuration: what all have in common, and its sections."""
    common = f"""
global
    stats socket {balancer.place}/stats
defaults
    mode tcp
    timeout connect 10s
    timeout client 120s
    timeout server 120s
"""
    return common + "\n".join(sections) + "\n"
