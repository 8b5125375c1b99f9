"""Loading all modules in advance, before a change to an account that may not read them (spec 06)."""

from importlib import import_module
from pkgutil import walk_packages

import mensagod


def load_modules() -> None:
    """Import all modules of mensagod, and the modules that they import."""
    for module in walk_packages(mensagod.__path__, "mensagod."):
        if not module.name.endswith("__main__"):
            import_module(module.name)
