"""The commented configuration and its reference page, made from the definitions of the keys.

``python -m mensagod.config.document [DIRECTORY]`` writes both into a checkout, by default here.
"""

import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

from mensagod.config.keys import Key
from mensagod.config.names import IGNORED, SYNONYMS
from mensagod.config.toml import write_configuration, write_value
from mensagod.config.tree import DEFAULT_PATH, KEYS, TABLES

TOML_FILE = Path("etc/serverconfig.toml")
REFERENCE_FILE = Path("docs/reference/configuration.rst")
_WIDTH = 100
_HEAD = f"""\
Configuration
=============

.. This page is made by "python -m mensagod.config.document".

The configuration is a TOML file, ``{DEFAULT_PATH}`` unless ``--config`` or the
variable ``MENSAGOD_CONFIG`` names another. A fault in it stops the start, and all faults are shown at
once, each with its line.

Relative paths count from the directory of the file. ``tls.crt``, ``tls.key`` and ``organization.key``
are beside it. Where 0 is allowed for a limit or a delay, it stands for *off*.

Environment
-----------

Each key can be set by a variable: ``network.port`` by ``MENSAGOD_NETWORK__PORT``. It wins over the
file. Its text is read as TOML if that makes a value of the right kind, else as it stands; a list may be
comma-joined. An empty text unsets a key that need not be set. A variable with two underscores that
names no key is a fault.

Secrets
-------

A secret (``database.password``, ``database.url``, ``cluster.listen_url``) can stand in a file of its
own, which the key with ``_file`` behind its name gives: ``database.password_file``. It may not stand in
both. Where neither is set, a file of that name in the directory of systemd's credentials counts:
``LoadCredential=database.password:/etc/mensagod/database.password``. One end of line at its end does
not count.

The server warns when others than the owner can write to the configuration, or when everyone can read
one that holds a secret. The group may read it.

"""


def write_reference() -> str:
    """Make the reference page."""
    return _HEAD + "\n".join((*_tables(), *_older_names()))


def _tables() -> Iterator[str]:
    for table, owner in TABLES.items():
        title = f"``[{table}]``"
        yield f"{title}\n{'-' * len(title)}\n\n{(owner.__doc__ or '').splitlines()[0]}\n"
        for key in KEYS.values():
            if key.table == table:
                yield from _entry(key)
        if table == "plugins":
            yield "``plugins.NAME``\n    A table with the settings of one plugin. A change needs a restart.\n"


def _entry(key: Key) -> Iterator[str]:
    yield f"``{key.path}``"
    yield from _indented(key.explanation)
    yield ""
    yield from _indented(f":Allowed: {key.kind.allowed}{f' ({key.unit})' if key.unit else ''}")
    yield from _indented(f":Default: {_default(key)}")
    if key.example is not None:
        yield from _indented(f":Example: ``{write_value(key.kind.plain(key.example))}``")
    yield from _indented(f":Change: {'applied by SIGHUP' if key.reload else 'needs a restart'}")
    yield ""


def _default(key: Key) -> str:
    if key.required:
        return "none; required"
    return "not set" if key.default is None else f"``{write_value(key.kind.plain(key.default))}``"


def _older_names() -> Iterator[str]:
    yield "Keys of the reference server\n----------------------------\n"
    yield "These are accepted with a warning, so that a configuration of the reference server can be used.\n"
    for name, meaning in SYNONYMS.items():
        yield f"``{name}``\n    means ``{meaning}``\n"
    for name, meaning in IGNORED.items():
        yield f"``{name}``\n    means nothing here: {meaning}\n"


def _indented(text: str) -> list[str]:
    indent = " " * 4
    following = indent * 2 if text.startswith(":") else indent
    return textwrap.wrap(
        text,
        _WIDTH,
        initial_indent=indent,
        subsequent_indent=following,
        break_long_words=False,
        break_on_hyphens=False,
    )


def main(arguments: list[str]) -> None:
    """Write both files below a directory."""
    root = Path(arguments[0] if arguments else ".")
    for file, text in ((TOML_FILE, write_configuration({})), (REFERENCE_FILE, write_reference())):
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
