"""The directive ``unreleased``: the news that no release has yet, put together by towncrier."""

import subprocess
import sys
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

ROOT = Path(__file__).parent.parent.parent


class Unreleased(SphinxDirective):
    """The draft of the next release, as sections of the page that names it."""

    def run(self) -> list[nodes.Node]:
        """Ask towncrier, and read its answer as a part of the page."""
        draft = subprocess.run(
            [sys.executable, "-m", "towncrier", "build", "--draft", "--version", "next"],
            cwd=ROOT,
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for fragment in (ROOT / "docs" / "newsfragments").iterdir():
            self.env.note_dependency(str(fragment))
        return self.parse_text_to_nodes(draft, allow_section_headings=True)


def setup(app: Sphinx) -> dict[str, bool]:
    """Join the build."""
    app.add_directive("unreleased", Unreleased)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
