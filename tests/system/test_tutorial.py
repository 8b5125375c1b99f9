"""The tutorial, from an empty directory to a message, over TCP and TLS (spec 06, ``quickstart``)."""

import io
import subprocess
import sys
from contextlib import redirect_stdout
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

from twisted.internet import reactor
from twisted.internet.ssl import Certificate
from twisted.trial.unittest import TestCase

from mensagod.client.tls import tls_endpoint
from tests.cli.processes import Command
from tests.installation.places import make_directory

PROGRAM = Path(__file__).parents[2] / "docs" / "tutorial" / "first_message.py"


def tutorial() -> ModuleType:
    """Load the program of the tutorial."""
    spec = spec_from_file_location("first_message", PROGRAM)
    if spec is None or spec.loader is None:
        raise ImportError(PROGRAM)
    module = module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


class TutorialTests(TestCase):
    """What a newcomer does."""

    timeout = 300

    def quickstart(self) -> Any:
        """Start a server in an empty directory; give what it says of itself."""
        self.directory = make_directory(self)
        server = Command.start(self, self.directory, "quickstart", "--json", "--port", 0, "--tls-port", 0)
        return server.document()

    def port(self, document: Any, kind: str) -> str:
        [address] = [text for text in document["addresses"] if text.startswith(f"{kind}:")]
        return str(address.rpartition(":")[2])

    def test_over_tcp(self) -> None:
        """The program, given what the screen shows, ends with Bob reading; a second time with one line."""
        document = self.quickstart()
        admin = document["admin"]
        arguments = [self.port(document, "tcp"), admin["workspace_id"], admin["registration_code"]]
        done = self.follow(arguments)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertIn("bob reads: Hello, Bob!", done.stdout)
        again = self.follow(arguments)
        self.assertEqual((again.returncode, again.stdout), (1, ""))
        self.assertRegex(again.stderr, r"\AThe tutorial failed: 401 .*\n\Z")

    def follow(self, arguments: list[str]) -> "subprocess.CompletedProcess[str]":
        """Run the program of the tutorial."""
        return subprocess.run(
            [sys.executable, PROGRAM, *arguments],
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
            env={"PYTHONPATH": str(PROGRAM.parents[2])},
        )

    async def test_over_tls(self) -> None:
        """The same over TLS, trusting only the certificate that was made at the start."""
        document = self.quickstart()
        certificate = Certificate.loadPEM((self.directory / "var" / "tls.crt").read_bytes())
        endpoint = tls_endpoint(reactor, "127.0.0.1", int(self.port(document, "tls")), certificate)
        admin = document["admin"]
        screen = io.StringIO()
        with redirect_stdout(screen):
            await tutorial().main(reactor, endpoint, admin["workspace_id"], admin["registration_code"])
        self.assertIn("bob reads: Hello, Bob!", screen.getvalue())
