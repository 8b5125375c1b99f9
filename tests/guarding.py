"""Programs in the background that end when this process is gone, however it went."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

_GUARD = '"$@" & read _; kill -$ENDING $!; wait $!; rm -rf "$PLACE"'
_NOTHING: Mapping[str, str] = MappingProxyType({})


def guarded(
    command: Sequence[str],
    place: Path,
    arguments: Mapping[str, Any],
    ending: str = "QUIT",
    *,
    variables: Mapping[str, str] = _NOTHING,
) -> subprocess.Popen[bytes]:
    """Start a program that logs to a file of its directory.

    The guard is between: it ends the program and removes the directory once its standard input is closed.

    :param arguments: for :class:`subprocess.Popen`.
    :param ending: the signal that ends the program.
    :param variables: more variables for its environment.
    """
    with (place / "log").open("wb") as log:
        return subprocess.Popen(
            ["/bin/sh", "-c", _GUARD, "guard", *command],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            cwd="/",
            env={**os.environ, **variables, "PLACE": str(place), "ENDING": ending},
            start_new_session=True,
            **arguments,
        )
