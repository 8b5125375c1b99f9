"""How Sphinx builds the documentation. ``make docs`` runs it with every warning an error."""

import sys
from pathlib import Path

import mensagod

sys.path.insert(0, str(Path(__file__).parent / "extensions"))

project = "mensagod"
author = "the mensagod authors"
version = release = mensagod.__version__

extensions = ["sphinx.ext.autodoc", "index_terms", "unreleased"]
exclude_patterns = ["_build", "newsfragments"]
default_role = None
highlight_language = "none"
nitpicky = True

# The build asks no network, so it has no index of Python's own library: each name of it that a documented
# module refers to stands here. A name of mensagod never does: it is documented, or the reference is wrong.
nitpick_ignore = [
    ("py:class", name)
    for name in (
        "collections.abc.Callable",
        "collections.abc.Mapping",
        "datetime.date",
        "datetime.datetime",
        "enum.IntEnum",
        "uuid.UUID",
    )
]

autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "show-inheritance": True}

# The pages whose terms and sections are names that a reader looks for, each with its form in the index.
index_terms = {
    "reference/commands": "command of the protocol",
    "reference/configuration": "key of the configuration",
}
index_sections = {"reference/command-line": "mensagod {}"}

html_theme = "alabaster"
html_theme_options = {
    "description": "A server for the Mensago platform",
    "fixed_sidebar": True,
    "page_width": "64rem",
    "sidebar_width": "15rem",
}
html_sidebars = {"**": ["about.html", "searchfield.html", "navigation.html", "relations.html"]}
html_copy_source = False
html_show_copyright = False
html_show_sourcelink = False
