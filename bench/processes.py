"""Processes of a benchmark: each prints a line of JSON when it is ready, and ends with its standard input."""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO, cast

from attrs import frozen

from bench.machine import pin

STOP_SECONDS = 20
"""How long a process has to end by itself, in seconds."""


@frozen
class Child:
    """A running process.

    :ivar ready: the value that it printed when it was ready.
    """

    process: subprocess.Popen[str]
    ready: Any

    @property
    def pid(self) -> int:
        """Its process ID."""
        return self.process.pid

    def ask(self, line: str = "") -> Any:
        """Write a line to its standard input, and give the value that it prints in answer."""
        print(line, file=self._stdin, flush=True)
        return _answer(self.process)

    @property
    def _stdin(self) -> TextIO:
        return cast(TextIO, self.process.stdin)


class ChildDied(Exception):
    """A process ended before it answered."""


@contextmanager
def running(arguments: Sequence[str], cpu: int | None) -> Iterator[Child]:
    """Run ``python -m ARGUMENTS`` on a core or, for ``None``, on any.

    At the end its standard input is closed, so that it ends.
    """
    process = start(["-m", *arguments], cpu)
    try:
        yield Child(process, _answer(process))
    finally:
        end(process)


def start(
    arguments: Sequence[str],
    cpu: int | None,
    log: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> subprocess.Popen[str]:
    """Start Python on a core or, for ``None``, on any.

    :param log: the file for its output; ``None`` means a pipe to this process.
    :param environment: ``None`` means that of this process.
    """
    command = [sys.executable, *arguments]
    if log is None:
        return _start(command, cpu, environment, subprocess.PIPE)
    with log.open("ab") as output:
        return _start(command, cpu, environment, output.fileno(), subprocess.STDOUT)


def end(process: subprocess.Popen[str], terminate: bool = False) -> None:
    """End a process by closing its standard input or by SIGTERM; kill it if that does not end it."""
    if process.stdin is not None:
        process.stdin.close()
    if terminate:
        process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()


def tell(answer: object) -> None:
    """Print an answer for the parent process, as a line of JSON."""
    print(json.dumps(answer), flush=True)


def _start(
    command: list[str],
    cpu: int | None,
    environment: Mapping[str, str] | None,
    output: int,
    errors: int | None = None,
) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=output,
        stderr=errors,
        env=environment,
        text=True,
        preexec_fn=lambda: pin(cpu),  # noqa: PLW1509  nothing here has threads
    )


def _answer(process: subprocess.Popen[str]) -> Any:
    line = cast(TextIO, process.stdout).readline()
    if not line:
        raise ChildDied(f"{process.args!r} ended with {process.wait()}")
    return json.loads(line)
