"""The command in a process of its own."""

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from attrs import define
from twisted.trial.unittest import SynchronousTestCase

from tests.installation.places import ENVIRONMENT

TWISTD = ("-c", "from twisted.scripts.twistd import run; run()", "--nodaemon", "--pidfile=", "mensagod")
"""The program that runs a server with twistd."""

_MENSAGOD = ("-m", "mensagod.cli.main")
_SECONDS = 180
_ROOT = Path(__file__).parents[2]


@define
class Command:
    """A run of the command, ended after the test if it still runs."""

    process: subprocess.Popen[bytes]

    @classmethod
    def start(
        cls,
        test: SynchronousTestCase,
        directory: Path,
        *arguments: object,
        program: Sequence[str] = _MENSAGOD,
        stdin: int = subprocess.DEVNULL,
        **variables: str,
    ) -> "Command":
        """Start it in a directory, with more variables in its environment.

        :param program: what to run instead of the command.
        """
        environment = {name: text for name, text in os.environ.items() if not name.startswith("MENSAGOD_")}
        process = subprocess.Popen(
            [sys.executable, *program, *map(str, arguments)],
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=directory,
            env={**environment, **ENVIRONMENT, **variables, "PYTHONPATH": str(_ROOT)},
        )
        command = cls(process)
        test.addCleanup(command.stop)
        return command

    def document(self) -> Any:
        """Wait for the JSON document on stdout."""
        stream, text = self.process.stdout, b""
        if stream is None:
            raise ValueError("no stdout")
        while True:
            if not select.select([stream], [], [], _SECONDS)[0]:
                raise TimeoutError(text)
            more = os.read(stream.fileno(), 65536)
            text += more
            try:
                return json.loads(text)
            except ValueError:
                if not more:
                    raise

    def until(self, condition: Callable[[], bool]) -> None:
        """Wait for something to become true while it runs."""
        end = time.monotonic() + _SECONDS
        while not condition():
            with suppress(subprocess.TimeoutExpired):
                raise ValueError(self.process.wait(0.01), self.rest())
            if time.monotonic() > end:
                raise TimeoutError

    def rest(self) -> tuple[str, str]:
        """Wait for its end; give what else it printed."""
        out, err = self.process.communicate(timeout=_SECONDS)
        return out.decode(), err.decode()

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        """End it; give its exit status."""
        self.process.send_signal(how)
        self.rest()
        return self.process.returncode

    def line(self, part: str) -> str:
        """Wait for a line on stdout with something in it; read past the others."""
        stream = self.process.stdout
        if stream is None:
            raise ValueError("no stdout")
        for line in stream:
            if part in line.decode():
                return line.decode().strip()
        raise ValueError(part, self.rest())
