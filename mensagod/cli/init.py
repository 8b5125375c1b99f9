"""``mensagod init``: set up a server (spec 06)."""

import os
import shlex
import sys
from pathlib import Path

import click

from mensagod.cli import output
from mensagod.cli.founded import as_document, as_lines
from mensagod.cli.verbs import Invocation, Parsed, Verb, pass_invocation
from mensagod.config import configuration_path
from mensagod.config.choices import Registration
from mensagod.config.listeners import Listener, parse_listener
from mensagod.config.tables import GlobalTable
from mensagod.installation.founding import Choices, Founded, found, refuse_existing
from mensagod.keycards.fields import check_client_name
from mensagod.values.identity import Domain, WorkspaceID

EMBEDDED = "embedded"
TOP_DIR = GlobalTable(domain=Domain("invalid")).top_dir


def parse_organization(text: str) -> str:
    """Check an organization's name; raises :class:`mensagod.errors.BadValue` if clients cannot read it."""
    check_client_name(text)
    return text


DOMAIN = Parsed("DOMAIN", Domain.from_text)
ORGANIZATION = Parsed("NAME", parse_organization)
LISTENER = Parsed("ENDPOINT", parse_listener)
WORKSPACE = Parsed("ID", WorkspaceID.from_text)
REGISTRATION = click.Choice([mode.value for mode in Registration], case_sensitive=False)


@click.command(cls=Verb)
@click.option("--domain", type=DOMAIN, help="The organization's domain.")
@click.option("--organization", type=ORGANIZATION, help="The organization's name, at least four characters.")
@click.option(
    "--top-dir",
    type=click.Path(path_type=Path, readable=False),
    help=f"The directory of all files, empty or new [default: {TOP_DIR}].",
)
@click.option(
    "--listen",
    type=LISTENER,
    multiple=True,
    help='Where to listen, such as "tls:2001"; repeatable [default: tcp:2001:interface=127.0.0.1].',
)
@click.option("--embedded", is_flag=True, help="Let the server run its own PostgreSQL, in the top directory.")
@click.option("--database-url", metavar="URL", help="The URL of an existing, empty PostgreSQL database.")
@click.option(
    "--registration",
    type=REGISTRATION,
    help="Who may open an account: everyone (public), clients in configured networks (network), users whom"
    " the administrator approves (moderated), or users with a registration code (private)"
    " [default: private].",
)
@click.option("--admin-id", type=WORKSPACE, help="The administrator's workspace ID [default: a random one].")
@pass_invocation
def command(
    invocation: Invocation,
    *,
    domain: Domain | None,
    organization: str | None,
    top_dir: Path | None,
    listen: tuple[Listener, ...],
    embedded: bool,
    database_url: str | None,
    registration: str | None,
    admin_id: WorkspaceID | None,
) -> None:
    """Set up a server: configuration, database schema, keys, root keycard, administrator.

    Domain, organization and database have no default. Where one of them is not given, everything but the
    administrator's ID is asked for, on a terminal. The database must be empty. The registration code that is
    printed in the end is for the administrator's first login, and is stored nowhere.
    """
    config = configuration_path(os.environ, invocation.config)
    refuse_existing(config.absolute())
    if embedded and database_url is not None:
        raise click.UsageError("--embedded and --database-url do not go together")
    has_database = embedded or database_url is not None or is_database_in_environment()
    asks = domain is None or organization is None or not has_database
    _require_terminal(domain, organization, has_database=has_database)
    if domain is None:
        domain = click.prompt("Domain of the organization", type=DOMAIN, err=True)
    if organization is None:
        organization = click.prompt("Name of the organization", type=ORGANIZATION, err=True)
    if asks:
        top_dir, listen, registration = _ask_usual(top_dir, listen, registration)
    if not has_database:
        embedded, database_url = _ask_database()
    choices = Choices(
        config=config,
        domain=domain,
        organization=organization,
        top_dir=None if top_dir is None else top_dir.absolute(),
        listen=listen,
        embedded=embedded,
        database_url=database_url,
        registration=Registration(registration or Registration.PRIVATE),
        admin=admin_id or WorkspaceID.random(),
    )
    founded = found(choices, os.environ)
    output.warn_of_fallback(founded.config.global_.user)
    _show(founded, invocation)


def is_database_in_environment() -> bool:
    """Tell whether the environment says something of the database."""
    return any(name.startswith("MENSAGOD_DATABASE__") for name in os.environ)


def _require_terminal(domain: Domain | None, organization: str | None, *, has_database: bool) -> None:
    """Refuse missing options if there is no terminal to ask on."""
    given = {
        "--domain": domain is not None,
        "--organization": organization is not None,
        "--embedded or --database-url": has_database,
    }
    missing = [option for option, is_given in given.items() if not is_given]
    if missing and not sys.stdin.isatty():
        raise click.UsageError(f"There is no terminal to ask on: give {', '.join(missing)}")


def _ask_usual(
    top_dir: Path | None, listen: tuple[Listener, ...], registration: str | None
) -> tuple[Path, tuple[Listener, ...], str]:
    """Ask for the options that have a default and were not given."""
    if top_dir is None:
        top_dir = Path(click.prompt("Directory of all files", default=str(TOP_DIR), err=True))
    if not listen:
        question = 'Endpoint to listen on ("tls:2001": TLS on port 2001 of all addresses)'
        listen = (click.prompt(question, type=LISTENER, default="tls:2001", err=True),)
    if registration is None:
        question, usual = "Who may open an account", Registration.PRIVATE.value
        registration = click.prompt(question, type=REGISTRATION, default=usual, err=True)
    return top_dir, listen, str(registration)


def _ask_database() -> tuple[bool, str | None]:
    question = f'Database: the URL of an empty PostgreSQL database, or "{EMBEDDED}" for the server\'s own'
    answer: str = click.prompt(question, default=EMBEDDED, err=True)
    return (True, None) if answer.strip().lower() == EMBEDDED else (False, answer.strip())


def _show(founded: Founded, invocation: Invocation) -> None:
    config, records = founded.config, founded.records
    listen = [str(listener) for listener in config.network.endpoints]
    if invocation.as_json:
        output.show_document(
            as_document(
                config=str(config.path),
                domain=config.global_.domain,
                admin=founded.admin,
                code=founded.code,
                records=records,
                listen=listen,
            )
        )
        return
    local = all(listener.is_local for listener in config.network.endpoints)
    warning = [
        "Only this machine can connect to the server: set network.listen to accept other machines.",
        "",
    ]
    warning = warning if local else []
    lines = [
        f"The server for {config.global_.domain} is set up.",
        "",
        f"  Configuration       {config.path}",
        f"  Listens on          {', '.join(listen)}",
        f"  Administrator       admin/{config.global_.domain}, workspace {founded.admin}",
        f"  Registration code   {founded.code}",
        "",
        "The registration code is shown only now: register the administrator with it.",
        f"Keep a copy of {config.organization_key} in a safe place: without it the organization's private",
        "keys in the database and in its backups cannot be decrypted.",
        "",
        *warning,
        "Publish these DNS records, and an address (A or AAAA) for the host:",
        "",
        *as_lines(records),
        "",
        "Then start the server:",
        "",
        f"  mensagod run --config {shlex.quote(str(config.path))}",
    ]
    output.show("\n".join(lines))
