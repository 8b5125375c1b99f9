"""A process that starts an embedded PostgreSQL, gives up root if it has it, and lives on.

``python -m tests.postgres.embedded_account DIRECTORY`` prints one line a step; run by
:mod:`tests.postgres.test_embedded` in a process of its own, for there is no way back to root.
"""

import os
import signal
import sys
from pathlib import Path
from typing import cast

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import react

from mensagod.postgres.cluster import Cluster
from mensagod.postgres.directory import ClusterDirectory
from mensagod.postgres.embedded import EmbeddedPostgres
from mensagod.process.accounts import UnixAccount, drop_privileges, service_account
from mensagod.storage.connections import connect
from tests.waiting import until


def report(step: str) -> None:
    sys.stdout.write(f"{step}\n")
    sys.stdout.flush()


def answers(postgres: EmbeddedPostgres) -> bool:
    try:
        connect(postgres.connection).close()
    except Exception:
        return False
    return True


async def main(directory: Path) -> None:
    account: UnixAccount | None = service_account("nobody") if os.geteuid() == 0 else None
    postgres = EmbeddedPostgres(reactor, Cluster(directory, account=account))
    await postgres.start()
    report(f"started by {'root' if account else 'user'}")
    if account is not None:
        drop_privileges(account)
    report(f"root: {os.geteuid() == 0}")
    cluster = ClusterDirectory(directory, account)
    pid = cluster.server_pid()
    os.kill(cast(int, pid), signal.SIGKILL)
    # The next one removes the file before it writes its own.
    await until(lambda: cluster.server_pid() not in {None, pid} and answers(postgres))
    report("restarted")
    await postgres.stop()
    report(f"answers: {answers(postgres)}")
    await postgres.start()
    report(f"answers: {answers(postgres)}")
    await postgres.stop()
    report("stopped")


if __name__ == "__main__":
    react(lambda _: Deferred.fromCoroutine(main(Path(sys.argv[1]))))
