"""Processes of a benchmark: each tells one line of JSON when it is ready, and ends by its own number."""

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO, cast

from attrs import frozen

from bench.machine import pin

STOP_SECONDS = 20
"""How long a process has to end by itself."""


@frozen
class Child:
    """A process that runs.

    :ivar ready: what it told when it was ready.
    """

    process: subprocess.Popen[str]
    ready: Any

    @property
    def pid(self) -> int:
        """Its number."""
        return self.process.pid

    def ask(self, line: str = "") -> Any:
        """Write a line to it, and give the line of JSON with which it answers."""
        print(line, file=self._stdin, flush=True)
        return _answer(self.process)

    @property
    def _stdin(self) -> TextIO:
        return cast(TextIO, self.process.stdin)


class ChildDied(Exception):
    """A process ended before it had answered."""


@contextmanager
def running(arguments: Sequence[str], cpu: int) -> Iterator[Child]:
    """Run ``python -m ARGUMENTS`` on a core; at the end its input closes, upon which it should end."""
    process = start(["-m", *arguments], cpu)
    try:
        yield Child(process, _answer(process))
    finally:
        end(process)


def start(arguments: Sequence[str], cpu: int, log: Path | None = None) -> subprocess.Popen[str]:
    """Start Python on a core.

    :param log: the file that its output goes to; a pipe to us unless given.
    """
    command = [sys.executable, *arguments]
    if log is None:
        return _start(command, cpu, subprocess.PIPE, None)
    with log.open("ab") as output:
        return _start(command, cpu, output.fileno(), output.fileno())


def end(process: subprocess.Popen[str], terminate: bool = False) -> None:
    """End a process: by closing its input or by SIGTERM, and by force if that does not help."""
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
    """Be the process: answer whoever started this one."""
    print(json.dumps(answer), flush=True)


def _start(command: list[str], cpu: int, output: int, errors: int | None) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=output,
        stderr=errors,
        text=True,
        preexec_fn=lambda: pin(cpu),  # noqa: PLW1509  nothing here has threads
    )


def _answer(process: subprocess.Popen[str]) -> Any:
    line = cast(TextIO, process.stdout).readline()
    if not line:
        raise ChildDied(f"{process.args!r} ended with {process.wait()}")
    return json.loads(line)
