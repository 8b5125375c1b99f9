"""The known names of a configuration, and suggestions for unknown ones (spec 06)."""

from collections.abc import Mapping
from difflib import get_close_matches

from mensagod.config.tree import KEYS, TABLES

#: Keys of the reference server that have no effect here, each with the reason.
IGNORED: Mapping[str, str] = {
    "global.workspace_dir": "the workspaces are below global.top_dir",
    "global.log_dir": "the log goes to the standard output",
    "database.engine": "the database is PostgreSQL",
    "security.diceware_wordlist": "the word list is always the EFF's long one",
    "security.password_security": "use security.argon2_memory, argon2_time and argon2_parallelism",
}

#: Keys of the reference server that have another name here.
SYNONYMS: Mapping[str, str] = {
    "performance.max_client_threads": "performance.max_clients",
    "database.ip": "database.host",
}

#: For each key that names a file with a secret, the key of that secret.
SECRET_FILES: Mapping[str, str] = {f"{key.path}_file": key.path for key in KEYS.values() if key.is_secret}

#: Every ``table.key`` that a configuration may contain.
KNOWN: frozenset[str] = frozenset({*KEYS, *IGNORED, *SYNONYMS, *SECRET_FILES})

_SUGGESTED = sorted({*KEYS, *SECRET_FILES})


def nearest_key(table: str, name: str) -> str:
    """Give a hint with the known key that was probably meant; ``""`` if there is none."""
    siblings = [path for path in _SUGGESTED if path.startswith(f"{table}.")]
    elsewhere = [path for path in _SUGGESTED if path.partition(".")[2] == name]
    wanted = f"{table}.{name}"[:200].lower()
    found = (
        elsewhere or get_close_matches(wanted, siblings, 1, 0.7) or get_close_matches(wanted, _SUGGESTED, 1)
    )
    return f"did you mean {found[0]}?" if found else ""


def nearest_table(name: str) -> str:
    """Give a hint for an unknown table, or for a key that stands outside all tables."""
    inside = [path for path in _SUGGESTED if path.partition(".")[2] == name]
    found = inside or get_close_matches(name[:200].lower(), TABLES, 1)
    return f"did you mean {found[0]}?" if found else f"the tables are {', '.join(TABLES)}"


def nearest_variable(variable: str) -> str:
    """Give a hint with the variable that was probably meant; ``""`` if none is near."""
    known = {f"MENSAGOD_{path.replace('.', '__').upper()}": path for path in sorted(KNOWN)}
    found = get_close_matches(variable[:200], known, 1, 0.8)
    return f"did you mean {found[0]}?" if found else ""
