"""Loading now what is else loaded on first use: it may lie where the account cannot read (spec 06)."""

from importlib import import_module
from pkgutil import walk_packages

import mensagod


def load_modules() -> None:
    """Import all of mensagod, and with it what it imports."""
    for module in walk_packages(mensagod.__path__, "mensagod."):
        if not module.name.endswith("__main__"):
            import_module(module.name)
