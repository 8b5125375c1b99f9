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

The configuration is a TOML file. The default is ``{DEFAULT_PATH}``; ``--config`` or
the environment variable ``MENSAGOD_CONFIG`` names another file. If the file has errors, the server does
not start. It reports all errors at once, each with its line.

Relative paths are relative to the directory of the configuration file. ``tls.crt``, ``tls.key`` and
``organization.key`` are in that directory by default. If 0 is allowed for a limit or a delay, it switches
that limit or delay off.

Environment
-----------

Each key can be set by an environment variable, for example ``network.port`` by
``MENSAGOD_NETWORK__PORT``. The variable has precedence over the file. Its text is read as a TOML value;
if that is not a value that the key allows, it is read as plain text. A list may be written as items
separated by commas. An empty text unsets an optional key. A variable ``MENSAGOD_TABLE__KEY`` that does
not name a key is an error.

Secrets
-------

A secret (``database.password``, ``database.url``, ``cluster.listen_url``) can be kept in its own file. The
key with the suffix ``_file`` names that file, for example ``database.password_file``. Setting both keys is
an error. If neither is set, the server reads the secret from systemd's credentials, if there is one with
the name of the key: ``LoadCredential=database.password:/etc/mensagod/database.password``. One line end at
the end of the file is ignored.

The server warns if users other than the owner can write to the configuration, or if everyone can read a
configuration that contains a secret. The group may read it.

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
    yield "Configurations of the reference server can be used. These of its keys cause a warning.\n"
    for name, meaning in SYNONYMS.items():
        yield f"``{name}``\n    means ``{meaning}``\n"
    for name, meaning in IGNORED.items():
        yield f"``{name}``\n    has no effect: {meaning}\n"


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
