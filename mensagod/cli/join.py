"""``mensagod join``: set up one more process of an installation (spec 06)."""

import os
import shlex
import sys
from pathlib import Path

import click

from mensagod.cli import output
from mensagod.cli.init import LISTENER, TOP_DIR, is_database_in_environment
from mensagod.cli.verbs import Invocation, Verb, pass_invocation
from mensagod.config import configuration_path
from mensagod.config.listeners import Listener
from mensagod.config.tree import ORGANIZATION_KEY
from mensagod.installation.faults import BadChoice
from mensagod.installation.founding import refuse_existing
from mensagod.installation.joining import EMBEDDED, Joined, Joining, join


@click.command(cls=Verb)
@click.option("--database-url", metavar="URL", help="The URL of the database of the other processes.")
@click.option(
    "--top-dir",
    type=click.Path(path_type=Path, readable=False),
    help=f"The directory of all files, the same as that of the other processes [default: {TOP_DIR}].",
)
@click.option(
    "--listen",
    type=LISTENER,
    multiple=True,
    help='Where to listen, such as "tls:2001"; repeatable [default: tcp:2001:interface=127.0.0.1].',
)
@click.option(
    "--organization-key",
    type=click.Path(path_type=Path, readable=False),
    metavar="FILE",
    help="A copy of the other processes' organization.key [default: the one beside the configuration].",
)
@click.option("--embedded", is_flag=True, hidden=True)
@pass_invocation
def command(
    invocation: Invocation,
    *,
    database_url: str | None,
    top_dir: Path | None,
    listen: tuple[Listener, ...],
    organization_key: Path | None,
    embedded: bool,
) -> None:
    """Set up one more process of an installation, on a further machine or in another directory.

    It has the database, the files and organization.key of the other processes: checks that they belong
    together, and writes the configuration. Database and key have no default, except for a key that is beside
    the configuration already. Where one of them is not given, everything is asked for, on a terminal.
    Database and files are not changed.
    """
    config = configuration_path(os.environ, invocation.config).absolute()
    refuse_existing(config)
    if embedded:
        raise BadChoice(EMBEDDED)
    has_database = database_url is not None or is_database_in_environment()
    has_key = organization_key is not None or os.path.lexists(config.with_name(ORGANIZATION_KEY))
    given = {"--database-url": has_database, "--organization-key": has_key}
    missing = [option for option, is_given in given.items() if not is_given]
    if missing and not sys.stdin.isatty():
        raise click.UsageError(f"There is no terminal to ask on: give {' and '.join(missing)}")
    if not has_database:
        database_url = click.prompt("URL of the database of the other processes", err=True).strip()
    if not has_key:
        organization_key = Path(click.prompt("Copy of their organization.key", err=True).strip())
    if missing:
        top_dir, listen = _ask_usual(top_dir, listen)
    joined = join(
        Joining(
            config=config,
            top_dir=None if top_dir is None else top_dir.absolute(),
            listen=listen,
            database_url=database_url,
            organization_key=organization_key,
        ),
        os.environ,
    )
    output.warn_of_fallback(joined.config.global_.user)
    _show(joined, invocation)


def _ask_usual(top_dir: Path | None, listen: tuple[Listener, ...]) -> tuple[Path, tuple[Listener, ...]]:
    """Ask for the options that have a default and were not given."""
    if top_dir is None:
        question = "Directory of all files, the same as theirs"
        top_dir = Path(click.prompt(question, default=str(TOP_DIR), err=True))
    if not listen:
        question = 'Endpoint to listen on ("tls:2001": TLS on port 2001 of all addresses)'
        listen = (click.prompt(question, type=LISTENER, default="tls:2001", err=True),)
    return top_dir, listen


def _show(joined: Joined, invocation: Invocation) -> None:
    config, membership = joined.config, joined.membership
    listen = [str(listener) for listener in config.network.endpoints]
    if invocation.as_json:
        output.show_document(
            {
                "config": str(config.path),
                "domain": str(config.global_.domain),
                "extra_domains": [str(domain) for domain in config.global_.extra_domains],
                "top_dir": str(config.global_.top_dir),
                "store_id": None if membership.store is None else str(membership.store),
                "migrates": membership.is_older,
                "listen": listen,
            }
        )
        return
    older = [
        "The schema of the database is older than this version of mensagod: the start updates it. Stop the",
        "other processes before, and update mensagod there, too.",
        "",
    ]
    lines = [
        f"One more process of the server for {config.global_.domain} is set up.",
        "",
        f"  Configuration       {config.path}",
        f"  Listens on          {', '.join(listen)}",
        f"  Domains             {', '.join(map(str, config.global_.domains))}",
        f"  Files               {config.global_.top_dir}, store {membership.store or 'without an ID yet'}",
        "",
        *(older if membership.is_older else []),
        "Take over all other settings from the configuration of another process: registration, limits and",
        "security must be the same everywhere.",
        "",
        "Then start the process:",
        "",
        f"  mensagod run --config {shlex.quote(str(config.path))}",
    ]
    output.show("\n".join(lines))
