"""Start `make serve` as a newcomer would, talk to it through its printed port, stop it, and kill it.

Another command that serves can be given as arguments. Uses nothing but the standard library, and stops what
it started by its own process id.
"""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

INSTALL_SECONDS = 300
FIRST_SECONDS = 60
NEXT_SECONDS = 5


class Server:
    """One run of ``make serve``, in a process group of its own."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            sys.argv[1:] or ["make", "--no-print-directory", "serve", "ARGS=--port 0 --tls-port 0"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.port = 0
        self.code: str | None = None

    def wait(self, seconds: float) -> float:
        """Read the screen until it names the port; give how long that took."""
        begun = time.monotonic()
        assert self.process.stdout is not None
        for line in self.process.stdout:
            sys.stdout.write(f"  | {line}")
            found = re.search(r"tcp:127\.0\.0\.1:(\d+)", line)
            if found:
                self.port = int(found[1])
                break
        took = time.monotonic() - begun
        if not self.port:
            sys.exit("smoke: the server ended without a port on the screen")
        if took > seconds:
            sys.exit(f"smoke: the port was on the screen after {took:.1f} s, not within {seconds} s")
        return took

    def talk(self) -> None:
        """Check the greeting and one command."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as client:
            stream = client.makefile("rb")
            greeting = json.loads(stream.readline())
            request = b'{"Action":"IDLE","Data":{}}'
            client.sendall(bytes([50, 0, len(request)]) + request)
            header = stream.read(3)
            answer = json.loads(stream.read(header[1] << 8 | header[2]))
        if greeting["Code"] != 200 or answer != {"Code": 200, "Status": "OK", "Info": "", "Data": {}}:
            sys.exit(f"smoke: unexpected greeting {greeting} or answer {answer}")

    def stop(self, number: signal.Signals, to_group: bool = False) -> None:
        """Send a signal and wait for the end."""
        if to_group:
            os.killpg(self.process.pid, number)
        else:
            os.kill(self.process.pid, number)
        self.process.communicate(timeout=30)


def database_processes() -> list[int]:
    """Find the PostgreSQL of this checkout, by the directory it works in."""
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit() and _is_ours(entry)]


def _is_ours(entry: Path) -> bool:
    try:
        here = os.readlink(entry / "cwd").startswith(str(Path.cwd()))
        return here and (entry / "comm").read_text().startswith("postgres")
    except OSError:
        return False


def expect_no_database() -> None:
    """PostgreSQL must have gone with the server."""
    if database_processes():
        sys.exit(f"smoke: PostgreSQL outlived the server: {database_processes()}")


def main() -> None:
    """Run the server as often as it can be stopped in different ways."""
    if not sys.argv[1:]:
        subprocess.run(["make", "--no-print-directory", ".venv/serve"], check=True, timeout=INSTALL_SECONDS)
    for number, to_group, limit in (
        (signal.SIGINT, True, FIRST_SECONDS),
        (signal.SIGTERM, False, NEXT_SECONDS),
        (signal.SIGKILL, True, NEXT_SECONDS),
        (signal.SIGTERM, True, FIRST_SECONDS),
    ):
        server = Server()
        took = server.wait(limit)
        server.talk()
        server.stop(number, to_group)
        print(f"smoke: up after {took:.1f} s, ended by {number.name}")
        if number is not signal.SIGKILL:
            expect_no_database()


if __name__ == "__main__":
    main()
