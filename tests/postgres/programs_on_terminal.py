"""A process that runs programs of PostgreSQL, from the directory that it is given, in each way that there is.

Run by :mod:`tests.postgres.test_programs` on a terminal.
"""

import os
import sys
from pathlib import Path

from mensagod.postgres.binaries import Binaries
from mensagod.postgres.directory import ClusterDirectory
from tests.terminals import show


def main(programs: Path) -> None:
    os.close(os.open("/dev/tty", os.O_WRONLY))
    show("has a terminal")
    binaries = Binaries.at(programs)
    cluster = ClusterDirectory(programs / "cluster", None)
    cluster.path.mkdir()
    show("runs")
    cluster.run([binaries.program("initdb")])
    cluster.spawn(binaries, 1).wait()
    show("done")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
