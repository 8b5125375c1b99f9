"""The command as a whole: its options in any place, its overview, its statuses."""

import os
import subprocess
import sys
from pathlib import Path

import click
from twisted.trial.unittest import SynchronousTestCase

from mensagod.cli.main import VERBS, main
from mensagod.cli.output import Refusal, explain, reporting
from mensagod.cli.verbs import Invocation, Verb, VerbGroup, pass_invocation
from mensagod.config import ConfigFaults, Fault, FaultCode
from mensagod.config.faults import Place
from mensagod.installation.faults import BadChoice, InstallationFault
from tests.cli.running import run


def modules_after(statement: str) -> list[str]:
    """Run a statement in a fresh Python; tell what it has loaded in the end."""
    code = f"import atexit, sys\natexit.register(lambda: print('\\n', *sys.modules))\n{statement}\n"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, env=environment)
    return done.stdout.decode().splitlines()[-1].split()


class UseTests(SynchronousTestCase):
    def test_overview(self) -> None:
        """The overview names every verb with its summary."""
        outcome = run("--help")
        self.assertEqual((outcome.status, outcome.err), (0, ""))
        for name, entry in VERBS.items():
            self.assertRegex(outcome.out, rf"\b{name}\b")
            self.assertIn(entry.summary, outcome.out)

    def test_overview_is_light(self) -> None:
        """It is shown without loading the server."""
        loaded = modules_after("from mensagod.cli.main import main; main(['--help'], standalone_mode=False)")
        self.assertIn("mensagod.cli.main", loaded)
        for name in ("twisted", "psycopg2", "mensagod.config", "cryptography"):
            self.assertNotIn(name, loaded)

    def test_run_is_lighter(self) -> None:
        """The verb that runs the server loads nothing that only others need."""
        loaded = modules_after("import mensagod.cli.run")
        self.assertIn("mensagod.cli.serving", loaded)
        for name in ("mensagod.installation.founding", "mensagod.installation.certificates"):
            self.assertNotIn(name, loaded)

    def test_verbs(self) -> None:
        """Every verb in the overview is there, and explains itself."""
        for name in VERBS:
            outcome = run(name, "--help")
            self.assertEqual((outcome.status, outcome.err), (0, ""), name)
            for option in ("--config", "--json", "--yes"):
                self.assertIn(option, outcome.out)

    def test_wrong_use(self) -> None:
        """Wrong use is one line, and status 2."""
        for arguments in ([], ["ini"], ["--jason"], ["init", "--jason"], ["init", "more"], ["--config"]):
            outcome = run(*arguments)
            self.assertEqual(outcome.status, 2, arguments)
            self.assertTrue(outcome.complaint.startswith("mensagod: "))
        self.assertEqual(run("ini").complaint, "mensagod: No such command 'ini'; see `main --help`")

    def test_summaries(self) -> None:
        """The overview of a group has the whole summary of each verb."""
        words = " ".join(run("org", "--help").out.split())
        self.assertIn("rekey Replace organization.key, the key that encrypts the private keys in the", words)

    def test_unusable_configuration(self) -> None:
        """A configuration that cannot be read is told with what to do."""
        self.assertRegex(
            run("--config", "/", "run").complaint, "cannot be read: .*; check its owner and mode"
        )


class PlaceTests(SynchronousTestCase):
    def test_places(self) -> None:
        """The global options may stand before the verb, before the sub-verb and at the end."""
        seen: list[Invocation] = []

        @click.group(cls=VerbGroup)
        def user() -> None:
            """Verbs about users."""

        @user.command("show", cls=Verb)
        @pass_invocation
        def show(invocation: Invocation) -> None:
            """Show one."""
            seen.append(invocation)

        @click.group(cls=VerbGroup)
        def root() -> None:
            """All verbs."""

        root.add_command(user)
        options = ["--config", "file.toml", "--json", "--yes"]
        for place in range(3):
            words = ["user", "show"]
            words[place:place] = options
            root.main(words, standalone_mode=False)
        said = [(str(one.config), one.as_json, one.yes) for one in seen]
        self.assertEqual(said, [("file.toml", True, True)] * 3)
        root.main(["user", "show"], standalone_mode=False)
        self.assertEqual(seen[3], Invocation())


class StatusTests(SynchronousTestCase):
    def test_kinds(self) -> None:
        """Each kind of fault has its status, and each of its sentences a line."""
        fault = Fault(FaultCode.MISSING, Place(), "a.b", "", "is required")
        cases: list[tuple[Exception, int, int]] = [
            (ConfigFaults([fault, fault]), 2, 2),
            (BadChoice("no"), 2, 1),
            (InstallationFault("no"), 1, 1),
            (Refusal("one", "two", "three", status=7), 7, 3),
        ]
        for error, status, lines in cases:
            refusal = explain(error)
            assert refusal is not None
            self.assertEqual((refusal.status, len(refusal.lines)), (status, lines))

    def test_own_faults(self) -> None:
        """A fault of ours is not dressed up."""

        def fail() -> None:
            raise ZeroDivisionError

        self.assertRaises(ZeroDivisionError, reporting, fail)

    def test_name(self) -> None:
        """The command of the entry point is the one tested here."""
        self.assertEqual(main.name, "main")
