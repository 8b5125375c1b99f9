"""Puts the terms and the sections of reference pages into the general index.

The pages stay plain lists of definitions, easy to write and to generate. The configuration says which of them
count: ``index_terms`` maps a page to what its terms are, ``index_sections`` maps a page to the form of the
entries of its sections.
"""

import re

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform
from sphinx.util.nodes import make_id

_NAME = re.compile(r"[A-Z]+|[a-z_]+(\.[A-Za-z0-9_]+)+")


class IndexTerms(SphinxTransform):
    """Adds the entries of one page that was read, before Sphinx collects them."""

    default_priority = 500

    def apply(self) -> None:
        """Find the page in the configuration, and index what it says."""
        page = self.env.current_document.docname
        if page in self.config.index_terms:
            self._index_terms(self.config.index_terms[page])
        if page in self.config.index_sections:
            self._index_sections(self.config.index_sections[page])

    def _index_terms(self, kind: str) -> None:
        for term in list(self.document.findall(nodes.term)):
            name = term.astext()
            if _NAME.fullmatch(name):
                target = make_id(self.env, self.document, "", name)
                term["ids"].append(target)
                self.document.note_explicit_target(term)
                term.append(_entry(f"{name} ({kind})", target))

    def _index_sections(self, form: str) -> None:
        for section in list(self.document.findall(nodes.section))[1:]:
            section.insert(1, _entry(form.format(section[0].astext()), section["ids"][0]))


def _entry(text: str, target: str) -> nodes.Node:
    return addnodes.index(entries=[("single", text, target, "", None)])


def setup(app: Sphinx) -> dict[str, bool]:
    """Join the build."""
    app.add_config_value("index_terms", {}, "env", types=(dict,))
    app.add_config_value("index_sections", {}, "env", types=(dict,))
    app.add_transform(IndexTerms)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
