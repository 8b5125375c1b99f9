"""Makes an installation and runs its database: ``python -m bench.installation DIRECTORY``.

The installation is made by ``mensagod init``, so nothing here depends on how the server stores its data.
PostgreSQL runs as for users (fsync on) until the standard input of this process ends. The process prints one
line of JSON when the database runs.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from twisted.internet import threads
from twisted.internet.defer import Deferred
from twisted.internet.task import react

from bench.processes import tell
from mensagod.postgres.cluster import Cluster
from mensagod.postgres.embedded import EmbeddedPostgres
from mensagod.process.accounts import service_account
from mensagod.storage.connections import connect
from mensagod.values.identity import Domain

DOMAIN = Domain.from_text("example.com")
CONFIG = "serverconfig.toml"
CONNECTIONS = 60
"""Enough for the pools of several server processes."""

SETTINGS = {
    "NETWORK__MAX_CLIENTS_PER_IP": "0",
    "SECURITY__ARGON2_MEMORY": "8192",
    "SECURITY__ARGON2_TIME": "1",
    "SECURITY__MAX_RECIPIENTS_PER_MINUTE": "0",
    "SECURITY__REGISTRATION_DELAY_MIN": "0",
}
"""The settings that are not the default ones."""

INIT = "from mensagod.cli.main import main; main()"


def environment(**more: str) -> dict[str, str]:
    """Give the environment of a server process, with :data:`SETTINGS` and more settings."""
    return {**os.environ, **{f"MENSAGOD_{name}": value for name, value in {**SETTINGS, **more}.items()}}


def listeners(tcp: int, tls: int) -> str:
    """Give the endpoints of a server process, as a setting."""
    return json.dumps([f"{kind}:{port}:interface=127.0.0.1" for kind, port in (("tcp", tcp), ("tls", tls))])


def set_up(directory: Path) -> dict[str, Any]:
    """Run ``mensagod init``; give the administrator and the organization's encryption key."""
    config, data = directory / CONFIG, directory / "data"
    done = subprocess.run(
        [
            *(sys.executable, "-c", INIT, "--json", "--config", str(config), "init"),
            *("--domain", str(DOMAIN), "--organization", "Benchmark", "--top-dir", str(data), "--embedded"),
            *("--listen", "tcp:0:interface=127.0.0.1", "--listen", "tls:0:interface=127.0.0.1"),
        ],
        env=environment(),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    made = json.loads(done.stdout)
    [key] = re.findall(r"\bek=(\S+)", " ".join(record["value"] for record in made["dns"]))
    admin = made["admin"]
    return {
        "admin": admin["workspace_id"],
        "code": admin["registration_code"],
        "organization_key": key,
    }


async def _keep(reactor: object, name: str) -> None:
    """Make the installation, and run its database until standard input ends."""
    directory = Path(name)
    made = set_up(directory)
    account = service_account("mensagod") if os.geteuid() == 0 else None
    path = directory / "data" / "postgresql"
    postgresql = EmbeddedPostgres(reactor, Cluster(path, account=account, pool_max=CONNECTIONS))
    await postgresql.start()
    try:
        [pid_file] = path.rglob("postmaster.pid")
        database = {
            "database": postgresql.connection,
            "postgresql": _version(postgresql),
            "postmaster": int(pid_file.read_text().split()[0]),
        }
        tell({**made, **database})
        end: Deferred[str] = threads.deferToThread(sys.stdin.read)
        await end
    finally:
        await postgresql.stop()


def _version(postgresql: EmbeddedPostgres) -> str:
    connection = connect(postgresql.connection)
    try:
        number = connection.server_version
    finally:
        connection.close()
    return f"{number // 10000}.{number % 10000}"


if __name__ == "__main__":
    react(lambda *given: Deferred.fromCoroutine(_keep(*given)), sys.argv[1:])
