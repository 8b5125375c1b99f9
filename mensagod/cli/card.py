"""``mensagod card``: show and verify keycards (spec 03; 06, *The `mensagod` command*)."""

from collections.abc import Sequence
from datetime import UTC, datetime, time
from typing import BinaryIO, Final

import click

from mensagod.cli import output
from mensagod.cli.cards import CardReport, UsableHistory
from mensagod.cli.verbs import Invocation, Parsed, VerbGroup, pass_invocation
from mensagod.config import Config
from mensagod.installation.faults import InstallationFault
from mensagod.installation.opening import open_installation
from mensagod.keycards.errors import KeycardFault
from mensagod.keycards.splitting import split_entries
from mensagod.storage import keycards, workspaces
from mensagod.storage.keycards import ORGANIZATION
from mensagod.storage.rows import Transaction
from mensagod.storage.transactions import transaction
from mensagod.values.identity import Domain, MAddress, UserID, WorkspaceID, is_random_id
from mensagod.values.times import parse_date, parse_timestamp

LARGEST: Final = 1024 * 1024
"""The largest card in bytes (spec 03, *Trust in a remote server*)."""

Owner = MAddress | WorkspaceID | UserID | Domain


def parse_moment(text: str) -> datetime:
    """Parse a Timestamp, or a Date, which means its last second; raises :class:`BadValue`."""
    if "T" in text:
        return parse_timestamp(text)
    return datetime.combine(parse_date(text), time(23, 59, 59), UTC)


MOMENT: Final = Parsed("TIME", parse_moment)


@click.group(cls=VerbGroup)
def command() -> None:
    """Show and verify keycards."""


@command.command()
@click.argument("owner")
@pass_invocation
def show(invocation: Invocation, *, owner: str) -> int:
    """Show the keycard of OWNER: an address, a user ID, a workspace ID or a domain of this server.

    The card is read from the database, whether the server runs or not. The exit status is 1 if it does not
    verify.
    """
    config = invocation.load()
    whom = _parse_owner(owner, config)
    with open_installation(config) as connection, transaction(connection) as txn:
        workspace = _find(txn, whom, config)
        texts = [entry.text for entry in keycards.list_entries(txn, workspace, 1, None)]
        card = [entry.text for entry in keycards.list_entries(txn, ORGANIZATION, 1, None)]
    if not texts:
        raise InstallationFault(f"{owner} has no keycard yet")
    now = datetime.now(UTC)
    # The organization's card has the main domain, but is valid for the users of all its domains.
    history = UsableHistory.of(card, now, config.global_.domains)
    return _show(CardReport.of(texts, now, history), invocation)


@command.command()
@click.argument("file", type=click.File("rb"))
@click.option(
    "--organization",
    type=click.File("rb"),
    help="The file with the organization's keycard; required to verify the card of a user.",
)
@click.option(
    "--at",
    type=MOMENT,
    help="The time to verify for, YYYY-MM-DDTHH:MM:SSZ or YYYY-MM-DD [default: now].",
)
@pass_invocation
def verify(
    invocation: Invocation, *, file: BinaryIO, organization: BinaryIO | None, at: datetime | None
) -> int:
    """Verify the keycard in FILE, or of the standard input if FILE is "-".

    The file contains the entries one after the other, or Card-Data. The exit status is 1 if the card does not
    verify. An expired card can still verify; the output says that it has expired.
    """
    if organization is not None and organization is file:
        raise click.UsageError("Only one of the two cards can be read from the standard input")
    now = at or datetime.now(UTC)
    texts = _read(file)
    history = None if organization is None else UsableHistory.of(_read(organization), now)
    return _show(CardReport.of(texts, now, history), invocation)


def _show(report: CardReport, invocation: Invocation) -> int:
    if invocation.as_json:
        output.show_document(report.as_document())
    else:
        output.show("\n".join(report.as_lines()))
    return 0 if report.is_good else output.FAILED


def _read(file: BinaryIO) -> Sequence[str]:
    """Read the entries in a file.

    :raises InstallationFault: if it cannot be read, is too long or does not contain entries.
    """
    name = getattr(file, "name", "the standard input")
    try:
        content = file.read(LARGEST + 1)
        if len(content) > LARGEST:
            raise InstallationFault(f"{name} is larger than 1 MiB, the limit of a keycard")
        texts = split_entries(content.decode("utf-8"))
    except (UnicodeDecodeError, KeycardFault) as error:
        reason = error.info if isinstance(error, KeycardFault) else "it is not text in UTF-8"
        raise InstallationFault(f"{name} is not a keycard: {reason}") from None
    except OSError as error:
        raise InstallationFault(f"{name} cannot be read: {error.strerror}") from error
    if not texts:
        raise InstallationFault(f"{name} is empty")
    return texts


def _parse_owner(text: str, config: Config) -> Owner:
    """Parse the owner of a card; a text that can be a domain is one only if this server serves it."""
    try:
        if "/" in text:
            return MAddress.from_text(text)
        if is_random_id(text):
            return WorkspaceID.from_text(text)
        if text.lower() in map(str, config.global_.domains):
            return Domain.from_text(text)
        return UserID.from_text(text)
    except ValueError as error:
        raise click.UsageError(f"{text!r} is not an owner of a keycard on this server: {error}") from None


def _find(txn: Transaction, owner: Owner, config: Config) -> WorkspaceID:
    """Find the workspace of an owner.

    :raises InstallationFault: if there is none on this server.
    """
    if isinstance(owner, Domain):
        return ORGANIZATION
    if isinstance(owner, WorkspaceID):
        return owner
    domain = owner.domain if isinstance(owner, MAddress) else config.global_.domain
    name = owner.id if isinstance(owner, MAddress) else owner
    if domain not in config.global_.domains:
        raise InstallationFault(
            f"This server does not serve the domain {domain}: save the card in a file, and use"
            " `mensagod card verify`"
        )
    if isinstance(name, WorkspaceID):
        return name
    found = workspaces.find_registered(txn, name, domain)
    if found is None:
        raise InstallationFault(f"There is no user {name} in {domain}")
    return found
