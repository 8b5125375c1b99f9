"""Directories for installations, and what one is made of."""

import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar
from urllib.parse import quote

from twisted.trial.unittest import SynchronousTestCase

from mensagod.crypto.cryptostring import CryptoString
from mensagod.installation.founding import Choices
from mensagod.storage.connections import connect
from mensagod.storage.rows import Transaction
from mensagod.values.identity import Domain
from tests.databases import administer, parameters_of
from tests.directories import scratch_of

T = TypeVar("T")
P = ParamSpec("P")


def make_directory(test: SynchronousTestCase) -> Path:
    """Make a directory that the server's account can reach, removed after the test."""
    return scratch_of(test, "cli")


def choose(directory: Path, url: str, **others: object) -> Choices:
    """Decide on an installation in a directory, with its database at ``url``."""
    usual: dict[str, object] = {
        "config": directory / "serverconfig.toml",
        "domain": Domain("example.com"),
        "organization": "Example Org",
        "top_dir": directory / "data",
        "database_url": url,
    }
    return Choices(**{**usual, **others})  # type: ignore[arg-type]


#: Cheap hashes, as only a test wants them.
ENVIRONMENT = {"MENSAGOD_SECURITY__ARGON2_MEMORY": "8192", "MENSAGOD_SECURITY__ARGON2_TIME": "1"}


def field(text: str, name: str) -> CryptoString:
    """Read a field of a management record."""
    [value] = [part.partition("=")[2] for part in text.split(" ") if part.startswith(f"{name}=")]
    return CryptoString.from_text(value)


def fresh_database(test: SynchronousTestCase) -> dict[str, Any]:
    """Make an empty database of the test's PostgreSQL; say how to reach it."""
    name = f"test_{uuid.uuid4().hex}"
    administer(f"CREATE DATABASE {name}")
    test.addCleanup(administer, f"DROP DATABASE {name} WITH (FORCE)")
    return parameters_of(name)


def url_of(parameters: dict[str, Any]) -> str:
    """Write as a URL how to reach a database of the test's PostgreSQL."""
    return f"postgresql://test@/{parameters['dbname']}?host={quote(parameters['host'], safe='')}"


def execute(
    parameters: dict[str, Any],
    interaction: Callable[Concatenate[Transaction, P], T],
    *args: P.args,
    **kwargs: P.kwargs,
) -> T:
    """Run an interaction in a transaction of its own."""
    connection = connect(parameters)
    try:
        with connection, connection.cursor() as cursor:
            return interaction(Transaction(cursor), *args, **kwargs)
    finally:
        connection.close()
