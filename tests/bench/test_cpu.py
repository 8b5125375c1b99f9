"""CPU time of processes."""

import os
import subprocess
import sys

from twisted.trial.unittest import SynchronousTestCase

from bench.cpu import Cost, Meter, Process, Usage

TICK = os.sysconf("SC_CLK_TCK")

CHILD_THAT_WORKS = """
import os, sys, time
def work():
    while time.process_time() < 0.1: pass
child = os.fork()
if not child:
    work()
    os._exit(0)
if sys.argv[1] == "reap": os.waitpid(child, 0)
else: os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
print("done", flush=True)
sys.stdin.read()
"""


def stat(name: str, times: tuple[int, int, int, int]) -> str:
    """Write the content of ``/proc/42/stat``."""
    before = "S 7 42 42 0 -1 4194304 100 0 0 0"
    return f"42 ({name}) {before} {' '.join(map(str, times))} 20 0 1 0 12345 1000 100\n"


class ProcessTests(SynchronousTestCase):
    """Reading ``/proc/PID/stat``."""

    def test_fields(self) -> None:
        """The parent and the four times stand at their places."""
        found = Process.from_text(stat("postgres", (3 * TICK, 2 * TICK, 20 * TICK, 10 * TICK)))
        self.assertEqual(found, Process(7, 5.0, 30.0))

    def test_name(self) -> None:
        """The name of the program may look like further fields."""
        found = Process.from_text(stat("a) S 1 (b", (TICK, 0, 0, 0)))
        self.assertEqual(found, Process(7, 1.0, 0.0))

    def test_real(self) -> None:
        """A real process has its real parent."""
        self.assertEqual(Process.read(os.getpid()).parent, os.getppid())


class MeterTests(SynchronousTestCase):
    """CPU time of a server and its database."""

    def parent_of(self, ending: str) -> int:
        """Give a process whose only child has used 0.1 s and ended."""
        process = subprocess.Popen(
            [sys.executable, "-c", CHILD_THAT_WORKS, ending],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self.addCleanup(process.communicate)
        assert process.stdout is not None
        process.stdout.readline()
        return process.pid

    def test_children(self) -> None:
        """The time of the database is that of all its processes, the reaped ones as well."""
        for ending in ("reap", "keep"):
            used = Meter([], self.parent_of(ending)).read()
            self.assertGreaterEqual(used.postgresql, 0.09, ending)
            self.assertEqual(used.server, 0.0)

    def test_server(self) -> None:
        """The time of the servers is counted apart."""
        idle = self.parent_of("reap")
        before = Meter([], idle).read()
        used = Meter([os.getpid(), os.getpid()], idle).read() - before
        own = Process.read(os.getpid())
        self.assertGreater(used.server, 0)
        self.assertLess(abs(used.server - 2 * (own.own + own.reaped)), 0.2)
        self.assertLess(used.postgresql, 0.05)

    def test_processes(self) -> None:
        """The processes of the database are the postmaster and its children."""
        parent = self.parent_of("keep")
        pids = Meter([], parent).database_processes
        self.assertEqual(pids[0], parent)
        self.assertEqual([Process.read(pid).parent for pid in pids[1:]], [parent])


class UsageTests(SynchronousTestCase):
    """Computing with CPU time."""

    def test_per(self) -> None:
        """The cost of an operation is in microseconds."""
        used = Usage(3.0, 2.5) - Usage(1.0, 2.0) + Usage(0.0, 0.5)
        self.assertEqual(used.per(1000), Cost(2000.0, 1000.0))
