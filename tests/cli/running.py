"""Running the command in this process."""

import json
from collections.abc import Mapping
from typing import Any

from attrs import frozen
from click.testing import CliRunner

from mensagod.cli.main import main
from tests.installation.places import ENVIRONMENT


@frozen
class Outcome:
    """What a run of the command came to."""

    status: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """The only JSON document on stdout."""
        return json.loads(self.out)

    @property
    def complaint(self) -> str:
        """The only line on stderr; there is nothing on stdout."""
        [line] = self.err.splitlines()
        if self.out:
            raise ValueError(self.out)
        return line


def run(*arguments: object, environ: Mapping[str, str] | None = None) -> Outcome:
    """Run it with an empty input that is no terminal."""
    environment = {**ENVIRONMENT, "MENSAGOD_CONFIG": None, **(environ or {})}
    result = CliRunner().invoke(main, list(map(str, arguments)), env=environment)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Outcome(result.exit_code, result.stdout, result.stderr)
