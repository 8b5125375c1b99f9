"""Sphinx builds the documentation, strictly. That takes seconds, so it is not part of the quick suite."""

import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from mensagod.commands.registry import CommandRegistry
from mensagod.config.tree import KEYS

DOCS = Path(__file__).parent.parent / "docs"


class BuildTests(SynchronousTestCase):
    """What ``make docs`` publishes."""

    def build(self, source: Path) -> tuple[Path, str]:
        """Build with the project's configuration; give the HTML, and what Sphinx complained of."""
        html = Path(self.mktemp())
        ended = subprocess.run(
            [
                sys.executable,
                "-m",
                "sphinx",
                "-W",
                "--keep-going",
                "-q",
                "-c",
                str(DOCS),
                str(source),
                str(html),
            ],
            check=False,
            capture_output=True,
            text=True,
        )
        self.assertEqual(ended.returncode, int(bool(ended.stderr)), ended.stderr)
        return html, ended.stderr

    def test_pages(self) -> None:
        """All pages are built without a warning; the general index has every command and key."""
        html, complaints = self.build(DOCS)
        self.assertEqual(complaints, "")
        index = (html / "genindex.html").read_text()
        commands = CommandRegistry.installed().commands.items()
        ours = [name for name, command in commands if type(command).__module__.startswith("mensagod.")]
        wanted = [f"{name} (command of the protocol)" for name in ours]
        wanted += [f"{path} (key of the configuration)" for path in KEYS]
        wanted += ["mensagod org rotate", "ServerPath (class in mensagod.values.paths)"]
        self.assertEqual([entry for entry in wanted if f">{entry}<" not in index], [])

    def test_strict(self) -> None:
        """A name that is documented nowhere, and a page that is not there, are faults."""
        source = Path(self.mktemp())
        source.mkdir()
        page = "Page\n====\n\n:class:`mensagod.errors.Nothing` and :doc:`nowhere`\n"
        (source / "index.rst").write_text(page)
        _, complaints = self.build(source)
        self.assertIn("mensagod.errors.Nothing", complaints)
        self.assertIn("'nowhere'", complaints)
