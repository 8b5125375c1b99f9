"""The documentation tells the truth where a program can check it."""

import io
import re
import tomllib
from pathlib import Path

import click
from docutils.core import publish_doctree
from docutils.utils import Reporter
from twisted.trial.unittest import SynchronousTestCase

from mensagod.cli.main import main
from mensagod.commands.registry import CommandRegistry

ROOT = Path(__file__).parent.parent
FRAGMENTS = sorted((ROOT / "docs" / "newsfragments").glob("*.rst"))
PLAIN_PAGES = [*sorted(ROOT.glob("*.rst")), ROOT / "bench" / "README.rst", *FRAGMENTS]
"""What is read without Sphinx, too."""

PAGES = [*PLAIN_PAGES, *sorted(set((ROOT / "docs").rglob("*.rst")) - set(FRAGMENTS))]

MADE = {"bench/last.json", "docs/_build", "docs/_build/html"}
"""What a page names and a command makes."""


class DocsTests(SynchronousTestCase):
    """What the pages say against what is there."""

    def test_commands(self) -> None:
        """The reference page has every command that is installed here, and no other."""
        page = (ROOT / "docs" / "reference" / "commands.rst").read_text()
        described = re.findall(r"^([A-Z]+)$", page, re.MULTILINE)
        ours = [
            name
            for name, command in CommandRegistry.installed().commands.items()
            if type(command).__module__.startswith("mensagod.")
        ]
        self.assertEqual(sorted(described), sorted(ours))

    def test_command_line(self) -> None:
        """The page of the command has every verb, and no other."""
        page = (ROOT / "docs" / "reference" / "command-line.rst").read_text()
        described = re.findall(r"^(.+)\n-+$", page, re.MULTILINE)
        context = click.Context(main)
        verbs = []
        for name in main.list_commands(context):
            verb = main.get_command(context, name)
            inner = list(verb.commands) if isinstance(verb, click.Group) else []
            verbs += [f"{name} {each}" for each in inner] or [name]
        self.assertEqual(sorted(described), sorted(verbs))

    def test_well_formed(self) -> None:
        """Every page that stands alone is plain reStructuredText without a fault."""
        for page in PLAIN_PAGES:
            with self.subTest(page=str(page)):
                complaints = io.StringIO()
                publish_doctree(
                    page.read_text(),
                    settings_overrides={
                        "report_level": Reporter.WARNING_LEVEL,
                        "warning_stream": complaints,
                        "file_insertion_enabled": False,
                    },
                )
                self.assertEqual(complaints.getvalue(), "")

    def test_kinds_of_news(self) -> None:
        """Every fragment has a number or a name, and one of towncrier's kinds: it leaves others out."""
        tool = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["towncrier"]
        kinds = "|".join(kind["directory"] for kind in tool["type"])
        for fragment in FRAGMENTS:
            self.assertRegex(fragment.name, rf"^([0-9]+|\+[a-z-]+)\.({kinds})\.rst$")

    def test_paths(self) -> None:
        """Every file or directory of the project that a page names is there."""
        named = re.compile(r"``((?:docs|etc|bench|mensagod|tests)/[\w./-]*|\.ci/run)``")
        for page in PAGES:
            for path in set(named.findall(page.read_text())) - MADE:
                self.assertTrue((ROOT / path).exists(), f"{page} names {path}")
